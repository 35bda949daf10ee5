//! The relation O: read once for the keys, which are matched with tasks, and
//! once for the rows.

use std::collections::HashMap;

use fingerpost_hashequiv_proto::types::{Method, Taskhash};

use super::matching::{Matched, Matching, TaskOf, TaskStream};
use crate::cache::MethodId;
use crate::moving::bulk_insert::BulkInsert;
use crate::moving::import::{advance, begin_rows};
use crate::moving::listings::{Family, Listings, Wanted};
use crate::moving::pipe::pipe;
use crate::moving::reference::{OutputBatch, OutputOrder, OutputReader, OutputRow, Reference};
use crate::moving::work::Work;
use crate::moving::{ImportError, Progress, Stage};
use crate::sqlite::{Hash, intern_metadata, intern_method};

/// Rows, and listings, between two commits.
const COMMIT_ROWS: u64 = if cfg!(test) { 500 } else { 250_000 };
const COMMIT_LISTINGS: u64 = 10_000;

/// Rows between two looks at the progress while keys are read.
const KEYS_TOLD: u64 = if cfg!(test) { 256 } else { 8192 };

pub(super) fn load(
    reference: &mut Reference,
    work: &mut Work,
    progress: &mut dyn Progress,
) -> Result<(), ImportError> {
    if work.checkpoint.outputs_done {
        return Ok(());
    }
    let directory = work.directory();
    let (order, rows, matched) = match_tasks(reference, work, progress)?;
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

/// Finds the order of the rows, their number, and the task of each.
fn match_tasks(
    reference: &Reference,
    work: &Work,
    progress: &mut dyn Progress,
) -> Result<(OutputOrder, u64, Matched), ImportError> {
    let table = reference.tables.output_table();
    let first = reference.first_id(table)?;
    let until = work.checkpoint.outputs_until;
    for order in [OutputOrder::ById, OutputOrder::ByCreated] {
        begin_rows(progress, Stage::Matching, (first, until));
        let mut keys = Keys::new(work)?;
        let reader = OutputReader {
            reference,
            order,
            until,
        };
        let in_order = reader.keys(|sequence, key| {
            keys.rows = sequence + 1;
            if let Some(key) = key {
                keys.add(sequence, key.method, &Taskhash::parse(key.taskhash))?;
            }
            if sequence % KEYS_TOLD == 0 {
                advance(progress, sequence)?;
            }
            Ok(())
        })?;
        if in_order {
            let rows = keys.rows;
            return Ok((order, rows, keys.finish(work)?));
        }
    }
    Err(ImportError::Damaged {
        path: reference.path.clone(),
        what: format!("sorting {table} by created did not put it in order"),
    })
}

/// Gathers the keys of both sides. Methods get numbers of their own here,
/// because those of rows without a task have none yet.
struct Keys {
    matching: Matching,
    methods: HashMap<Method, u32>,
    directory: std::path::PathBuf,
    rows: u64,
}

impl Keys {
    fn new(work: &Work) -> Result<Self, ImportError> {
        let directory = work.directory();
        let matching = Matching::new(&directory, work.checkpoint.last_task.unsigned_abs())
            .map_err(ImportError::io(&directory))?;
        Ok(Self {
            matching,
            methods: HashMap::new(),
            directory,
            rows: 0,
        })
    }

    fn method(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.methods.len()).unwrap_or(u32::MAX);
        match self.methods.get(name) {
            Some(number) => *number,
            None => *self.methods.entry(Method::from(name)).or_insert(next),
        }
    }

    fn add(&mut self, sequence: u64, method: &str, taskhash: &Taskhash) -> Result<(), ImportError> {
        let method = self.method(method);
        let added = self.matching.row(method, taskhash, sequence);
        added.map_err(ImportError::io(&self.directory))
    }

    /// Adds the tasks of the target and matches.
    fn finish(mut self, work: &Work) -> Result<Matched, ImportError> {
        let failed = work.failed();
        let io_directory = self.directory.clone();
        let io = ImportError::io(&io_directory);
        let mut methods: HashMap<u32, u32> = HashMap::new();
        let mut statement = work
            .conn
            .prepare("SELECT id, name FROM method")
            .map_err(&failed)?;
        let mut rows = statement.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let id = row.get(0).map_err(&failed)?;
            let name: String = row.get(1).map_err(&failed)?;
            methods.insert(id, self.method(&name));
        }
        let sql = "SELECT id, method, taskhash FROM task ORDER BY id";
        let mut statement = work.conn.prepare(sql).map_err(&failed)?;
        let mut rows = statement.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let method: u32 = row.get(1).map_err(&failed)?;
            let taskhash: Hash<Taskhash> = row.get(2).map_err(&failed)?;
            let number = methods.get(&method).copied().unwrap_or(u32::MAX);
            let id = row.get(0).map_err(&failed)?;
            self.matching.task(number, &taskhash.0, id).map_err(&io)?;
        }
        self.matching.finish().map_err(&io)
    }
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
