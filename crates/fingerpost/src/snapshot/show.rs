//! `fingerpost snapshot show`: a manifest, or one row.

use std::path::PathBuf;

use anyhow::Context as _;
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};
use fingerpost_snapshot::{Digest, Manifest};
use serde_json::json;

use super::{in_words, open};
use crate::exit::{Exit, failure};
use crate::out::Out;

/// Show what a snapshot is of, its methods and how many rows and shards they have. With `--method` and
/// `--taskhash`, look that row up. Nothing is verified but the shard that is asked.
///
/// Exit status 1 if there is no such row.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The snapshot.
    directory: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The method of a row.
    #[arg(long, requires = "taskhash")]
    method: Option<String>,
    /// The taskhash of a row.
    #[arg(long, requires = "method")]
    taskhash: Option<String>,
}

/// Shows.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    match (&args.method, &args.taskhash) {
        (Some(method), Some(taskhash)) => show_row(args, method, taskhash),
        _ => show_manifest(args),
    }
}

fn show_manifest(args: &Args) -> anyhow::Result<Exit> {
    let snapshot = open(&args.directory, None)?;
    let manifest = snapshot.manifest();
    let mut out = Out::default();
    if args.json {
        out.bytes(&manifest.to_bytes())?;
        return Ok(Exit::Ok);
    }
    for (name, value) in facts(manifest) {
        out.line(&format!("{name:10} {value}"))?;
    }
    for method in &manifest.methods {
        let (rows, shards, name) = (method.rows, method.shards.len(), &method.name);
        out.line(&format!("{rows:>10} rows in {shards:>4} shards  {name:?}"))?;
    }
    Ok(Exit::Ok)
}

fn facts(manifest: &Manifest) -> [(&'static str, String); 8] {
    let sides = manifest
        .shards()
        .filter_map(|(_, shard)| shard.signatures.as_ref());
    let side_bytes: u64 = sides.map(|side| side.bytes).sum();
    let bytes: u64 = manifest.shards().map(|(_, shard)| shard.bytes).sum();
    [
        // Quoted, so that a name cannot draw on the terminal.
        ("namespace", format!("{:?}", manifest.namespace)),
        ("epoch", manifest.epoch.to_string()),
        ("position", manifest.position.to_string()),
        ("created", manifest.created.to_string()),
        ("rows", manifest.rows().to_string()),
        ("left out", manifest.left_out.to_string()),
        ("bytes", bytes.to_string()),
        ("signatures", format!("{side_bytes} bytes")),
    ]
}

fn show_row(args: &Args, method: &str, taskhash: &str) -> anyhow::Result<Exit> {
    let hash = Taskhash::parse(taskhash);
    let bytes = hash.as_bytes().context("not 64 lower-case hex digits");
    let bytes = bytes.map_err(|error| failure(Exit::Usage, format!("--taskhash: {error}")))?;
    let snapshot = open(&args.directory, None)?;
    let failed = |error| in_words(&args.directory, error);
    let Some(unihash) = snapshot.lookup(method, bytes).map_err(failed)? else {
        return Ok(Exit::Found);
    };
    let unihash = Unihash::from_bytes(unihash);
    let mut out = Out::default();
    if !args.json {
        out.line(&unihash.to_string())?;
        return Ok(Exit::Ok);
    }
    let signed = snapshot.signature(method, bytes).map_err(failed)?;
    let row = json!({
        "method": method,
        "taskhash": taskhash,
        "unihash": unihash,
        "outhash": signed.as_ref().map(|signed| Digest::from_bytes(signed.outhash).to_string()),
        "signature": signed.map(|signed| signed.signature),
    });
    out.line(&row.to_string())?;
    Ok(Exit::Ok)
}
