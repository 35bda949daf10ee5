//! `fingerpost key list`: the keys of a ring.

use super::ring::RingArgs;
use crate::exit::Exit;
use crate::out::Out;

/// List the keys of a ring in the order of the file: id, algorithm, state, when it
/// was made, name, and which one signs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    ring: RingArgs,
}

/// Lists.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let ring = args.ring.load()?;
    let mut out = Out::default();
    for key in ring.keys() {
        args.ring.print(&mut out, &ring, key)?;
    }
    Ok(Exit::Ok)
}
