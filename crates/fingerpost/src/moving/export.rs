//! `fingerpost export`.

use std::path::PathBuf;

use fingerpost_hashequiv::moving::{self, ExportError, ExportReport};
use fingerpost_hashequiv::namespace::DEFAULT_NAMESPACE;

use super::import::{exit_of_io, exit_of_opening, of_namespace};
use super::stages::Stages;
use crate::backup::only_file;
use crate::exit::{Exit, failure};

/// Write a database that bitbake-hashserv can use, to go back to it.
///
/// Everything comes from one moment; the server may run meanwhile. Only its
/// owner can read the new file, because it has the hashes of tokens.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The Fingerpost database.
    database: PathBuf,
    /// The database to be made; must not exist yet.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The namespace, without those that it falls back to. Users are those of the
    /// database.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

/// Exports, and tells what it came to.
pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<Exit> {
    only_file(&args.database)?;
    only_file(&args.to)?;
    let mut stages = Stages::default();
    let report = moving::export(&args.database, &args.to, &args.namespace, &mut stages);
    stages.finish();
    let report = report.map_err(explain)?;
    println!(
        "Exported {} to {}",
        of_namespace(&args.namespace, &args.database),
        args.to.display()
    );
    print!("{}", summary(&report));
    Ok(if report.damaged.is_empty() {
        Exit::Ok
    } else {
        Exit::Found
    })
}

fn summary(report: &ExportReport) -> String {
    let mut text = format!(
        "  unihashes  {}\n  outputs    {}\n  users      {}\n",
        report.mappings, report.outputs, report.users
    );
    if let Some(mark) = &report.mark {
        text.push_str(&format!("  the collection {mark:?} is running\n"));
    }
    if !report.damaged.is_empty() {
        text.push_str(&format!(
            "  damaged siginfo was left out of these rows: {:?}\n",
            report.damaged
        ));
    }
    text
}

/// Gives an error its exit code.
fn explain(error: ExportError) -> anyhow::Error {
    let exit = match &error {
        ExportError::Exists { .. } | ExportError::Name(_) | ExportError::NoNamespace { .. } => {
            Exit::Usage
        }
        ExportError::Open(error) => exit_of_opening(error),
        ExportError::Io { source, .. } => exit_of_io(source),
        _ => Exit::Io,
    };
    failure(exit, format!("{:#}", anyhow::Error::new(error)))
}
