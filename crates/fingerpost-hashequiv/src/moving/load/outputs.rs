//! The relation O: read once for the keys, which are matched with tasks, and
//! once for the rows.

use super::matching::{TaskOf, TaskStream};
use super::pairing::{Paired, pair};
use crate::cache::MethodId;
use crate::moving::bulk_insert::BulkInsert;
use crate::moving::import::advance;
use crate::moving::listings::{Family, Listings, Wanted};
use crate::moving::pipe::pipe;
use crate::moving::reference::{OutputBatch, OutputReader, OutputRow, Reference};
use crate::moving::work::Work;
use crate::moving::{ImportError, Progress, Stage};
use crate::sqlite::{Hash, intern_metadata, intern_method};

/// Rows, and listings, between two commits.
const COMMIT_ROWS: u64 = if cfg!(test) { 500 } else { 250_000 };
const COMMIT_LISTINGS: u64 = 10_000;

pub(super) fn load(
    reference: &mut Reference,
    work: &mut Work,
    progress: &mut dyn Progress,
) -> Result<(), ImportError> {
    if work.checkpoint.outputs_done || work.checkpoint.outputs_until == 0 {
        return Ok(());
    }
    let directory = work.directory();
    let Paired {
        order,
        rows,
        matched,
    } = pair(reference, work, progress)?;
    let io = ImportError::io(&directory);
    work.checkpoint.outputs = Some((order, rows));
    let skip = work.checkpoint.report.outputs.read;
    let until = work.checkpoint.outputs_until;
    progress.begin(Stage::Outputs, rows);
    let failed = work.failed();
    let mut writer = Writer::new(work, matched.stream().map_err(&io)?).map_err(&failed)?;
    writer.skip(skip).map_err(&io)?;
    pipe(
        reference,
        |reference, outlet| {
            let reader = OutputReader {
                reference,
                order,
                until,
            };
            reader.rows(skip, &outlet)
        },
        |batch| {
            let tasks = writer.tasks(&batch).map_err(&io)?;
            writer.write(batch, &tasks).map_err(&failed)?;
            advance(progress, writer.work.checkpoint.report.outputs.read)
        },
    )?;
    writer.finish().map_err(&failed)
}

struct Writer<'a> {
    work: &'a mut Work,
    stream: TaskStream<'a>,
    listings: Listings,
    rows_uncommitted: u64,
    listings_uncommitted: u64,
}

/// A row as it is written.
struct Row<'a> {
    row: &'a OutputRow,
    task: TaskOf,
    method: MethodId,
    metadata: Option<i64>,
    siginfo: Option<i64>,
}

impl<'a> Writer<'a> {
    fn new(work: &'a mut Work, stream: TaskStream<'a>) -> rusqlite::Result<Self> {
        work.begin()?;
        Ok(Self {
            work,
            stream,
            listings: Listings::new(),
            rows_uncommitted: 0,
            listings_uncommitted: 0,
        })
    }

    /// Leaves out the tasks of the rows before the one numbered `until`.
    fn skip(&mut self, until: u64) -> std::io::Result<()> {
        while self.stream.peek().is_some_and(|sequence| sequence < until) {
            self.stream.next()?;
        }
        Ok(())
    }

    /// The tasks of a batch's rows.
    fn tasks(&mut self, batch: &OutputBatch) -> std::io::Result<Vec<TaskOf>> {
        let mut tasks = Vec::with_capacity(batch.rows.len());
        for row in &batch.rows {
            match self.stream.next()? {
                Some(task) if task.sequence == row.sequence => tasks.push(task),
                _ => return Err(std::io::Error::other("the rows are not those of the keys")),
            }
        }
        Ok(tasks)
    }

    fn write(&mut self, batch: OutputBatch, tasks: &[TaskOf]) -> rusqlite::Result<()> {
        let rows = self.resolve(&batch, tasks)?;
        self.insert(&rows)?;
        let tally = &mut self.work.checkpoint.report.outputs;
        tally.read += batch.read;
        tally.added += rows.len() as u64;
        tally.left_out += batch.read - rows.len() as u64;
        self.rows_uncommitted += batch.read;
        self.work.checkpoint.report.oddities.merge(batch.oddities);
        if self.rows_uncommitted >= COMMIT_ROWS || self.listings_uncommitted >= COMMIT_LISTINGS {
            (self.rows_uncommitted, self.listings_uncommitted) = (0, 0);
            self.work.commit()?;
            self.work.begin()?;
        }
        Ok(())
    }

    /// Turns names into numbers, and stores listings.
    fn resolve<'b>(
        &mut self,
        batch: &'b OutputBatch,
        tasks: &[TaskOf],
    ) -> rusqlite::Result<Vec<Row<'b>>> {
        let conn = &self.work.conn;
        let mut methods = Vec::with_capacity(batch.methods.texts.len());
        for method in &batch.methods.texts {
            methods.push(intern_method(conn, method)?);
        }
        let mut metadata = Vec::with_capacity(batch.metadata.len());
        for one in &batch.metadata {
            metadata.push(intern_metadata(conn, one)?);
        }
        let with_listing = batch
            .rows
            .iter()
            .filter_map(|row| Some((row, row.listing.as_ref()?)));
        let wanted: Vec<Wanted<'_>> = with_listing
            .map(|(row, listing)| Wanted {
                listing,
                family: Family::of(methods[row.method], &batch.metadata[row.metadata]),
            })
            .collect();
        self.listings_uncommitted += wanted.len() as u64;
        let tally = &mut self.work.checkpoint.report.listings;
        let mut stored = self.listings.store(conn, &wanted, tally)?.into_iter();
        let resolve = |(row, task): (&'b OutputRow, &TaskOf)| Row {
            row,
            task: *task,
            method: methods[row.method],
            metadata: metadata[row.metadata],
            siginfo: row.listing.as_ref().and_then(|_| stored.next()),
        };
        Ok(batch.rows.iter().zip(tasks).map(resolve).collect())
    }

    fn insert(&self, rows: &[Row<'_>]) -> rusqlite::Result<()> {
        let conn = &self.work.conn;
        let new_task = "INSERT INTO task (id, namespace, method, taskhash) VALUES (?1, 1, ?2, ?3)";
        for row in rows.iter().filter(|row| row.task.is_new) {
            conn.prepare_cached(new_task)?.execute((
                row.task.task,
                row.method.0,
                Hash(&row.row.taskhash),
            ))?;
        }
        let insert = "INSERT INTO outhash
            (id, namespace, method, task, outhash, created, metadata, siginfo)";
        BulkInsert::new(conn, insert, "(?, 1, ?, ?, ?, ?, ?, ?)")?.insert(
            rows,
            |statement, base, row| {
                statement.raw_bind_parameter(base + 1, row.row.id)?;
                statement.raw_bind_parameter(base + 2, row.method.0)?;
                statement.raw_bind_parameter(base + 3, row.task.task)?;
                statement.raw_bind_parameter(base + 4, Hash(&row.row.outhash))?;
                statement.raw_bind_parameter(base + 5, &row.row.created)?;
                statement.raw_bind_parameter(base + 6, row.metadata)?;
                statement.raw_bind_parameter(base + 7, row.siginfo)
            },
        )
    }

    fn finish(self) -> rusqlite::Result<()> {
        self.work.checkpoint.outputs_done = true;
        self.work.commit()
    }
}
