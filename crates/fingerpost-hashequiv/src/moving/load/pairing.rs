//! Reads the keys of both sides and matches them: those of the relation O from
//! the source, and those of the tasks from the target, at the same time.

use std::path::Path;
use std::thread;

use fingerpost_hashequiv_proto::types::Taskhash;

use super::matching::{Keys, Matched, match_keys};
use crate::moving::import::{advance, begin_rows};
use crate::moving::reference::{OutputOrder, OutputReader, Reference};
use crate::moving::work::Work;
use crate::moving::{ImportError, Progress, Stage};
use crate::sqlite::Hash;

/// Rows between two looks at the progress.
const ROWS_TOLD: u64 = if cfg!(test) { 256 } else { 8192 };

/// The rows of the relation O: their order, their number, and the task of each.
pub(super) struct Paired {
    pub(super) order: OutputOrder,
    pub(super) rows: u64,
    pub(super) matched: Matched,
}

/// Finds the order of the rows and the task of each.
pub(super) fn pair(
    reference: &Reference,
    work: &mut Work,
    progress: &mut dyn Progress,
) -> Result<Paired, ImportError> {
    let directory = work.directory();
    let io = ImportError::io(&directory);
    let mut tasks = Keys::new(&directory, work.checkpoint.last_task.unsigned_abs()).map_err(&io)?;
    let mut rows = Rows {
        keys: tasks.other_side(&directory).map_err(&io)?,
        count: 0,
        directory: &directory,
    };
    let until = work.checkpoint.outputs_until;
    let (in_order, last_task) = thread::scope(|scope| {
        let adding = scope.spawn(|| add_tasks(work, &directory, &mut tasks));
        let in_order = rows.read(reference, OutputOrder::ById, until, progress);
        let last_task = adding
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, ImportError>((in_order?, last_task?))
    })?;
    let mut order = OutputOrder::ById;
    if !in_order {
        order = OutputOrder::ByCreated;
        rows.keys = tasks.other_side(&directory).map_err(&io)?;
        if !rows.read(reference, order, until, progress)? {
            return Err(ImportError::Damaged {
                path: reference.path.clone(),
                what: "sorting outputs by created did not put them in order".to_owned(),
            });
        }
    }
    Ok(Paired {
        order,
        rows: rows.count,
        matched: match_keys(&directory, &tasks, &rows.keys, last_task).map_err(io)?,
    })
}

/// The side of the source.
struct Rows<'a> {
    keys: Keys,
    count: u64,
    directory: &'a Path,
}

impl Rows<'_> {
    /// Reads the keys; false when the rows are not in this order.
    fn read(
        &mut self,
        reference: &Reference,
        order: OutputOrder,
        until: i64,
        progress: &mut dyn Progress,
    ) -> Result<bool, ImportError> {
        let first = reference.first_id(reference.tables.output_table())?;
        begin_rows(progress, Stage::Matching, (first, until));
        let reader = OutputReader {
            reference,
            order,
            until,
        };
        self.count = 0;
        reader.keys(|sequence, key| {
            self.count = sequence + 1;
            if let Some(key) = key {
                self.keys
                    .add(key.method, &Taskhash::parse(key.taskhash), sequence)
                    .map_err(ImportError::io(self.directory))?;
            }
            if sequence % ROWS_TOLD == 0 {
                advance(progress, sequence)?;
            }
            Ok(())
        })
    }
}

/// The side of the target. Returns the highest number of a task.
fn add_tasks(work: &mut Work, directory: &Path, keys: &mut Keys) -> Result<i64, ImportError> {
    let failed = work.failed();
    let io = ImportError::io(directory);
    let mut last = 0_i64;
    let mut statement = work
        .conn
        .prepare(
            "SELECT task.id, method.name, task.taskhash
               FROM task CROSS JOIN method ON method.id = task.method ORDER BY task.id",
        )
        .map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        last = row.get(0).map_err(&failed)?;
        let method = row.get_ref(1).map_err(&failed)?;
        let method = method.as_str().map_err(|error| failed(error.into()))?;
        let taskhash: Hash<Taskhash> = row.get(2).map_err(&failed)?;
        keys.add(method, &taskhash.0, last.unsigned_abs())
            .map_err(&io)?;
    }
    Ok(last)
}
