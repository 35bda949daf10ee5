//! Rows of the relation O, with their tasks, in their table.

use std::io;

use super::matching::{Matched, TaskOf, TaskStream};
use super::row_file::{PendingRow, RowReader};
use crate::moving::bulk_insert::BulkInsert;
use crate::moving::import::advance;
use crate::moving::pipe::pipe;
use crate::moving::work::Work;
use crate::moving::{ImportError, Progress, Stage};
use crate::sqlite::Hash;

/// Rows of one batch, and between two commits.
const BATCH_ROWS: usize = if cfg!(test) { 256 } else { 8192 };
const COMMIT_ROWS: u64 = if cfg!(test) { 500 } else { 250_000 };

/// A row and its task.
type Placed = (PendingRow, TaskOf);

/// Inserts the rows that are not there yet.
pub(super) fn place(
    work: &mut Work,
    matched: &Matched,
    progress: &mut dyn Progress,
) -> Result<(), ImportError> {
    let path = work.rows_path();
    let io = ImportError::io(&path);
    progress.begin(Stage::Placing, work.checkpoint.rows);
    let skip = work.checkpoint.report.outputs.added;
    let mut reader = RowReader::open(&path, work.checkpoint.rows_bytes).map_err(&io)?;
    let mut tasks = matched.stream().map_err(&io)?;
    for _ in 0..skip {
        next(&mut reader, &mut tasks).map_err(&io)?;
    }
    let failed = work.failed();
    work.begin().map_err(&failed)?;
    let mut uncommitted = 0;
    pipe(
        &mut (),
        |(), outlet| {
            let mut batch = Vec::with_capacity(BATCH_ROWS);
            while let Some(placed) =
                next(&mut reader, &mut tasks).map_err(ImportError::io(&path))?
            {
                batch.push(placed);
                if batch.len() == BATCH_ROWS && outlet.send(std::mem::take(&mut batch)).is_err() {
                    return Ok(());
                }
            }
            // Nobody listens any more: that side has an error of its own.
            let _ = outlet.send(batch);
            Ok(())
        },
        |batch| {
            insert(work, &batch).map_err(&failed)?;
            uncommitted += batch.len() as u64;
            work.checkpoint.report.outputs.added += batch.len() as u64;
            if uncommitted >= COMMIT_ROWS {
                uncommitted = 0;
                work.commit().and_then(|()| work.begin()).map_err(&failed)?;
            }
            advance(progress, work.checkpoint.report.outputs.added)
        },
    )?;
    work.checkpoint.outputs_placed = true;
    work.commit().map_err(failed)
}

fn next(reader: &mut RowReader, tasks: &mut TaskStream<'_>) -> io::Result<Option<Placed>> {
    match (reader.next()?, tasks.next()?) {
        (Some((_, row)), Some(task)) => Ok(Some((row, task))),
        (None, None) => Ok(None),
        _ => Err(io::Error::other("the rows are not those that were matched")),
    }
}

fn insert(work: &Work, rows: &[Placed]) -> rusqlite::Result<()> {
    let new_task = "INSERT INTO task (id, namespace, method, taskhash) VALUES (?1, 1, ?2, ?3)";
    for (row, task) in rows.iter().filter(|(_, task)| task.is_new) {
        work.conn.prepare_cached(new_task)?.execute((
            task.task,
            row.method.0,
            Hash(&row.taskhash),
        ))?;
    }
    let insert = "INSERT INTO outhash
        (id, namespace, method, task, outhash, created, metadata, siginfo)";
    BulkInsert::new(&work.conn, insert, "(?, 1, ?, ?, ?, ?, ?, ?)")?.insert(
        rows,
        |statement, base, (row, task)| {
            statement.raw_bind_parameter(base + 1, row.id)?;
            statement.raw_bind_parameter(base + 2, row.method.0)?;
            statement.raw_bind_parameter(base + 3, task.task)?;
            statement.raw_bind_parameter(base + 4, Hash(&row.outhash))?;
            statement.raw_bind_parameter(base + 5, &row.created)?;
            statement.raw_bind_parameter(base + 6, row.metadata)?;
            statement.raw_bind_parameter(base + 7, row.siginfo)
        },
    )
}
