//! The ways of an import.

use std::path::Path;

use fingerpost_core::Timestamp;
use fingerpost_db::Settings;

use super::load;
use super::merge;
use super::pipe::pipe;
use super::reference::{Reference, Tables, read_mappings, read_outputs};
use super::report::{ImportReport, Manner};
use super::users::read_users;
use super::{ImportError, Progress, Stage};
use crate::namespace::{DEFAULT_NAMESPACE, check_name};
use crate::sqlite::{MIGRATIONS, namespace_number};

/// What an import is to do.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions<'a> {
    /// Name of the namespace that rows go into. Unless it is the default one, the
    /// target has to exist and have it.
    pub namespace: &'a str,
    /// Leaves rows out whose unihash is not 64 lower-case hex digits. A server
    /// answers them as a miss anyway; kept, they can be exported again.
    pub drop_invalid_unihashes: bool,
    /// Reads everything and writes nothing.
    pub dry_run: bool,
    /// The time that rows of the relation U get: the reference keeps none.
    pub now: Timestamp,
}

/// Imports the reference's database `source` into the Fingerpost database
/// `into`. Blocks, and uses a second thread, and every core for listings.
///
/// The source is opened read-only and read in one snapshot; its server may run,
/// and what it adds meanwhile is not taken. A target that does not exist is
/// made in bulk as `INTO.importing`, which is renamed when it is complete; an
/// import that was killed goes on from there when it is run again, unless the
/// machine was restarted or rows of the source were removed or marked
/// meanwhile: then it begins anew. Rows go into a target that exists one by
/// one; its own rows stay, and a server may run on it. Rows of its other namespaces
/// are not looked at, and users are those of the whole database.
///
/// # Errors
///
/// See [`ImportError`]. Values that cannot be taken are no error: they are
/// counted in the report.
pub fn import(
    source: &Path,
    into: &Path,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImportReport, ImportError> {
    let reference = Reference::open(source)?;
    if !options.dry_run && is_same(source, into) {
        return Err(ImportError::Itself {
            path: into.to_owned(),
        });
    }
    check_namespace(into, options.namespace)?;
    bring_in(reference, into, options, progress)
}

/// Imports what is open and known to fit.
pub(super) fn bring_in(
    mut reference: Reference,
    into: &Path,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImportReport, ImportError> {
    if options.dry_run {
        return rehearse(&mut reference, options, progress);
    }
    if !into.exists() {
        return load::load(&mut reference, into, options, progress);
    }
    merge::merge(&mut reference, into, options, progress)
}

/// Checks, without making or changing the target, that it has the namespace.
pub(super) fn check_namespace(into: &Path, name: &str) -> Result<(), ImportError> {
    check_name(name)?;
    if name == DEFAULT_NAMESPACE {
        return Ok(());
    }
    if !into.exists() {
        return Err(ImportError::no_namespace(into, name));
    }
    let conn = fingerpost_db::connect_read_only(&Settings::new(into), MIGRATIONS)?;
    match namespace_number(&conn, name).map_err(ImportError::target(into))? {
        Some(_) => Ok(()),
        None => Err(ImportError::no_namespace(into, name)),
    }
}

fn is_same(left: &Path, right: &Path) -> bool {
    match (left.canonicalize(), right.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}

/// Reads everything, as an import does, and writes nothing.
fn rehearse(
    reference: &mut Reference,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImportReport, ImportError> {
    let mut report = begin_report(reference, Manner::DryRun)?;
    let tables = reference.tables;
    rehearse_mappings(reference, options, &mut report, progress)?;
    if tables.has_older_mappings {
        reference.tables = tables.older_mappings();
        rehearse_mappings(reference, options, &mut report, progress)?;
        reference.tables = tables;
    }
    let until = reference.last_id(tables.output_table())?;
    let first = reference.first_id(tables.output_table())?;
    begin_rows(progress, Stage::Outputs, (first, until));
    pipe(
        reference,
        |reference, outlet| read_outputs(reference, (i64::MIN, until), &outlet),
        |batch| {
            report.outputs.read += batch.read;
            report.outputs.added += batch.rows.len() as u64;
            report.outputs.left_out += batch.read - batch.rows.len() as u64;
            for listing in batch.rows.iter().filter_map(|row| row.listing.as_ref()) {
                report.listings.read += 1;
                report.listings.text_bytes += listing.text.len() as u64;
            }
            report.oddities.merge(batch.oddities);
            advance(progress, (batch.last_id - first + 1) as u64)
        },
    )?;
    report.users.added = read_users(reference, &mut report)?.len() as u64;
    Ok(report)
}

fn rehearse_mappings(
    reference: &mut Reference,
    options: &ImportOptions<'_>,
    report: &mut ImportReport,
    progress: &mut dyn Progress,
) -> Result<(), ImportError> {
    let table = reference.tables.mapping_table();
    let (first, until) = (reference.first_id(table)?, reference.last_id(table)?);
    begin_rows(progress, Stage::Mappings, (first, until));
    pipe(
        reference,
        |reference, outlet| read_mappings(reference, (i64::MIN, until), &outlet),
        |batch| {
            let invalid = batch
                .rows
                .iter()
                .filter(|row| !row.unihash.is_valid())
                .count() as u64;
            let taken = match options.drop_invalid_unihashes {
                true => batch.rows.len() as u64 - invalid,
                false => batch.rows.len() as u64,
            };
            report.mappings.read += batch.read;
            report.mappings.added += taken;
            report.mappings.left_out += batch.read - taken;
            report.invalid_unihashes += invalid;
            report.oddities.merge(batch.oddities);
            advance(progress, (batch.last_id - first + 1) as u64)
        },
    )
}

/// A report with what is known before any row is read.
pub(super) fn begin_report(
    reference: &Reference,
    manner: Manner,
) -> Result<ImportReport, ImportError> {
    let Tables { generation, .. } = reference.tables;
    let mut report = ImportReport::new(generation, manner);
    report.mark = reference.mark()?;
    if reference.tables.has_older_tasks {
        report.notes.push(
            "The table tasks_v2 was left aside: the reference drops it beside newer tables".into(),
        );
    }
    Ok(report)
}

/// Begins a stage over the rows with these ids. Where ids are missing the rate
/// is shown too high, which costs less than counting.
pub(super) fn begin_rows(progress: &mut dyn Progress, stage: Stage, (first, last): (i64, i64)) {
    let rows = last.saturating_sub(first).saturating_add(1);
    progress.begin(stage, rows.unsigned_abs());
}

/// Tells how far a stage has come, and hears whether to go on.
pub(super) fn advance(progress: &mut dyn Progress, done: u64) -> Result<(), ImportError> {
    match progress.advance(done) {
        std::ops::ControlFlow::Continue(()) => Ok(()),
        std::ops::ControlFlow::Break(()) => Err(ImportError::Interrupted),
    }
}
