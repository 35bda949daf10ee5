//! `fingerpost import`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_db::OpenError;
use fingerpost_db::postgres::{PostgresError, PostgresOpenError};
use fingerpost_hashequiv::moving::{ImportError, ImportOptions, ImportReport, Manner, Tally};
use fingerpost_hashequiv::namespace::DEFAULT_NAMESPACE;

use super::follow;
use super::source::Source;
use super::stages::Stages;
use crate::backup::only_file;
use crate::exit::{Exit, failure};
use crate::notice::ANONYMOUS_CLEANING;

/// Make a Fingerpost database of a database of bitbake-hashserv.
///
/// The source is only read, and its server may run meanwhile; what it adds
/// after the import began is not taken. An import that was killed goes on when
/// the same command is run again. Into a database that exists, rows are added;
/// the rows that it has stay. A namespace other than `default` has to be there: a
/// server makes those of its configuration when it starts.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The database of bitbake-hashserv, of any version: a file of SQLite, or
    /// `postgresql://USER@HOST/DATABASE`, with the password in PGPASSWORD.
    source: OsString,
    /// The Fingerpost database [default: SOURCE.fingerpost]. An import from
    /// PostgreSQL has to be told, and copies the tables into this directory first.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// The namespace that rows go into. Users go into the database, for all of them.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// Read everything, report what could not be taken, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Leave rows out whose unihash is not 64 lower-case hex digits. Kept, they
    /// are answered as a miss, and exported again.
    #[arg(long)]
    drop_invalid_unihashes: bool,
    /// Go on importing while the source's server writes, until a signal comes: what is
    /// added, removed and marked there. The same command goes on later. The Fingerpost
    /// database must not exist at first, and belongs to the source until --finish: what
    /// others write to it goes again.
    #[arg(long, conflicts_with_all = ["namespace", "dry_run", "finish"])]
    follow: bool,
    /// How often to look at the source with --follow, from 1s to 1h. Removed and marked
    /// rows are looked for less often where that takes long.
    #[arg(long, value_name = "TIME", default_value = "30s", requires = "follow",
          value_parser = follow::every)]
    every: Duration,
    /// Take the rest after --follow, when the source's server was stopped. If somebody
    /// writes to the source meanwhile, this ends with 1 and can be done again.
    #[arg(long, conflicts_with_all = ["namespace", "dry_run"])]
    finish: bool,
}

/// Imports, and tells what it came to.
pub(crate) fn import(args: &ImportArgs) -> anyhow::Result<Exit> {
    let source = Source::of_argument(&args.source)?;
    let into = match &args.into {
        Some(into) => into.clone(),
        None => source.default_target()?,
    };
    only_file(&into)?;
    let options = ImportOptions {
        namespace: &args.namespace,
        dry_run: args.dry_run,
        drop_invalid_unihashes: args.drop_invalid_unihashes,
        now: SystemClock.now(),
    };
    if args.follow {
        return follow::follow(&source, &into, &options, args.every);
    }
    if args.finish {
        return follow::finish(&source, &into, &options);
    }
    let report = run(&source, &into, &options)?;
    let target = of_namespace(&args.namespace, &into);
    print!("{}", summary(&report, &source, &target));
    if !args.dry_run {
        println!("{ANONYMOUS_CLEANING}");
    }
    Ok(Exit::Ok)
}

/// Imports `source` for `serve --import`: all of it, into a file that appears
/// when it is complete. Returns the lines to be logged.
pub(crate) fn import_database(source: &Path, into: &Path) -> anyhow::Result<String> {
    let options = ImportOptions {
        namespace: DEFAULT_NAMESPACE,
        dry_run: false,
        drop_invalid_unihashes: false,
        now: SystemClock.now(),
    };
    let source = Source::File(source.to_owned());
    let report = run(&source, into, &options)?;
    Ok(summary(&report, &source, &into.display().to_string()))
}

/// Where an import goes unless told otherwise: `SOURCE.fingerpost`. The file is
/// complete when it exists.
pub(crate) fn imported_path(source: &Path) -> PathBuf {
    let mut name = source.as_os_str().to_owned();
    name.push(".fingerpost");
    name.into()
}

/// How messages call a namespace of a file; the default one is the file.
pub(super) fn of_namespace(name: &str, file: &Path) -> String {
    match name {
        DEFAULT_NAMESPACE => file.display().to_string(),
        name => format!("the namespace {name} of {}", file.display()),
    }
}

