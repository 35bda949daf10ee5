//! `fingerpost snapshot verify`: whether a snapshot is whole, and who vouches for it.

use std::path::PathBuf;

use fingerpost_snapshot::{Manifest, Summary};

use super::{in_words, open};
use crate::exit::Exit;
use crate::key::load_ring;
use crate::out::Out;

/// Read every file of a snapshot and check that all are what the manifest says. With
/// `--publishers`, one of these keys must have signed it; without, nobody vouches for it.
///
/// Compare namespace, epoch and position with what you expect: an old snapshot is signed as well.
///
/// Exit status 1 if no trusted publisher signed it, 65 if a file is damaged.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The snapshot.
    directory: PathBuf,
    /// A key ring with the publishers that are trusted.
    #[arg(long, value_name = "KEYRING")]
    publishers: Option<PathBuf>,
}

/// Verifies.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let publishers = args.publishers.as_deref().map(load_ring).transpose()?;
    let snapshot = open(&args.directory, publishers.as_ref())?;
    let summary = snapshot
        .verify_all(|_| ())
        .map_err(|error| in_words(&args.directory, error))?;
    let mut out = Out::default();
    out.line(&line(snapshot.manifest(), &summary))?;
    if publishers.is_none() {
        eprintln!("Whole. Who published it was not checked: there are no --publishers.");
    }
    Ok(Exit::Ok)
}

fn line(manifest: &Manifest, summary: &Summary) -> String {
    let Summary {
        shards,
        rows,
        equal,
        signed,
        bytes,
        side_bytes,
    } = summary;
    format!(
        "{}: {rows} rows ({equal} with their taskhash, {signed} signed), {shards} shards, {bytes} bytes, \
         {side_bytes} bytes of signatures",
        about(manifest)
    )
}

/// What a snapshot is of. Its name is quoted, so that it cannot draw on the terminal.
pub(super) fn about(manifest: &Manifest) -> String {
    format!(
        "{:?} epoch {} position {} of {}",
        manifest.namespace, manifest.epoch, manifest.position, manifest.created
    )
}
