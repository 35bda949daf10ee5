//! Bringing a file's schema up to date.
//!
//! refinery compares, orders and records. Its own driver for rusqlite opens a
//! transaction for each step, so that two processes that start at once would
//! both find a migration missing and both run it; [`InTransaction`] runs all of
//! it inside of one that holds the write lock.

use refinery_core::traits::sync::{Migrate, Query, Transaction};
use refinery_core::{Migration as Refined, Runner};
use rusqlite::Connection;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One step of a schema, as numbered SQL in the database's dialect. What was
/// released is never changed: a file of SQLite remembers the checksum of every
/// step it went through.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// 1, 2, 3 and so on.
    pub version: u32,
    /// A name of letters, digits and `_`.
    pub name: &'static str,
    /// Statements, run in one transaction with all other missing steps.
    pub sql: &'static str,
    /// The oldest version of the program that can use the database afterwards.
    /// Raise it only when older ones would read or write wrongly.
    pub min_reader: u32,
}

/// Runs what is missing inside of the open transaction of `conn`.
pub(crate) fn run(conn: &Connection, migrations: &[Migration]) -> Result<(), refinery_core::Error> {
    let steps = migrations
        .iter()
        .map(|step| Refined::unapplied(&format!("V{}__{}", step.version, step.name), step.sql))
        .collect::<Result<Vec<_>, _>>()?;
    Runner::new(&steps).run(&mut InTransaction(conn)).map(drop)
}

/// A connection whose transaction somebody else began and will end.
struct InTransaction<'a>(&'a Connection);

impl Transaction for InTransaction<'_> {
    type Error = rusqlite::Error;

    fn execute<'a, T: Iterator<Item = &'a str>>(
        &mut self,
        queries: T,
    ) -> Result<usize, Self::Error> {
        let mut count = 0;
        for query in queries {
            self.0.execute_batch(query)?;
            count += 1;
        }
        Ok(count)
    }
}

impl Query<Vec<Refined>> for InTransaction<'_> {
    fn query(&mut self, query: &str) -> Result<Vec<Refined>, Self::Error> {
        let mut statement = self.0.prepare(query)?;
        let rows = statement.query_map([], |row| {
            let applied_on: String = row.get(2)?;
            let checksum: String = row.get(3)?;
            Ok(Refined::applied(
                row.get(0)?,
                row.get(1)?,
                OffsetDateTime::parse(&applied_on, &Rfc3339).map_err(conversion)?,
                checksum.parse().map_err(conversion)?,
            ))
        })?;
        rows.collect()
    }
}

impl Migrate for InTransaction<'_> {}

fn conversion(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error))
}