fn run(source: &Source, into: &Path, options: &ImportOptions<'_>) -> anyhow::Result<ImportReport> {
    let mut stages = Stages::default();
    let report = source.import(into, options, &mut stages)?;
    stages.finish();
    report.map_err(explain)
}

/// Whether the file itself is broken, and not the reading of it.
fn is_damage(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
}

/// Gives an error its exit code.
pub(super) fn explain(error: ImportError) -> anyhow::Error {
    let exit = match &error {
        ImportError::NotReference { .. } | ImportError::Damaged { .. } => Exit::BadData,
        ImportError::Source { source, .. } if is_damage(source) => Exit::BadData,
        ImportError::Itself { .. }
        | ImportError::Name(_)
        | ImportError::NoNamespace { .. }
        | ImportError::NotFollowed { .. }
        | ImportError::FollowsOther { .. }
        | ImportError::TooOldToFollow { .. } => Exit::Usage,
        ImportError::Running { .. } => Exit::Unavailable,
        ImportError::WalUnreadable { .. } => Exit::Denied,
        ImportError::Open(error) => exit_of_opening(error),
        ImportError::Io { source, .. } => exit_of_io(source),
        ImportError::Connect(PostgresOpenError::Connect { source, .. }) => {
            exit_of_postgres(source, Exit::Unavailable)
        }
        ImportError::Connect(_) => Exit::Usage,
        ImportError::Postgres { source, .. } => exit_of_postgres(source, Exit::Io),
        _ => Exit::Io,
    };
    failure(exit, format!("{:#}", anyhow::Error::new(error)))
}

/// The code of what PostgreSQL said, or of its silence; `other` where it tells
/// neither that we may not nor that it is gone.
fn exit_of_postgres(error: &PostgresError, other: Exit) -> Exit {
    match error.code() {
        // No such user, a wrong password, no right to read.
        Some("28000" | "28P01" | "42501") => Exit::Denied,
        _ if error.is_busy() => Exit::Unavailable,
        _ => match error {
            PostgresError::Lost(_) | PostgresError::NoAnswer => Exit::Unavailable,
            _ => other,
        },
    }
}

/// The code of a database that does not open.
pub(crate) fn exit_of_opening(error: &OpenError) -> Exit {
    match error {
        OpenError::NetworkFileSystem { .. }
        | OpenError::ReferenceDatabase { .. }
        | OpenError::NotOurs { .. }
        | OpenError::TooNew { .. } => Exit::Configuration,
        OpenError::Io { source, .. } => exit_of_io(source),
        _ => Exit::Io,
    }
}

/// The code of what the operating system refused.
pub(super) fn exit_of_io(error: &std::io::Error) -> Exit {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Io,
    }
}

/// What an import came to, in lines.
fn summary(report: &ImportReport, source: &Source, into: &str) -> String {
    let resumed = if report.resumed {
        ", going on from an interrupted import"
    } else {
        ""
    };
    let mut text = match report.manner {
        Manner::Fresh => format!("Imported {source} into {into}{resumed}\n"),
        Manner::Merged => format!("Added {source} to {into}\n"),
        Manner::DryRun => format!("Read {source}; nothing was written\n"),
    };
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{line}");
    };
    line(format_args!("  tables     {}", report.generation));
    line(format_args!("  unihashes  {}", tally(&report.mappings)));
    line(format_args!("  outputs    {}", tally(&report.outputs)));
    line(format_args!("  users      {}", tally(&report.users)));
    let listings = &report.listings;
    if listings.read > 0 {
        let stored = match report.manner {
            Manner::DryRun => String::new(),
            _ => format!(
                ", stored as {} ({})",
                listings.stored,
                mib(listings.stored_bytes)
            ),
        };
        line(format_args!(
            "  siginfo    {} read ({}){stored}",
            listings.read,
            mib(listings.text_bytes)
        ));
    }
    if report.invalid_unihashes > 0 {
        line(format_args!(
            "  {} unihashes are not 64 lower-case hex digits (--drop-invalid-unihashes leaves them out)",
            report.invalid_unihashes
        ));
    }
    if let Some(mark) = &report.mark {
        line(format_args!("  the collection {mark:?} is running"));
    }
    for oddity in report.oddities() {
        line(format_args!("  {oddity}"));
    }
    for note in &report.notes {
        line(format_args!("  {note}"));
    }
    text
}

fn tally(tally: &Tally) -> String {
    let mut text = format!("{} read, {} taken", tally.read, tally.added);
    if tally.present > 0 {
        let _ = write!(text, ", {} there already", tally.present);
    }
    if tally.left_out > 0 {
        let _ = write!(text, ", {} left out", tally.left_out);
    }
    text
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
