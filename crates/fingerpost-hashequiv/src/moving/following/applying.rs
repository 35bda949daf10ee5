//! Doing to the target what was done to the source, in short transactions.

use std::collections::HashMap;
use std::path::Path;

use fingerpost_core::Timestamp;
use rusqlite::Connection;

use super::comparing::{Changes, NewRows};
use super::record::{Record, Relation, Taken};
use super::{Moved, Round};
use crate::moving::ImportError;
use crate::moving::listings::Listings;
use crate::moving::load::Collections;
use crate::moving::reference::{MappingBatch, MappingRow};
use crate::namespace::NamespaceId;
use crate::sqlite::{
    Hash, find_task, insert_task, intern_method, raise_all, random_author, remove_mapping,
    remove_output,
};

/// The namespace that is followed into.
pub(super) const AT: NamespaceId = NamespaceId::DEFAULT;

/// The target and its record.
pub(super) struct Applier<'a> {
    pub(super) conn: &'a Connection,
    pub(super) target: &'a Path,
    pub(super) record: &'a Record,
    pub(super) round: &'a mut Round,
    pub(super) collections: Collections,
    pub(super) listings: Listings,
    pub(super) now: Timestamp,
    pub(super) drop_invalid: bool,
    /// Whether every row was taken once: what the target has beyond the record is not
    /// ours then.
    pub(super) is_whole: bool,
    /// The highest time of a row of the relation O that was taken.
    pub(super) newest: Option<String>,
    /// Rows of the relation O that got another number: the source's row, and it.
    pub(super) moved: Vec<(i64, i64)>,
    author: i64,
}

/// What became of new rows, by their ids in the source. What is not in here was left out.
pub(super) type Became = HashMap<i64, i64>;

