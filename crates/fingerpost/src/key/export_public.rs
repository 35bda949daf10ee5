//! `fingerpost key export-public`: the ring of readers.

use std::path::{Path, PathBuf};

use fingerpost_signatures::{Algorithm, KeyRing, Sharing, State};

use super::ring::{load, save};
use crate::exit::{Exit, failure};
use crate::out::Out;

/// Write the key ring that readers need: all keys with their states, and no secrets.
/// A key of hmac-sha256 is nothing but a secret, so it is left out unless it is
/// revoked or `--with-shared-secrets` is given.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The key ring file.
    #[arg(long, value_name = "FILE")]
    ring: PathBuf,
    /// Write to this file, in one step, instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Keep shared secrets: who reads the file can sign with them. Its mode is 0600.
    #[arg(long, requires = "output")]
    with_shared_secrets: bool,
}

/// Exports.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let whole = load(&args.ring)?;
    if let Some(output) = &args.output
        && is_same_file(output, &args.ring)
    {
        let why = "--output is the ring itself, whose secrets would be lost";
        return Err(failure(Exit::Usage, why));
    }
    let sharing = match args.with_shared_secrets {
        true => Sharing::WithSecrets,
        false => Sharing::Public,
    };
    let ring = whole.for_readers(sharing);
    match &args.output {
        Some(path) => save(&ring, path)?,
        None => Out::default().bytes(ring.to_toml().as_bytes())?,
    }
    tell_what_is_left_out(&whole, sharing);
    Ok(Exit::Ok)
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        // The output is not there yet.
        _ => false,
    }
}

fn tell_what_is_left_out(whole: &KeyRing, sharing: Sharing) {
    let shared = whole
        .keys()
        .iter()
        .filter(|key| key.algorithm() == Algorithm::HmacSha256 && key.state() != State::Revoked);
    if sharing == Sharing::Public {
        for key in shared {
            eprintln!("left out: {} ({}) is a shared secret", key.id(), key.name());
        }
    }
}
