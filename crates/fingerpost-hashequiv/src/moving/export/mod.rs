//! Back to the reference's current schema.

mod listings;
mod output;
mod unfinished;

use std::ops::ControlFlow;
use std::path::Path;

use fingerpost_accounts::stored_users;
use fingerpost_db::Settings;
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};
use rusqlite::{Connection, Row};

use self::listings::Listings;
use self::output::{OUTPUTS, Output};
use self::unfinished::Unfinished;
use super::bulk_insert::BulkInsert;
use super::reference::CURRENT_SCHEMA;
use super::{ExportError, Progress, Stage};
use crate::namespace::{NamespaceId, check_name};
use crate::sqlite::{Hash, MIGRATIONS, namespace_number};

/// Rows that are written together.
const BATCH_ROWS: usize = 2000;

/// What an export came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Rows of `unihashes_v3`.
    pub mappings: u64,
    /// Rows of `outhashes_v2`.
    pub outputs: u64,
    /// Users.
    pub users: u64,
    /// Mark of the running collection.
    pub mark: Option<String>,
    /// Ids of rows that were written without their listing, because it does
    /// not decode any more; the first hundred.
    pub damaged: Vec<i64>,
}

/// Writes a namespace of the Fingerpost database `from` to the new file `to`, in
/// the current schema of the reference. Blocks.
///
/// Nothing comes from namespaces that it falls back to; users are those of the
/// whole database.
///
/// Everything comes from one snapshot: a server may run on the database, whose
/// write-ahead log grows meanwhile. `to` appears when it is complete. Only its
/// owner can read it, because it has the hashes of tokens.
///
/// # Errors
///
/// See [`ExportError`]; nothing is left of `to` then.
pub fn export(
    from: &Path,
    to: &Path,
    namespace: &str,
    progress: &mut dyn Progress,
) -> Result<ExportReport, ExportError> {
    check_name(namespace)?;
    if to.exists() {
        return Err(ExportError::Exists {
            path: to.to_owned(),
        });
    }
    let source = fingerpost_db::connect_read_only(&Settings::new(from), MIGRATIONS)?;
    let at = namespace_number(&source, namespace).map_err(ExportError::source(from))?;
    let at = at.ok_or_else(|| ExportError::no_namespace(from, namespace))?;
    let unfinished = Unfinished::create(to)?;
    let target = unfinished.connect().map_err(ExportError::target(to))?;
    let mut export = Export {
        source: &source,
        at,
        target: &target,
        from,
        to,
        report: ExportReport::default(),
        progress,
    };
    export.run()?;
    let report = export.report;
    target
        .close()
        .map_err(|(_, error)| ExportError::target(to)(error))?;
    unfinished.publish(to)?;
    Ok(report)
}

struct Export<'a> {
    source: &'a Connection,
    at: NamespaceId,
    target: &'a Connection,
    from: &'a Path,
    to: &'a Path,
    report: ExportReport,
    progress: &'a mut dyn Progress,
}

