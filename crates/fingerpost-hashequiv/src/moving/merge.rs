//! Into a database that exists, row by row through its indexes.
//!
//! A server may run on the database: transactions are short. What the database
//! has already stays, so an import that was killed can simply be run again.

use std::path::Path;
use std::time::Duration;

use fingerpost_core::Timestamp;
use fingerpost_db::Settings;
use rusqlite::Connection;

use super::import::{advance, begin_report, begin_rows};
use super::listings::{Listings, Wanted};
use super::load::Collections;
use super::pipe::pipe;
use super::reference::{
    MappingBatch, MappingRow, OutputBatch, OutputRow, Reference, count_outputs, read_mappings,
    read_outputs_by_created,
};
use super::report::Manner;
use super::users::{add_users, read_users};
use super::work::Work;
use super::{ImportError, ImportOptions, ImportReport, Progress, Stage};
use crate::cache::MethodId;
use crate::namespace::NamespaceId;
use crate::sqlite::{
    Hash, MIGRATIONS, find_task, insert_task, intern_metadata, intern_method, namespace_number,
};

/// Rows of one transaction: a few milliseconds, which other writers wait.
const SLICE_ROWS: usize = 250;
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Adds everything that `target` does not have.
pub(super) fn merge(
    reference: &mut Reference,
    target: &Path,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImportReport, ImportError> {
    let conn = fingerpost_db::connect(&Settings::new(target), MIGRATIONS)?;
    let failed = ImportError::target(target);
    conn.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    conn.execute_batch("PRAGMA wal_autocheckpoint = 2000")
        .map_err(&failed)?;
    let at = namespace_number(&conn, options.namespace).map_err(&failed)?;
    let at = at.ok_or_else(|| ImportError::no_namespace(target, options.namespace))?;
    let collections = Collections::load(&conn, at).map_err(&failed)?;
    let mut merger = Merger {
        conn: &conn,
        at,
        running: collections.running(&conn).map_err(&failed)?,
        collections,
        listings: Listings::new(),
        report: begin_report(reference, Manner::Merged)?,
        now: options.now,
        drop_invalid: options.drop_invalid_unihashes,
    };
    merger.compare_collections();
    merger.all_mappings(reference, &failed, progress)?;
    merger.all_outputs(reference, &failed, progress)?;
    let users = read_users(reference, &mut merger.report)?;
    merger
        .atomically(|merger| add_users(merger.conn, &users, &mut merger.report.users))
        .map_err(&failed)?;
    Ok(merger.report)
}

/// Adds the rows of an older table of the relation U to a fresh target whose
/// indexes are complete.
pub(super) fn add_older_mappings(
    reference: &mut Reference,
    work: &mut Work,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<(), ImportError> {
    let failed = work.failed();
    let mut merger = Merger {
        conn: &work.conn,
        at: NamespaceId::DEFAULT,
        collections: Collections::load(&work.conn, NamespaceId::DEFAULT).map_err(&failed)?,
        listings: Listings::new(),
        report: work.checkpoint.report.clone(),
        running: None,
        now: options.now,
        drop_invalid: options.drop_invalid_unihashes,
    };
    let tables = reference.tables;
    reference.tables = tables.older_mappings();
    let merged = merger.mappings(reference, &failed, progress);
    reference.tables = tables;
    merged?;
    work.checkpoint.report = merger.report;
    Ok(())
}

struct Merger<'a> {
    conn: &'a Connection,
    at: NamespaceId,
    collections: Collections,
    listings: Listings,
    report: ImportReport,
    /// The running collection of the target's namespace.
    running: Option<(i64, String)>,
    now: Timestamp,
    drop_invalid: bool,
}

impl Merger<'_> {
    /// A collection that runs in the source only is not taken over: its sweep
    /// would remove what only the target has.
    fn compare_collections(&mut self) {
        let ours = self.running.as_ref().map(|(_, mark)| mark);
        if self.report.mark.as_ref() == ours {
            return;
        }
        if let Some(mark) = self.report.mark.take() {
            self.report.notes.push(format!(
                "The running collection {mark:?} was not taken over, because the target has \
                 rows of its own"
            ));
        }
    }

    fn all_mappings(
        &mut self,
        reference: &mut Reference,
        failed: &impl Fn(rusqlite::Error) -> ImportError,
        progress: &mut dyn Progress,
    ) -> Result<(), ImportError> {
        self.mappings(reference, failed, progress)?;
        let tables = reference.tables;
        if tables.has_older_mappings {
            reference.tables = tables.older_mappings();
            let merged = self.mappings(reference, failed, progress);
            reference.tables = tables;
            merged?;
        }
        Ok(())
    }

    fn mappings(
        &mut self,
        reference: &mut Reference,
        failed: &impl Fn(rusqlite::Error) -> ImportError,
        progress: &mut dyn Progress,
    ) -> Result<(), ImportError> {
        let table = reference.tables.mapping_table();
        let (first, until) = (reference.first_id(table)?, reference.last_id(table)?);
        begin_rows(progress, Stage::Mappings, (first, until));
        pipe(
            reference,
            |reference, outlet| read_mappings(reference, (i64::MIN, until), &outlet),
            |batch| {
                self.mapping_batch(&batch).map_err(failed)?;
                self.report.oddities.merge(batch.oddities);
                advance(progress, (batch.last_id - first + 1) as u64)
            },
        )
    }

    fn mapping_batch(&mut self, batch: &MappingBatch) -> rusqlite::Result<()> {
        self.report.mappings.read += batch.read;
        self.report.mappings.left_out += batch.read - batch.rows.len() as u64;
        for slice in batch.rows.chunks(SLICE_ROWS) {
            self.atomically(|merger| slice.iter().try_for_each(|row| merger.mapping(batch, row)))?;
        }
        Ok(())
    }

    fn mapping(&mut self, batch: &MappingBatch, row: &MappingRow) -> rusqlite::Result<()> {
        if !row.unihash.is_valid() {
            self.report.invalid_unihashes += 1;
            if self.drop_invalid {
                self.report.mappings.left_out += 1;
                return Ok(());
            }
        }
        let method = intern_method(self.conn, &batch.methods.texts[row.method])?;
        let known = find_task(self.conn, self.at, method, &row.taskhash)?;
        if let Some(known) = known.as_ref().filter(|task| task.unihash.is_some()) {
            self.report.mappings.present += 1;
            return self.mark_again(known.id, &batch.marks.texts[row.mark]);
        }
        let task = match known {
            Some(known) => known.id,
            None => insert_task(self.conn, self.at, method, &row.taskhash)?,
        };
        // As any new row, it belongs to the running collection; without one it
        // keeps the mark that it has.
        let (sequence, running): (i64, Option<i64>) = self
            .conn
            .prepare_cached(
                "UPDATE namespace SET unihash_sequence = unihash_sequence + 1 WHERE id = ?1
                 RETURNING unihash_sequence, collection",
            )?
            .query_row([self.at.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let collection = match running {
            Some(running) => running,
            None => {
                let mark = &batch.marks.texts[row.mark];
                self.collections.intern(self.conn, mark, self.now)?
            }
        };
        let (created, day) = (self.now.0, self.now.day());
        self.conn
            .prepare_cached(
                "INSERT INTO unihash
                     (task, namespace, unihash, sequence, created, used_day, collection)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                task,
                self.at.0,
                Hash(&row.unihash),
                sequence,
                created,
                day,
                collection,
            ))?;
        self.report.mappings.added += 1;
        Ok(())
    }

    /// Marks a row of the target for its running collection when the source has
    /// marked it for the same since an earlier import.
    fn mark_again(&self, task: i64, mark: &str) -> rusqlite::Result<()> {
        if let Some((collection, running)) = &self.running
            && running == mark
        {
            self.conn
                .prepare_cached(
                    "UPDATE unihash SET collection = ?2 WHERE task = ?1 AND collection <> ?2",
                )?
                .execute((task, collection))?;
        }
        Ok(())
    }

    fn all_outputs(
        &mut self,
        reference: &mut Reference,
        failed: &impl Fn(rusqlite::Error) -> ImportError,
        progress: &mut dyn Progress,
    ) -> Result<(), ImportError> {
        let until = reference.last_id(reference.tables.output_table())?;
        progress.begin(Stage::Outputs, count_outputs(reference, until)?);
        pipe(
            reference,
            |reference, outlet| read_outputs_by_created(reference, until, &outlet),
            |batch| {
                self.output_batch(&batch).map_err(failed)?;
                self.report.oddities.merge(batch.oddities);
                advance(progress, self.report.outputs.read)
            },
        )
    }

    fn output_batch(&mut self, batch: &OutputBatch) -> rusqlite::Result<()> {
        self.report.outputs.read += batch.read;
        self.report.outputs.left_out += batch.read - batch.rows.len() as u64;
        for slice in batch.rows.chunks(SLICE_ROWS) {
            self.atomically(|merger| merger.outputs(batch, slice))?;
        }
        Ok(())
    }

    fn outputs(&mut self, batch: &OutputBatch, rows: &[OutputRow]) -> rusqlite::Result<()> {
        let mut new = Vec::with_capacity(rows.len());
        for row in rows {
            let method = intern_method(self.conn, &batch.methods.texts[row.method])?;
            match self.task_of_new_output(method, row)? {
                Some(task) => new.push((row, method, task)),
                None => self.report.outputs.present += 1,
            }
        }
        let wanted = Wanted::of_rows(batch, &new);
        let tally = &mut self.report.listings;
        let mut listings = self.listings.store(self.conn, &wanted, tally)?.into_iter();
        for (row, method, task) in new {
            let siginfo = row.listing.as_ref().and_then(|_| listings.next());
            let metadata = intern_metadata(self.conn, &batch.metadata[row.metadata])?;
            // A damaged source may have a key twice in one slice.
            let added = self
                .conn
                .prepare_cached(
                    "INSERT OR IGNORE INTO outhash
                         (namespace, method, task, outhash, created, metadata, siginfo)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute((
                    self.at.0,
                    method.0,
                    task,
                    Hash(&row.outhash),
                    &row.created,
                    metadata,
                    siginfo,
                ))?;
            match added {
                0 => self.report.outputs.present += 1,
                _ => self.report.outputs.added += 1,
            }
        }
        Ok(())
    }

    /// The task of a row that the target does not have; `None` when it has it.
    fn task_of_new_output(
        &self,
        method: MethodId,
        row: &OutputRow,
    ) -> rusqlite::Result<Option<i64>> {
        let Some(known) = find_task(self.conn, self.at, method, &row.taskhash)? else {
            return insert_task(self.conn, self.at, method, &row.taskhash).map(Some);
        };
        let exists = self
            .conn
            .prepare_cached("SELECT 1 FROM outhash WHERE task = ?1 AND outhash = ?2")?
            .exists((known.id, Hash(&row.outhash)))?;
        Ok((!exists).then_some(known.id))
    }

    /// Runs `work` in a transaction.
    fn atomically(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        match work(self) {
            Ok(()) => self.conn.execute_batch("COMMIT"),
            Err(error) => {
                // The import ends with the error; what this adds is no news.
                let _ = self.conn.execute_batch("ROLLBACK");
                Err(error)
            }
        }
    }
}
