//! `fingerpost bench snapshot`: making a snapshot, and looking up in it.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_signatures::UnixTime;
use fingerpost_snapshot::{About, Hash, Manifest, Residence, Signed, Snapshot, Writer};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use super::server::CpuTimes;
use crate::exit::Exit;

/// Measures making a snapshot of random rows that come in no order, verifying it, and
/// looking up in it. Times are of this process, on one thread.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// Directory that will be the snapshot, and must not be there.
    directory: PathBuf,
    /// Rows of one method.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// The share of rows whose unihash is their taskhash.
    #[arg(long, default_value_t = 0.8)]
    equal: f64,
    /// The share of rows that have a signature.
    #[arg(long, default_value_t = 0.0)]
    signed: f64,
    /// Look-ups of taskhashes that are there, and as many of others.
    #[arg(long, default_value_t = 200_000)]
    lookups: u64,
    /// Seed of the rows.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    rows: u64,
    shards: usize,
    write_seconds: f64,
    write_cpu_seconds: f64,
    write_peak_mib: u64,
    bytes_per_row: f64,
    signature_bytes_per_row: f64,
    verify_seconds: f64,
    lookups_per_second_in_files: f64,
    lookups_per_second_in_memory: f64,
}

const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

/// Every how many rows one is kept to be looked up.
const KEPT: u64 = 64;

/// Writes, verifies and looks up.
pub(super) fn run(args: &SnapshotArgs) -> anyhow::Result<Exit> {
    ensure!(
        (0.0..=1.0).contains(&args.equal) && (0.0..=1.0).contains(&args.signed),
        "--equal and --signed are shares, 0 to 1"
    );
    let own = std::process::id();
    let (began, cpu) = (Instant::now(), CpuTimes::read(own)?);
    let (manifest, kept) = write(args)?;
    let write_seconds = seconds(began);
    let write_cpu_seconds = CpuTimes::read(own)?.since(&cpu).as_secs_f64();
    let write_peak_mib = peak_mib()?;
    let began = Instant::now();
    let open = |residence| Snapshot::open(&args.directory, residence, None);
    let summary = open(Residence::File)?.verify_all(|_| ())?;
    let verify_seconds = seconds(began);
    let rows = summary.rows.max(1) as f64;
    let measured = Measured {
        rows: summary.rows,
        shards: manifest.shards().count(),
        write_seconds,
        write_cpu_seconds,
        write_peak_mib,
        bytes_per_row: (summary.bytes + manifest.to_bytes().len() as u64) as f64 / rows,
        signature_bytes_per_row: summary.side_bytes as f64 / rows,
        verify_seconds,
        lookups_per_second_in_files: look_up(args, &open(Residence::File)?, &kept)?,
        lookups_per_second_in_memory: look_up(args, &open(Residence::Memory)?, &kept)?,
    };
    let text = serde_json::to_string(&measured).context("numbers are JSON")?;
    writeln!(std::io::stdout(), "{text}").context("standard output is closed")?;
    Ok(Exit::Ok)
}

/// Writes the snapshot; gives some of its rows.
fn write(args: &SnapshotArgs) -> anyhow::Result<(Manifest, Vec<(Hash, Hash)>)> {
    let mut random = StdRng::seed_from_u64(args.seed);
    let about = About {
        namespace: "main".to_owned(),
        epoch: 0,
        position: args.rows,
        created: UnixTime::of(SystemClock.now()),
    };
    let mut writer = Writer::create(&args.directory, about)?;
    let mut kept = Vec::new();
    for number in 0..args.rows {
        let taskhash: Hash = random.random();
        let unihash = match random.random_bool(args.equal) {
            true => taskhash,
            false => random.random(),
        };
        let signed = random.random_bool(args.signed).then(|| signed(&mut random));
        writer.push(METHOD, &taskhash, &unihash, signed)?;
        if number % KEPT == 0 {
            kept.push((taskhash, unihash));
        }
    }
    Ok((writer.finish(|| true)?, kept))
}

/// As long as a signature of Ed25519, and as random.
fn signed(random: &mut StdRng) -> Signed {
    let mut signature = "ed25519:0123456789abcdef:1795000000:".to_owned();
    signature.extend((0..86).map(|_| char::from(random.random_range(b'a'..=b'z'))));
    Signed {
        outhash: random.random(),
        signature,
    }
}

/// Look-ups a second, in any order, once every shard was asked.
fn look_up(args: &SnapshotArgs, snapshot: &Snapshot, kept: &[(Hash, Hash)]) -> anyhow::Result<f64> {
    for (_, shard) in snapshot.manifest().shards() {
        snapshot.lookup(METHOD, &shard.first)?;
    }
    let mut random = StdRng::seed_from_u64(args.seed);
    let began = Instant::now();
    for _ in 0..args.lookups {
        let number = random.random_range(0..kept.len().max(1));
        let Some((taskhash, unihash)) = kept.get(number) else {
            return Ok(0.0);
        };
        let found = snapshot.lookup(METHOD, taskhash)?;
        ensure!(found.as_ref() == Some(unihash), "a row is not found");
        let mut other = *taskhash;
        other[31] ^= 1;
        ensure!(
            snapshot.lookup(METHOD, &other)?.is_none(),
            "found what is not there"
        );
    }
    Ok((args.lookups * 2) as f64 / seconds(began))
}

fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

/// The most memory that this process had so far.
fn peak_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.context("/proc/self/status has no VmHWM")? >> 10)
}
