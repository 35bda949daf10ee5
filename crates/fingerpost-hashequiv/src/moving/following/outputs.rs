//! New rows of the relation O. They keep the number that the reference gave them, as in
//! an import into a new file.

use std::collections::HashSet;

use rusqlite::OptionalExtension as _;

use super::applying::{AT, Applier, Apply, Became};
use super::{Moved, Round};
use crate::cache::MethodId;
use crate::moving::listings::Wanted;
use crate::moving::reference::{OutputBatch, OutputRow};
use crate::sqlite::{Hash, find_task, insert_task, intern_metadata, intern_method};

impl Apply for OutputBatch {
    fn remove(applier: &Applier<'_>, ours: i64) -> rusqlite::Result<()> {
        applier.remove_output(ours)
    }

    fn add(&self, applier: &mut Applier<'_>) -> rusqlite::Result<Became> {
        let mut became = Became::with_capacity(self.rows.len());
        let mut new = Vec::with_capacity(self.rows.len());
        let mut seen = HashSet::new();
        for row in &self.rows {
            let method = intern_method(applier.conn, &self.methods.texts[row.method])?;
            // A damaged source may have a key twice.
            if !seen.insert((method, &row.taskhash, &row.outhash)) {
                continue;
            }
            match applier.place(method, row)? {
                Place::New(task) => new.push((row, method, task)),
                Place::Taken(ours) => {
                    became.insert(row.id, ours);
                    let created = row.created.clone().into_text();
                    applier.newest = applier.newest.take().max(created);
                }
                Place::Twice => {}
            }
        }
        applier.insert(self, &new, &mut became)?;
        applier.round.outputs.added += became.len() as u64;
        Ok(became)
    }

    fn tally(round: &mut Round) -> &mut Moved {
        &mut round.outputs
    }
}

/// Where a row belongs.
enum Place {
    /// To this task, which does not have it.
    New(i64),
    /// It is the target's row of this number.
    Taken(i64),
    /// The source has its key in an earlier row.
    Twice,
}

impl Applier<'_> {
    fn place(&self, method: MethodId, row: &OutputRow) -> rusqlite::Result<Place> {
        let Some(known) = find_task(self.conn, AT, method, &row.taskhash)? else {
            return insert_task(self.conn, AT, method, &row.taskhash).map(Place::New);
        };
        let ours: Option<i64> = self
            .conn
            .prepare_cached("SELECT id FROM outhash WHERE task = ?1 AND outhash = ?2")?
            .query_row((known.id, Hash(&row.outhash)), |row| row.get(0))
            .optional()?;
        let Some(ours) = ours else {
            return Ok(Place::New(known.id));
        };
        if self.record.source_of_output(ours)?.is_some() {
            return Ok(Place::Twice);
        }
        if !self.is_whole {
            return Ok(Place::Taken(ours));
        }
        // Somebody else's row, or one that was added before a kill and not recorded.
        self.remove_output(ours)?;
        match find_task(self.conn, AT, method, &row.taskhash)? {
            Some(known) => Ok(Place::New(known.id)),
            None => insert_task(self.conn, AT, method, &row.taskhash).map(Place::New),
        }
    }

    fn insert(
        &mut self,
        batch: &OutputBatch,
        rows: &[(&OutputRow, MethodId, i64)],
        became: &mut Became,
    ) -> rusqlite::Result<()> {
        let wanted = Wanted::of_rows(batch, rows);
        let mut tally = crate::moving::ListingTally::default();
        let stored = self.listings.store(self.conn, &wanted, &mut tally)?;
        let mut stored = stored.into_iter();
        for (row, method, task) in rows {
            let siginfo = row.listing.as_ref().and_then(|_| stored.next());
            if self.is_whole && self.source_of(row.id, became)?.is_none() {
                // If anybody has this number it is a stranger.
                self.remove_output(row.id)?;
            }
            let ours = self.insert_one(batch, row, (*method, *task), siginfo)?;
            became.insert(row.id, ours);
            let created = row.created.clone().into_text();
            if created < self.newest {
                self.settle(ours, row.id, created, became)?;
            } else {
                self.newest = created;
            }
        }
        Ok(())
    }

    fn insert_one(
        &self,
        batch: &OutputBatch,
        row: &OutputRow,
        (method, task): (MethodId, i64),
        siginfo: Option<i64>,
    ) -> rusqlite::Result<i64> {
        let metadata = intern_metadata(self.conn, &batch.metadata[row.metadata])?;
        let is_free = !self
            .conn
            .prepare_cached("SELECT 1 FROM outhash WHERE id = ?1")?
            .exists([row.id])?;
        self.conn
            .prepare_cached(
                "INSERT INTO outhash
                     (id, namespace, method, task, outhash, created, metadata, siginfo)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .insert((
                is_free.then_some(row.id),
                AT.0,
                method.0,
                task,
                Hash(&row.outhash),
                &row.created,
                metadata,
                siginfo,
            ))
    }
}
