//! `fingerpost key show`: one key.

use super::ring::{RingArgs, find, in_json};
use crate::exit::Exit;
use crate::out::Out;

/// Show one key, with its public key and without its secret.
///
/// Exit status 1 if there is no such key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    ring: RingArgs,
    /// Its id or its name.
    key: String,
}

/// Shows.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let ring = args.ring.load()?;
    let key = find(&ring, &args.key)?;
    let mut out = Out::default();
    if args.ring.json() {
        args.ring.print(&mut out, &ring, key)?;
        return Ok(Exit::Ok);
    }
    let facts = in_json(&ring, key);
    for name in ["id", "name", "algorithm", "state", "created", "public"] {
        if let Some(text) = facts[name].as_str() {
            out.line(&format!("{name:10} {text}"))?;
        }
    }
    for name in ["has_secret", "signs"] {
        let word = if facts[name] == true { "yes" } else { "no" };
        out.line(&format!("{:10} {word}", name.replace('_', " ")))?;
    }
    Ok(Exit::Ok)
}
