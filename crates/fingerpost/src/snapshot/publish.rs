//! `fingerpost snapshot publish`: a publisher vouches for a snapshot.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use fingerpost_signatures::{KeyRing, Policy, Row, SigningKey, UnixTime, judge};
use fingerpost_snapshot::{VerifiedRow, publish};

use super::verify::line;
use super::{in_words, open};
use crate::exit::{Exit, failure};
use crate::key::{find_key, load_ring};
use crate::out::Out;

/// Verify a snapshot and sign its manifest. The signature goes to `manifest.sig` in the snapshot, in the place of
/// one that is there. It needs no server: let the key be where only publishing is done.
///
/// With `--policy prefer` or `require`, the signatures of rows are judged first, with the keys in `--ring`:
/// those who read snapshots of this publisher rely on it.
///
/// Exit status 1 if a row is a miss by the policy, and nothing is signed; 65 if a file is damaged.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The snapshot.
    directory: PathBuf,
    /// The key ring with the publisher's secret key.
    #[arg(long, value_name = "KEYRING")]
    key: PathBuf,
    /// Id or name of the key, instead of the newest active one.
    #[arg(long)]
    key_id: Option<String>,
    /// What is asked of the signatures of rows: off, prefer or require.
    #[arg(long, default_value_t = Policy::Off, requires_if("prefer", "ring"), requires_if("require", "ring"))]
    policy: Policy,
    /// The key ring that the signatures of rows are judged with.
    #[arg(long, value_name = "KEYRING")]
    ring: Option<PathBuf>,
}

/// Publishes.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let publisher = load_ring(&args.key)?;
    let key = signing_key(args, &publisher)?;
    let ring = args.ring.as_deref().map(load_ring).transpose()?;
    let ring = ring.unwrap_or_default();
    let snapshot = open(&args.directory, None)?;
    let namespace = &snapshot.manifest().namespace;
    let mut verdicts = BTreeMap::<_, u64>::new();
    let mut misses = 0;
    let summary = snapshot.verify_all(|row| {
        if args.policy == Policy::Off {
            return;
        }
        let signature = row.signed.map(|signed| signed.signature.as_str());
        let verdict = judge(args.policy, &ring, &signed_row(namespace, row), signature);
        misses += u64::from(!verdict.is_hit());
        *verdicts.entry(verdict.as_str()).or_default() += 1;
    });
    let summary = summary.map_err(|error| in_words(&args.directory, error))?;
    for (word, rows) in &verdicts {
        eprintln!("{word}: {rows} rows");
    }
    if misses > 0 {
        let why = format!("{misses} rows are misses under {}; not signed", args.policy);
        return Err(failure(Exit::Found, why));
    }
    let time = UnixTime::of(SystemClock.now());
    let manifest = snapshot.manifest();
    publish(&args.directory, manifest, key, time)
        .map_err(|error| in_words(&args.directory, error))?;
    let mut out = Out::default();
    out.line(&format!(
        "{}; signed by {}",
        line(manifest, &summary),
        key.id()
    ))?;
    Ok(Exit::Ok)
}

fn signing_key<'a>(args: &Args, ring: &'a KeyRing) -> anyhow::Result<&'a SigningKey> {
    let missing = |which: &str| {
        let why = format!("{}: {which}", args.key.display());
        failure(Exit::Found, why)
    };
    let Some(name) = &args.key_id else {
        let key = ring.signing_key();
        return key.ok_or_else(|| missing("no active key with its secret"));
    };
    let id = find_key(ring, name)?.id();
    let key = ring.signing_key_of(id);
    key.ok_or_else(|| missing(&format!("{name} is not active, or its secret is not here")))
}

/// The row as it was signed. Without a signature its outhash is unknown, and nobody asks for it.
fn signed_row(namespace: &str, row: VerifiedRow<'_>) -> Row {
    let outhash = row.signed.map(|signed| Outhash::from_bytes(signed.outhash));
    Row {
        namespace: namespace.to_owned(),
        method: row.method.into(),
        taskhash: Taskhash::from_bytes(*row.taskhash),
        outhash: outhash.unwrap_or_else(|| Outhash::parse("")),
        unihash: Unihash::from_bytes(*row.unihash),
    }
}
