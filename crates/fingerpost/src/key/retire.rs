//! `fingerpost key retire`: no more signatures of a key.

use fingerpost_signatures::State;

use super::ring::{RingArgs, find, refused};
use crate::exit::Exit;
use crate::out::Out;

/// Sign no more with a key. What it signed stays believed, by everybody who has it
/// as active or retired.
///
/// Exit status 1 if there is no such key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    ring: RingArgs,
    /// Its id or its name.
    key: String,
}

/// Retires.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut ring = args.ring.load()?;
    let id = find(&ring, &args.key)?.id();
    ring.set_state(id, State::Retired).map_err(refused)?;
    args.ring.save(&ring)?;
    args.ring
        .print(&mut Out::default(), &ring, find(&ring, &args.key)?)?;
    if ring.signing_key().is_none() {
        eprintln!("No key of this ring signs any more.");
    }
    Ok(Exit::Ok)
}
