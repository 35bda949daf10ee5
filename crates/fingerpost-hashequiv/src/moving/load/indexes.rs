//! The indexes that were put off.

use rusqlite::ErrorCode;

use crate::moving::import::advance;
use crate::moving::oddity::{Oddity, OddityKind};
use crate::moving::work::Work;
use crate::moving::{Consequence, ImportError, Progress, Stage};

/// Builds the indexes, each in a transaction of its own.
pub(super) fn build(work: &mut Work, progress: &mut dyn Progress) -> Result<(), ImportError> {
    let indexes = work.checkpoint.indexes.clone();
    progress.begin(Stage::Indexes, indexes.len() as u64);
    for (done, (name, sql)) in indexes.iter().enumerate() {
        advance(progress, done as u64)?;
        build_one(work, name, sql).map_err(work.failed())?;
    }
    advance(progress, indexes.len() as u64)
}

fn build_one(work: &mut Work, name: &str, sql: &str) -> rusqlite::Result<()> {
    let exists = work
        .conn
        .prepare("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?1")?
        .exists([name])?;
    if exists {
        return Ok(());
    }
    match work.conn.execute_batch(sql) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            remove_repeated(work)?;
            work.conn.execute_batch(sql)
        }
        other => other,
    }
}

/// Keeps the first row of each key. The source has unique indexes too: this is
/// for files whose indexes are damaged.
fn remove_repeated(work: &mut Work) -> rusqlite::Result<()> {
    work.begin()?;
    work.conn.execute(
        "DELETE FROM task WHERE id NOT IN
             (SELECT min(id) FROM task GROUP BY namespace, method, taskhash)",
        [],
    )?;
    let mappings = work.conn.execute(
        "DELETE FROM unihash WHERE NOT EXISTS (SELECT 1 FROM task WHERE task.id = unihash.task)",
        [],
    )?;
    let outputs = work.conn.execute(
        "DELETE FROM outhash WHERE id NOT IN (SELECT min(id) FROM outhash GROUP BY task, outhash)",
        [],
    )?;
    let report = &mut work.checkpoint.report;
    for (tally, table, rows) in [
        (&mut report.mappings, "unihashes", mappings as u64),
        (&mut report.outputs, "outhashes", outputs as u64),
    ] {
        tally.added -= rows;
        tally.left_out += rows;
        if rows > 0 {
            report.oddities.0.push(Oddity {
                table: table.into(),
                column: "taskhash".into(),
                kind: OddityKind::Twice,
                consequence: Consequence::RowLeftOut,
                count: rows,
                examples: Vec::new(),
            });
        }
    }
    work.commit()
}