/// Says which relation a batch belongs to, and adds its rows.
pub(super) trait Apply: NewRows {
    /// Removes the target's row.
    fn remove(applier: &Applier<'_>, ours: i64) -> rusqlite::Result<()>;

    /// Adds new rows.
    fn add(&self, applier: &mut Applier<'_>) -> rusqlite::Result<Became>;

    fn tally(round: &mut Round) -> &mut Moved;
}

impl<'a> Applier<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        target: &'a Path,
        record: &'a Record,
        round: &'a mut Round,
        (now, drop_invalid): (Timestamp, bool),
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            target,
            record,
            round,
            collections: Collections::load(conn, AT)?,
            listings: Listings::new(),
            now,
            drop_invalid,
            is_whole: record.is_whole()?,
            newest: record.newest()?,
            moved: Vec::new(),
            author: random_author(),
        })
    }

    /// Makes the changes, and records them afterwards.
    pub(super) fn apply<B: Apply>(&mut self, changes: &Changes<B>) -> Result<(), ImportError> {
        let failed = self.record.failed();
        let changed = self.change(changes);
        let became = changed.map_err(ImportError::target(self.target))?;
        let recorded = atomically(&self.record.conn, || self.note(changes, &became));
        self.moved.clear();
        recorded.map_err(failed)
    }

    fn change<B: Apply>(&mut self, changes: &Changes<B>) -> rusqlite::Result<Became> {
        if changes.gone.is_empty() && changes.marked.is_empty() && changes.seals.is_empty() {
            return Ok(Became::new());
        }
        let conn = self.conn;
        atomically(conn, || {
            let gone: Vec<i64> = changes.gone.iter().filter_map(|row| row.ours).collect();
            gone.iter().try_for_each(|ours| B::remove(self, *ours))?;
            // Outputs are remembered by nobody.
            if B::RELATION == Relation::Mappings && !gone.is_empty() {
                self.raise()?;
            }
            B::tally(self.round).removed += gone.len() as u64;
            self.mark(changes)?;
            changes.new.add(self)
        })
    }

    /// Has those who remember answers forget them.
    pub(super) fn raise(&self) -> rusqlite::Result<()> {
        raise_all(self.conn, self.author)
    }

    fn mark<B: Apply>(&mut self, changes: &Changes<B>) -> rusqlite::Result<()> {
        let mut collections = Vec::with_capacity(changes.marks.len());
        for mark in &changes.marks {
            collections.push(self.collections.intern(self.conn, mark, self.now)?);
        }
        let mut update = self
            .conn
            .prepare_cached("UPDATE unihash SET collection = ?2 WHERE task = ?1")?;
        for marked in &changes.marked {
            update.execute((marked.row.ours, collections[marked.mark]))?;
        }
        B::tally(self.round).marked += changes.marked.len() as u64;
        Ok(())
    }

    fn note<B: Apply>(&self, changes: &Changes<B>, became: &Became) -> rusqlite::Result<()> {
        let record = self.record;
        for row in &changes.gone {
            record.remove_row(B::RELATION, row.id)?;
        }
        for marked in &changes.marked {
            record.put(B::RELATION, &marked.row)?;
        }
        for (id, seal) in &changes.seals {
            let (id, seal, ours) = (*id, *seal, became.get(id).copied());
            record.put(B::RELATION, &Taken { id, seal, ours })?;
        }
        for (id, ours) in &self.moved {
            record
                .conn
                .prepare_cached("UPDATE output SET ours = ?2 WHERE id = ?1")?
                .execute((id, ours))?;
        }
        record.set_newest(self.newest.as_deref())
    }

    fn mapping(&mut self, batch: &MappingBatch, row: &MappingRow) -> rusqlite::Result<Option<i64>> {
        if self.drop_invalid && !row.unihash.is_valid() {
            return Ok(None);
        }
        let mark = &batch.marks.texts[row.mark];
        let collection = self.collections.intern(self.conn, mark, self.now)?;
        let method = intern_method(self.conn, &batch.methods.texts[row.method])?;
        let known = find_task(self.conn, AT, method, &row.taskhash)?;
        let task = match known {
            Some(known) if known.unihash.as_ref() == Some(&row.unihash) => {
                self.conn
                    .prepare_cached(
                        "UPDATE unihash SET collection = ?2 WHERE task = ?1 AND collection <> ?2",
                    )?
                    .execute((known.id, collection))?;
                return Ok(Some(known.id));
            }
            Some(known) if known.unihash.is_some() => {
                // Somebody else told the target otherwise. The source is right.
                remove_mapping(self.conn, known.id)?;
                self.raise()?;
                match find_task(self.conn, AT, method, &row.taskhash)? {
                    Some(known) => known.id,
                    None => insert_task(self.conn, AT, method, &row.taskhash)?,
                }
            }
            Some(known) => known.id,
            None => insert_task(self.conn, AT, method, &row.taskhash)?,
        };
        let sequence: i64 = self
            .conn
            .prepare_cached(
                "UPDATE namespace SET unihash_sequence = unihash_sequence + 1 WHERE id = ?1
                 RETURNING unihash_sequence",
            )?
            .query_row([AT.0], |row| row.get(0))?;
        self.conn
            .prepare_cached(
                "INSERT INTO unihash
                     (task, namespace, unihash, sequence, created, used_day, collection)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                task,
                AT.0,
                Hash(&row.unihash),
                sequence,
                self.now.0,
                self.now.day(),
                collection,
            ))?;
        Ok(Some(task))
    }

    /// Removes a row of the relation O, if it is there.
    pub(super) fn remove_output(&self, id: i64) -> rusqlite::Result<()> {
        let mut find = self
            .conn
            .prepare_cached("SELECT task, siginfo FROM outhash WHERE id = ?1")?;
        let mut rows = find.query([id])?;
        let Some(row) = rows.next()? else {
            return Ok(());
        };
        let (task, siginfo) = (row.get(0)?, row.get(1)?);
        drop(rows);
        remove_output(self.conn, id, task, siginfo)
    }
}

impl Apply for MappingBatch {
    fn remove(applier: &Applier<'_>, ours: i64) -> rusqlite::Result<()> {
        remove_mapping(applier.conn, ours)
    }

    fn add(&self, applier: &mut Applier<'_>) -> rusqlite::Result<Became> {
        let mut became = Became::with_capacity(self.rows.len());
        for row in &self.rows {
            if let Some(task) = applier.mapping(self, row)? {
                became.insert(row.id, task);
            }
        }
        applier.round.mappings.added += became.len() as u64;
        Ok(became)
    }

    fn tally(round: &mut Round) -> &mut Moved {
        &mut round.mappings
    }
}

/// Which of the target's tables has the rows of a relation, and the column of their
/// number.
pub(super) const fn target_table(relation: Relation) -> (&'static str, &'static str) {
    match relation {
        Relation::Mappings => ("unihash", "task"),
        Relation::Outputs => ("outhash", "id"),
    }
}

/// Runs `work` in a transaction.
pub(super) fn atomically<T>(
    conn: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    match work() {
        Ok(done) => conn.execute_batch("COMMIT").map(|()| done),
        Err(error) => {
            // The round ends with the error; what this adds is no news.
            let _ = conn.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}
