//! `fingerpost snapshot make`: a snapshot of a database file, without a server.

use std::path::PathBuf;

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv::namespace::DEFAULT_NAMESPACE;
use fingerpost_hashequiv::sqlite::{FileError, NamespaceFile};
use fingerpost_signatures::UnixTime;
use fingerpost_snapshot::WriteError;

use super::making::{PAGE_ROWS, make};
use super::verify::about;
use crate::backup::only_file;
use crate::exit::{Exit, failure};
use crate::moving::exit_of_opening;
use crate::out::Out;

/// Make a snapshot of a namespace in a database file, which is only read; its server may run meanwhile. The
/// snapshot has the mappings of that namespace alone, and none of those that it falls back to. It is not signed:
/// `fingerpost snapshot publish` does that.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory that becomes the snapshot. It must not be there, and the one that it is in must.
    directory: PathBuf,
    /// The Fingerpost database.
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    /// The namespace.
    #[arg(long, default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

/// Makes one.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    only_file(&args.database)?;
    let file = NamespaceFile::open(&args.database, &args.namespace);
    let file = file.map_err(|error| cannot_read(args, error))?;
    let cut = file.cut().map_err(|error| cannot_read(args, error))?;
    let created = UnixTime::of(SystemClock.now());
    let pages = |after| Ok(file.mappings(after, PAGE_ROWS)?);
    let made = make(
        &args.directory,
        &args.namespace,
        cut,
        created,
        pages,
        || true,
    );
    let manifest = made.map_err(|error| match error.downcast::<WriteError>() {
        Ok(error @ WriteError::Exists(_)) => failure(Exit::Usage, error),
        Ok(error) => anyhow::Error::new(error).context("cannot write the snapshot"),
        Err(other) => other,
    })?;
    let (rows, left_out) = (manifest.rows(), manifest.left_out);
    let line = format!("{}: {rows} rows, {left_out} left out", about(&manifest));
    Out::default().line(&line)?;
    Ok(Exit::Ok)
}

fn cannot_read(args: &Args, error: FileError) -> anyhow::Error {
    let exit = match &error {
        FileError::Open(error) => exit_of_opening(error),
        FileError::NoNamespace(_) => Exit::Usage,
        FileError::Store(_) => Exit::Io,
    };
    let whole = anyhow::Error::new(error);
    failure(exit, format!("{}: {whole:#}", args.database.display()))
}
