//! `fingerpost key revoke`: nothing that a key signed is believed any more.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use fingerpost_hashequiv::signing::{Revocation, revocation, revocation_in_file};
use fingerpost_signatures::{Key, KeyId, KeyRing, State};

use super::ring::{RingArgs, find, refused};
use super::signing::explain;
use crate::backup::{WhichDatabase, open_existing};
use crate::config::Loaded;
use crate::exit::{Exit, failure};
use crate::out::Out;
use crate::serve::close_database;

/// Believe nothing that a key signed, whatever time its signatures claim. Its secret
/// is removed from the ring; it cannot be undone. Rows that only this key signed
/// become misses for readers that require signatures, once their ring says so.
///
/// Exit status 1 if there is no such key, or if the answer to the question is no.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    ring: RingArgs,
    /// Its id or its name.
    key: String,
    #[command(flatten)]
    which: WhichDatabase,
    /// Do not ask whether that is meant.
    #[arg(long)]
    yes: bool,
}

/// Revokes.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut ring = args.ring.load()?;
    let key = find(&ring, &args.key)?;
    let id = key.id();
    tell_misses(args, &ring, id)?;
    if !args.yes && !confirmed(key)? {
        return Ok(Exit::Found);
    }
    ring.set_state(id, State::Revoked).map_err(refused)?;
    args.ring.save(&ring)?;
    args.ring
        .print(&mut Out::default(), &ring, find(&ring, &args.key)?)?;
    eprintln!("Give readers the ring anew: each believes what its own ring says.");
    Ok(Exit::Ok)
}

/// Says how many rows become misses. What is wrong with a database that the caller
/// did not name stops no revocation: the key may be a stolen one.
fn tell_misses(args: &Args, ring: &KeyRing, id: KeyId) -> anyhow::Result<()> {
    match misses(args, ring, id) {
        Ok(told) => eprintln!("{told}"),
        Err(error) if args.which.is_named() => return Err(error),
        Err(error) => eprintln!(
            "The rows that become misses were not counted, --database FILE says where: {error:#}"
        ),
    }
    Ok(())
}

fn misses(args: &Args, ring: &KeyRing, id: KeyId) -> anyhow::Result<String> {
    let loaded = args.which.load()?;
    let others = ring.keys().iter();
    let others = others.filter(|key| key.state() != State::Revoked && key.id() != id);
    let others: Vec<KeyId> = others.map(Key::id).collect();
    let (place, counted) = count(&loaded, id, &others)?;
    Ok(format!(
        "{place}: {} rows are signed by this key, {} of them by no other believed key of the ring: \
         these become misses",
        counted.signed, counted.misses
    ))
}

/// Which database it is, without a login, and what is in it.
fn count(loaded: &Loaded, id: KeyId, others: &[KeyId]) -> anyhow::Result<(String, Revocation)> {
    let postgresql = loaded.config.postgresql_primary();
    let postgresql = postgresql.map_err(|error| failure(Exit::Configuration, error))?;
    let Some(settings) = postgresql else {
        let path = loaded.database_path();
        let counted = revocation_in_file(&path, id, others).map_err(explain)?;
        return Ok((path.display().to_string(), counted));
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let counted = runtime.block_on(async {
        let database = open_existing(loaded).await?;
        let counted = revocation(&database, id, others).await;
        close_database(database).await;
        counted.map_err(explain)
    });
    Ok((settings.target(), counted?))
}

fn confirmed(key: &Key) -> anyhow::Result<bool> {
    let question = format!("Revoke {} ({}) for good?", key.id(), key.name());
    if !io::stdin().is_terminal() {
        let why = format!("{question} Say so with --yes.");
        return Err(failure(Exit::Usage, why));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
