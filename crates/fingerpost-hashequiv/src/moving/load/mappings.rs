//! The relation U, by id: tasks and their unihashes get the same new number.

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};

use super::collections::Collections;
use crate::cache::MethodId;
use crate::moving::bulk_insert::BulkInsert;
use crate::moving::import::{advance, begin_rows};
use crate::moving::pipe::pipe;
use crate::moving::reference::{MappingBatch, Reference, read_mappings};
use crate::moving::work::Work;
use crate::moving::{ImportError, ImportOptions, Progress, Stage};
use crate::namespace::NamespaceId;
use crate::sqlite::{Hash, intern_method};

/// Rows between two commits: a killed import repeats less than two seconds.
const COMMIT_ROWS: u64 = if cfg!(test) { 500 } else { 250_000 };

pub(super) fn load(
    reference: &mut Reference,
    work: &mut Work,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<(), ImportError> {
    if work.checkpoint.mappings_done {
        return Ok(());
    }
    let failed = work.failed();
    let first = reference.first_id(reference.tables.mapping_table())?;
    let (after, until) = (
        work.checkpoint.mappings_after,
        work.checkpoint.mappings_until,
    );
    begin_rows(progress, Stage::Mappings, (first, until));
    let mut writer = Writer::new(work, options).map_err(&failed)?;
    pipe(
        reference,
        |reference, outlet| read_mappings(reference, (after, until), &outlet),
        |batch| {
            let last_id = batch.last_id;
            writer.write(batch).map_err(&failed)?;
            advance(progress, (last_id - first + 1) as u64)
        },
    )?;
    writer.finish().map_err(&failed)
}

struct Writer<'a> {
    work: &'a mut Work,
    collections: Collections,
    now: Timestamp,
    drop_invalid: bool,
    uncommitted: u64,
}

/// A row as it is written.
struct Row {
    task: i64,
    method: MethodId,
    taskhash: Taskhash,
    unihash: Unihash,
    collection: i64,
}

impl<'a> Writer<'a> {
    fn new(work: &'a mut Work, options: &ImportOptions<'_>) -> rusqlite::Result<Self> {
        work.begin()?;
        Ok(Self {
            collections: Collections::load(&work.conn, NamespaceId::DEFAULT)?,
            work,
            now: options.now,
            drop_invalid: options.drop_invalid_unihashes,
            uncommitted: 0,
        })
    }

    fn write(&mut self, batch: MappingBatch) -> rusqlite::Result<()> {
        self.uncommitted += batch.read;
        let rows = self.take(batch)?;
        self.insert(&rows)?;
        if self.uncommitted >= COMMIT_ROWS {
            self.uncommitted = 0;
            self.work.commit()?;
            self.work.begin()?;
        }
        Ok(())
    }

    /// Numbers a batch's rows and counts them.
    fn take(&mut self, batch: MappingBatch) -> rusqlite::Result<Vec<Row>> {
        let conn = &self.work.conn;
        let checkpoint = &mut self.work.checkpoint;
        let mut methods = Vec::with_capacity(batch.methods.texts.len());
        for method in &batch.methods.texts {
            methods.push(intern_method(conn, method)?);
        }
        let mut marks = Vec::with_capacity(batch.marks.texts.len());
        for mark in &batch.marks.texts {
            let collection = self.collections.intern(conn, mark, self.now)?;
            marks.push((collection, checkpoint.mark.as_ref() == Some(mark)));
        }
        let mut rows = Vec::with_capacity(batch.rows.len());
        for row in batch.rows {
            let (collection, marked) = marks[row.mark];
            checkpoint.mappings_marked += u64::from(marked);
            if !row.unihash.is_valid() {
                checkpoint.report.invalid_unihashes += 1;
                if self.drop_invalid {
                    continue;
                }
            }
            checkpoint.last_task += 1;
            rows.push(Row {
                task: checkpoint.last_task,
                method: methods[row.method],
                taskhash: row.taskhash,
                unihash: row.unihash,
                collection,
            });
        }
        checkpoint.mappings_after = batch.last_id;
        let tally = &mut checkpoint.report.mappings;
        tally.read += batch.read;
        tally.added += rows.len() as u64;
        tally.left_out += batch.read - rows.len() as u64;
        checkpoint.report.oddities.merge(batch.oddities);
        Ok(rows)
    }

    fn insert(&self, rows: &[Row]) -> rusqlite::Result<()> {
        let conn = &self.work.conn;
        let insert = "INSERT INTO task (id, namespace, method, taskhash)";
        BulkInsert::new(conn, insert, "(?, 1, ?, ?)")?.insert(rows, |statement, base, row| {
            statement.raw_bind_parameter(base + 1, row.task)?;
            statement.raw_bind_parameter(base + 2, row.method.0)?;
            statement.raw_bind_parameter(base + 3, Hash(&row.taskhash))
        })?;
        let insert = "INSERT INTO unihash
            (task, namespace, unihash, sequence, created, used_day, collection)";
        let values = format!("(?, 1, ?, ?, {}, {}, ?)", self.now.0, self.now.day());
        BulkInsert::new(conn, insert, &values)?.insert(rows, |statement, base, row| {
            statement.raw_bind_parameter(base + 1, row.task)?;
            statement.raw_bind_parameter(base + 2, Hash(&row.unihash))?;
            statement.raw_bind_parameter(base + 3, row.task)?;
            statement.raw_bind_parameter(base + 4, row.collection)
        })
    }

    fn finish(self) -> rusqlite::Result<()> {
        let checkpoint = &mut self.work.checkpoint;
        checkpoint.mappings_done = true;
        checkpoint.mappings_after = checkpoint.mappings_after.max(checkpoint.mappings_until);
        let last = checkpoint.last_task;
        self.work.conn.execute(
            "UPDATE namespace SET unihash_sequence = ?1 WHERE id = 1",
            [last],
        )?;
        self.work.commit()
    }
}
