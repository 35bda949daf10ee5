//! `fingerpost cache drop`: answers out of the stores.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use fingerpost_content::Removal;
use fingerpost_core::{Cacher, CacherError, EntryName};

use super::name::Beginning;
use super::tiers::{OrExitOf as _, Tiers, Which, block_on};
use crate::exit::{Exit, failure};

/// Entries that are asked for at once.
const PAGE: usize = 10_000;

/// Drop answers from disk, Valkey and object storage; they are made again when
/// they are asked for. Running servers keep what is in their memory, which is right: an
/// answer never changes.
///
/// Exit status 1 if one of the names is nowhere or stays, 69 if a store does not answer.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Names, or beginnings of at least 8 digits of names on disk.
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<Beginning>,
    /// Everything on disk and in Valkey, also what other servers have put there.
    /// Objects stay: what empties a bucket is there already.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Also what clients are redirected to: objects that they fetch, and entries on
    /// disk that are pinned because a URL to them is out. Running servers go on
    /// handing out URLs for up to `redirect.presence_minutes`, and stock clients
    /// that get one abort.
    #[arg(long)]
    also_redirected: bool,
    /// Do not ask whether that is meant.
    #[arg(long, requires = "all")]
    yes: bool,
}

/// Drops.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let tiers = Tiers::open(&args.which)?;
        if !args.all {
            return drop_some(&tiers, &args.names, args.also_redirected).await;
        }
        if !args.yes && !confirmed(&question(&tiers))? {
            return Ok(Exit::Found);
        }
        drop_all(&tiers, args.also_redirected).await
    })
}

async fn drop_some(
    tiers: &Tiers,
    beginnings: &[Beginning],
    also_redirected: bool,
) -> anyhow::Result<Exit> {
    // All are found before the first one goes: a mistyped one changes nothing.
    let mut names = Vec::with_capacity(beginnings.len());
    for beginning in beginnings {
        names.push(beginning.resolve(tiers).await?);
    }
    let (mut exit, mut unreachable) = (Exit::Ok, None);
    for name in &names {
        let (mut from, mut kept) = (Vec::new(), false);
        for tier in tiers.all() {
            let removal = remove(tiers, tier, name, also_redirected).await;
            match removal.or_exit_of(tier.name()) {
                Ok(Removal::Removed) => from.push(tier.name()),
                Ok(Removal::Absent) => {}
                Ok(Removal::Pinned) => {
                    kept = true;
                    let (name, tier) = (name.to_hex(), tier.name());
                    eprintln!("{name}: kept in {tier}: clients are redirected to it");
                }
                // The others can do their part.
                Err(error) => unreachable = Some(error),
            }
        }
        let name = name.to_hex();
        if !from.is_empty() {
            println!("{name}: dropped from {}", from.join(" and "));
        } else if !kept {
            eprintln!("{name}: not there");
        }
        if kept || from.is_empty() {
            exit = Exit::Found;
        }
    }
    tell_what_stays();
    unreachable.map_or(Ok(exit), Err)
}

/// Removes an entry from one store, unless clients are redirected to it there.
async fn remove(
    tiers: &Tiers,
    tier: &dyn Cacher,
    name: &EntryName,
    also_redirected: bool,
) -> Result<Removal, CacherError> {
    if !also_redirected {
        if tiers.is_for_clients(tier) {
            let found = tier.look_up(name).await?;
            return Ok(found.map_or(Removal::Absent, |_| Removal::Pinned));
        }
        if let Ok(disk) = tiers.disk()
            && disk.store().name() == tier.name()
        {
            return disk.remove_unpinned(name).await;
        }
    }
    Ok(match tier.remove(name).await? {
        true => Removal::Removed,
        false => Removal::Absent,
    })
}

async fn drop_all(tiers: &Tiers, also_redirected: bool) -> anyhow::Result<Exit> {
    if let Some((directory, disk)) = &tiers.disk {
        let (mut after, mut dropped, mut kept) = (None, 0_u64, 0_u64);
        let store = disk.store();
        loop {
            let page = disk.list(after, PAGE).await.or_exit_of("disk")?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.name);
            for found in &page {
                match remove(tiers, &*store, &found.name, also_redirected).await {
                    Ok(Removal::Removed) => dropped += 1,
                    Ok(Removal::Pinned) => kept += 1,
                    Ok(Removal::Absent) => {}
                    Err(error) => return Err(error).or_exit_of("disk"),
                }
            }
        }
        println!("disk: dropped {dropped} entries of {}", directory.display());
        if kept > 0 {
            eprintln!("disk: kept {kept} entries that clients are redirected to");
        }
    }
    if let Some(valkey) = &tiers.valkey {
        let dropped = valkey.remove_all().await.or_exit_of(valkey.name())?;
        println!("{}: dropped {dropped} entries", valkey.name());
    }
    tell_what_stays();
    Ok(Exit::Ok)
}

fn tell_what_stays() {
    eprintln!(
        "Running servers keep what is in their memory. It is right: an answer never changes."
    );
}

fn question(tiers: &Tiers) -> String {
    let disk = tiers.disk.as_ref();
    let disk = disk.map(|(directory, _)| format!("below {}", directory.display()));
    let valkey = tiers.valkey.as_ref();
    let valkey = valkey.map(|_| "in Valkey, for all servers that share it".to_owned());
    let places: Vec<_> = disk.into_iter().chain(valkey).collect();
    format!("Drop all answers {}?", places.join(" and "))
}

fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        let why = format!("{question} Say so with --yes.");
        return Err(failure(Exit::Usage, why));
    }
    let answer = || -> Result<String, CacherError> {
        eprint!("{question} [y/N] ");
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(line)
    };
    let answer = answer().or_exit_of("standard input")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