impl Export<'_> {
    fn run(&mut self) -> Result<(), ExportError> {
        let [tables, indexes] = CURRENT_SCHEMA;
        let (source, target) = (ExportError::source(self.from), ExportError::target(self.to));
        self.source.execute_batch("BEGIN").map_err(&source)?;
        self.target.execute_batch(tables).map_err(&target)?;
        self.target.execute_batch("BEGIN").map_err(&target)?;
        self.mappings()?;
        self.outputs()?;
        self.users()?;
        self.config()?;
        self.progress.begin(Stage::Indexes, 1);
        // Two threads sort, each in as much memory as the cache has.
        self.target
            .execute_batch("PRAGMA cache_size = -32768")
            .and_then(|()| self.target.execute_batch(indexes))
            .map_err(&target)?;
        self.progress.begin(Stage::Syncing, 1);
        self.target
            .execute_batch("COMMIT; PRAGMA journal_mode = WAL")
            .map_err(&target)
    }

    /// By (method, taskhash), which is the order of the target's unique index;
    /// numbers are given in that order, nobody sees them.
    fn mappings(&mut self) -> Result<(), ExportError> {
        let failed = ExportError::source(self.from);
        let total = self.count("unihash")?;
        self.progress.begin(Stage::Mappings, total);
        let methods: Vec<(i64, String)> = self
            .source
            .prepare("SELECT id, name FROM method ORDER BY name")
            .and_then(|mut statement| {
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            })
            .map_err(&failed)?;
        let mut statement = self
            .source
            .prepare(
                "SELECT task.taskhash, unihash.unihash, collection.mark
                   FROM task CROSS JOIN unihash ON unihash.task = task.id
                   LEFT JOIN collection ON collection.id = unihash.collection
                  WHERE task.namespace = ?1 AND task.method = ?2 ORDER BY task.taskhash",
            )
            .map_err(&failed)?;
        for (id, method) in &methods {
            let mut rows = statement.query((self.at.0, id)).map_err(&failed)?;
            let mut batch = Vec::with_capacity(BATCH_ROWS);
            while let Some(row) = rows.next().map_err(&failed)? {
                batch.push(mapping(row).map_err(&failed)?);
                if batch.len() == BATCH_ROWS {
                    self.add_mappings(method, &batch)?;
                    batch.clear();
                }
            }
            self.add_mappings(method, &batch)?;
        }
        Ok(())
    }

    fn add_mappings(
        &mut self,
        method: &str,
        rows: &[(String, String, String)],
    ) -> Result<(), ExportError> {
        let insert = "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)";
        BulkInsert::new(self.target, insert, "(?, ?, ?, ?)")
            .and_then(|mut bulk| {
                bulk.insert(rows, |statement, base, (taskhash, unihash, mark)| {
                    statement.raw_bind_parameter(base + 1, method)?;
                    statement.raw_bind_parameter(base + 2, taskhash)?;
                    statement.raw_bind_parameter(base + 3, unihash)?;
                    statement.raw_bind_parameter(base + 4, mark)
                })
            })
            .map_err(ExportError::target(self.to))?;
        self.report.mappings += rows.len() as u64;
        self.advance(self.report.mappings)
    }

    /// By id, which stays: the oldest row stays the oldest.
    fn outputs(&mut self) -> Result<(), ExportError> {
        let failed = ExportError::source(self.from);
        let total = self.count("outhash")?;
        self.progress.begin(Stage::Outputs, total);
        let mut listings = Listings::new(self.source);
        let mut statement = self.source.prepare(OUTPUTS).map_err(&failed)?;
        let mut rows = statement.query([self.at.0]).map_err(&failed)?;
        let insert = "INSERT INTO outhashes_v2 (id, method, taskhash, outhash, created,
            owner, PN, PV, PR, task, outhash_siginfo)";
        let mut bulk = BulkInsert::new(self.target, insert, "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .map_err(ExportError::target(self.to))?;
        let (mut batch, mut bytes) = (Vec::with_capacity(BATCH_ROWS), 0);
        loop {
            let row = rows.next().map_err(&failed)?;
            let ended = row.is_none();
            if let Some(row) = row {
                let output = self.output(row, &mut listings)?;
                bytes += output.siginfo.as_ref().map_or(0, String::len);
                batch.push(output);
            }
            if ended || batch.len() == BATCH_ROWS || bytes > 4 << 20 {
                bulk.insert(&batch, Output::bind)
                    .map_err(ExportError::target(self.to))?;
                self.report.outputs += batch.len() as u64;
                self.advance(self.report.outputs)?;
                batch.clear();
                bytes = 0;
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn output(
        &mut self,
        row: &Row<'_>,
        listings: &mut Listings<'_>,
    ) -> Result<Output, ExportError> {
        let failed = ExportError::source(self.from);
        let (mut output, siginfo) = Output::read(row).map_err(&failed)?;
        if let Some(siginfo) = siginfo {
            match listings.text(siginfo).map_err(&failed)? {
                Ok(text) => output.siginfo = text,
                // The mapping is worth more than its listing.
                Err(_) if self.report.damaged.len() >= DAMAGED_MAX => {}
                Err(_) => self.report.damaged.push(output.id),
            }
        }
        Ok(output)
    }

    fn users(&mut self) -> Result<(), ExportError> {
        let users = stored_users(self.source).map_err(ExportError::source(self.from))?;
        for user in users {
            self.target
                .execute(
                    "INSERT INTO users (username, token, permissions) VALUES (?1, ?2, ?3)",
                    (&user.username, &user.token.0, &user.permissions),
                )
                .map_err(ExportError::target(self.to))?;
            self.report.users += 1;
        }
        Ok(())
    }

    /// The reference has the row once a collection was begun.
    fn config(&mut self) -> Result<(), ExportError> {
        let (exists, mark): (bool, Option<String>) = self
            .source
            .query_row(
                "SELECT namespace.collection IS NOT NULL
                            OR EXISTS (SELECT 1 FROM collection WHERE id > 0 AND namespace = ?1),
                        collection.mark
                   FROM namespace LEFT JOIN collection ON collection.id = namespace.collection
                  WHERE namespace.id = ?1",
                [self.at.0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(ExportError::source(self.from))?;
        if exists {
            self.target
                .execute(
                    "INSERT INTO config (name, value) VALUES ('gc-mark', ?1)",
                    [&mark],
                )
                .map_err(ExportError::target(self.to))?;
        }
        self.report.mark = mark;
        Ok(())
    }

    fn count(&self, table: &str) -> Result<u64, ExportError> {
        self.source
            .query_row(
                &format!("SELECT count(*) FROM {table} WHERE namespace = ?1"),
                [self.at.0],
                |row| row.get(0),
            )
            .map_err(ExportError::source(self.from))
    }

    fn advance(&mut self, done: u64) -> Result<(), ExportError> {
        match self.progress.advance(done) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ExportError::Interrupted),
        }
    }
}

const DAMAGED_MAX: usize = 100;

fn mapping(row: &Row<'_>) -> rusqlite::Result<(String, String, String)> {
    let taskhash: Hash<Taskhash> = row.get(0)?;
    let unihash: Hash<Unihash> = row.get(1)?;
    let mark: Option<String> = row.get(2)?;
    Ok((
        taskhash.0.to_text(),
        unihash.0.to_text(),
        mark.unwrap_or_default(),
    ))
}
