//! Into a new file, in bulk.
//!
//! The tables are filled in the order of their keys and the indexes are built
//! at the end, so nearly every page is written once.

mod collections;
mod indexes;
mod mappings;
mod matching;
mod outputs;
mod pairing;
mod placing;
mod row_file;
mod sorting;

use std::path::Path;

pub(super) use collections::Collections;

use super::import::begin_report;
use super::merge;
use super::reference::{Generation, Reference, count_outputs};
use super::report::Manner;
use super::users::{add_users, read_users};
use super::work::{Checkpoint, Work};
use super::{ImportError, ImportOptions, ImportReport, Progress, Stage};
use crate::namespace::NamespaceId;

/// Makes `target`, whose only namespace is the default one, or goes on making it.
pub(super) fn load(
    reference: &mut Reference,
    target: &Path,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImportReport, ImportError> {
    let mut work = match resume(reference, target, options, progress)? {
        Some(work) => work,
        None => begin(reference, target, options)?,
    };
    mappings::load(reference, &mut work, options, progress)?;
    outputs::read(reference, &mut work, progress)?;
    if !work.checkpoint.outputs_placed {
        sorting::sort(&mut work)?;
        let matched = pairing::pair(&mut work, progress)?;
        placing::place(&mut work, &matched, progress)?;
    }
    indexes::build(&mut work, progress)?;
    if reference.tables.has_older_mappings {
        merge::add_older_mappings(reference, &mut work, options, progress)?;
    }
    progress.begin(Stage::Syncing, 1);
    work.sync().map_err(work.failed())?;
    let users = read_users(reference, &mut work.checkpoint.report)?;
    let (mark, now) = (work.checkpoint.mark.clone(), options.now);
    let source_sequence = reference.output_sequence()?;
    work.publish(|conn, report| {
        add_users(conn, &users, &mut report.users)?;
        if let Some(mark) = mark {
            Collections::load(conn, NamespaceId::DEFAULT)?.run(conn, &mark, now)?;
        }
        // Numbers that the source gave away stay given away.
        conn.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'outhash'",
            [source_sequence],
        )?;
        Ok(())
    })
}

fn begin(
    reference: &Reference,
    target: &Path,
    options: &ImportOptions<'_>,
) -> Result<Work, ImportError> {
    let report = begin_report(reference, Manner::Fresh)?;
    let mut checkpoint = Checkpoint::new(report, options.drop_invalid_unihashes);
    checkpoint.mark = reference.mark()?;
    checkpoint.mappings_until = reference.last_id(reference.tables.mapping_table())?;
    checkpoint.outputs_until = reference.last_id(reference.tables.output_table())?;
    Work::create(target, checkpoint)
}

/// Opens an interrupted import if it fits the options and the source as it is.
fn resume(
    reference: &Reference,
    target: &Path,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<Option<Work>, ImportError> {
    let Some(mut work) = Work::resume(target)? else {
        return Ok(None);
    };
    progress.begin(Stage::Comparing, 1);
    if !fits(reference, &work.checkpoint, options)? {
        progress
            .note("The source or the options changed since the interrupted import: beginning anew");
        return Ok(None);
    }
    work.checkpoint.report.resumed = true;
    Ok(Some(work))
}

/// Whether the rows that were taken are still what the source says. Rows are
/// only ever added behind the ones that were there, removed, or marked with the
/// current mark; so counting suffices.
fn fits(
    reference: &Reference,
    checkpoint: &Checkpoint,
    options: &ImportOptions<'_>,
) -> Result<bool, ImportError> {
    let tables = reference.tables;
    if checkpoint.generation != tables.generation
        // Its mappings are not counted that easily, and its files are small.
        || tables.generation == Generation::TasksV2
        || checkpoint.drop_invalid_unihashes != options.drop_invalid_unihashes
        || checkpoint.mark != reference.mark()?
    {
        return Ok(false);
    }
    let marked = match tables.generation {
        Generation::UnihashesV3 => "gc_mark IS ?2",
        Generation::UnihashesV2 | Generation::TasksV2 => "'' IS ?2",
    };
    let counted: (u64, u64) = reference
        .conn
        .query_row(
            &format!(
                "SELECT count(*), count(*) FILTER (WHERE {marked}) FROM {} WHERE id <= ?1",
                tables.mapping_table()
            ),
            (checkpoint.mappings_after, &checkpoint.mark),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(reference.failed())?;
    if counted != (checkpoint.report.mappings.read, checkpoint.mappings_marked) {
        return Ok(false);
    }
    // What was read of the other relation completely is not looked at again.
    Ok(checkpoint.outputs_read
        || count_outputs(reference, checkpoint.outputs_after)? == checkpoint.report.outputs.read)
}
