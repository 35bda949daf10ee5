//! Gathers the keys of rows and of tasks, at the same time, and matches them.

use std::path::Path;
use std::thread;

use fingerpost_hashequiv_proto::types::Taskhash;

use super::matching::{Keys, Matched, match_keys};
use super::row_file::RowReader;
use crate::cache::MethodId;
use crate::moving::import::advance;
use crate::moving::work::Work;
use crate::moving::{ImportError, Progress, Stage};
use crate::sqlite::Hash;

/// Rows between two looks at the progress.
const ROWS_TOLD: u64 = if cfg!(test) { 256 } else { 8192 };

/// Finds the task of each row.
pub(super) fn pair(work: &mut Work, progress: &mut dyn Progress) -> Result<Matched, ImportError> {
    progress.begin(Stage::Matching, work.checkpoint.rows);
    let directory = work.directory();
    let io = ImportError::io(&directory);
    let mut tasks = Keys::new(&directory, work.checkpoint.last_task.unsigned_abs()).map_err(&io)?;
    let mut rows = tasks.other_side(&directory).map_err(&io)?;
    let path = work.rows_path();
    let reader = RowReader::open(&path, work.checkpoint.rows_bytes);
    let mut reader = reader.map_err(ImportError::io(&path))?;
    let last_task = thread::scope(|scope| {
        let adding = scope.spawn(|| add_tasks(work, &mut tasks));
        let added = add_rows(&mut reader, &path, &mut rows, progress);
        let last_task = adding
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        added.and(last_task)
    })?;
    match_keys(&directory, &tasks, &rows, last_task).map_err(io)
}

fn add_rows(
    reader: &mut RowReader,
    path: &Path,
    keys: &mut Keys,
    progress: &mut dyn Progress,
) -> Result<(), ImportError> {
    let io = ImportError::io(path);
    let mut sequence = 0;
    while let Some((_, row)) = reader.next().map_err(&io)? {
        keys.add(row.method, &row.taskhash, sequence).map_err(&io)?;
        sequence += 1;
        if sequence % ROWS_TOLD == 0 {
            advance(progress, sequence)?;
        }
    }
    advance(progress, sequence)
}

/// The side of the target. Returns the highest number of a task. Takes the file
/// for itself: a connection may move between threads, not be shared.
fn add_tasks(work: &mut Work, keys: &mut Keys) -> Result<i64, ImportError> {
    let failed = work.failed();
    let io = ImportError::io(&work.directory());
    let mut last = 0_i64;
    let mut statement = work
        .conn
        .prepare("SELECT id, method, taskhash FROM task ORDER BY id")
        .map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        last = row.get(0).map_err(&failed)?;
        let method = MethodId(row.get(1).map_err(&failed)?);
        let taskhash: Hash<Taskhash> = row.get(2).map_err(&failed)?;
        keys.add(method, &taskhash.0, last.unsigned_abs())
            .map_err(&io)?;
    }
    Ok(last)
}
