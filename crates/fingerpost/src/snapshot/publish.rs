//! `fingerpost snapshot publish`: a publisher vouches for a snapshot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use fingerpost_signatures::{KeyRing, Policy, Row, SigningKey, UnixTime, judge};
use fingerpost_snapshot::{About, Manifest, Snapshot, VerifiedRow, WriteError, Writer, publish};

use super::verify::about;
use super::{in_words, open};
use crate::exit::{Exit, failure};
use crate::key::{find_key, load_ring};
use crate::out::Out;

/// Verify a snapshot and sign its manifest. The signature goes to `manifest.sig` in the snapshot, in the place of
/// one that is there. It needs no server: let the key be where only publishing is done.
///
/// With `--policy prefer` or `require`, the signatures of rows are judged first, with the keys in `--ring`:
/// those who read snapshots of this publisher rely on it. A row that is a miss keeps a snapshot from being signed,
/// or is left out with `--into`.
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
    /// Write the rows that are hits to a new snapshot in this directory, which must not be there, and sign that one.
    #[arg(long, value_name = "DIRECTORY")]
    into: Option<PathBuf>,
}

/// Publishes.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let publisher = load_ring(&args.key)?;
    let key = signing_key(args, &publisher)?;
    let ring = args.ring.as_deref().map(load_ring).transpose()?;
    let snapshot = open(&args.directory, None)?;
    let mut judge = Judge {
        policy: args.policy,
        ring: ring.unwrap_or_default(),
        namespace: &snapshot.manifest().namespace,
        verdicts: BTreeMap::new(),
        misses: 0,
    };
    let (directory, manifest) = match &args.into {
        None => (&args.directory, judge_all(args, &snapshot, &mut judge)?),
        Some(into) => (into, write_hits(args, &snapshot, &mut judge, into)?),
    };
    let time = UnixTime::of(SystemClock.now());
    publish(directory, &manifest, key, time).map_err(|error| in_words(directory, error))?;
    let (manifest, rows, by) = (about(&manifest), manifest.rows(), key.id());
    Out::default().line(&format!("{manifest}: {rows} rows, signed by {by}"))?;
    Ok(Exit::Ok)
}

/// Judges rows, and counts.
struct Judge<'a> {
    policy: Policy,
    ring: KeyRing,
    namespace: &'a str,
    /// Rows by what was made of them.
    verdicts: BTreeMap<&'static str, u64>,
    misses: u64,
}

impl Judge<'_> {
    fn is_hit(&mut self, row: VerifiedRow<'_>) -> bool {
        if self.policy == Policy::Off {
            return true;
        }
        let signature = row.signed.map(|signed| signed.signature.as_str());
        let signed = signed_row(self.namespace, row);
        let verdict = judge(self.policy, &self.ring, &signed, signature);
        self.misses += u64::from(!verdict.is_hit());
        *self.verdicts.entry(verdict.as_str()).or_default() += 1;
        verdict.is_hit()
    }

    fn tell(&self) {
        for (word, rows) in &self.verdicts {
            eprintln!("{word}: {rows} rows");
        }
    }
}

/// Verifies and judges everything; a miss is a failure.
fn judge_all(args: &Args, snapshot: &Snapshot, judge: &mut Judge<'_>) -> anyhow::Result<Manifest> {
    let verified = snapshot.verify_all(|row| {
        judge.is_hit(row);
    });
    verified.map_err(|error| in_words(&args.directory, error))?;
    judge.tell();
    if judge.misses > 0 {
        let (misses, policy) = (judge.misses, judge.policy);
        let why = format!(
            "{misses} rows are misses under {policy}: nothing is signed; --into leaves them out"
        );
        return Err(failure(Exit::Found, why));
    }
    Ok(snapshot.manifest().clone())
}

/// Verifies and judges everything, and writes the hits to a new snapshot.
fn write_hits(
    args: &Args,
    snapshot: &Snapshot,
    judge: &mut Judge<'_>,
    into: &Path,
) -> anyhow::Result<Manifest> {
    let manifest = snapshot.manifest();
    let of_it = About {
        namespace: manifest.namespace.clone(),
        epoch: manifest.epoch,
        position: manifest.position,
        created: manifest.created,
    };
    let mut writer = Writer::create(into, of_it).map_err(cannot_write)?;
    let mut pushed = Ok(());
    let verified = snapshot.verify_all(|row| {
        if judge.is_hit(row) && pushed.is_ok() {
            pushed = writer.push(row.method, row.taskhash, row.unihash, row.signed.cloned());
        }
    });
    verified.map_err(|error| in_words(&args.directory, error))?;
    pushed.map_err(cannot_write)?;
    judge.tell();
    writer.leave_out(manifest.left_out.saturating_add(judge.misses));
    writer.finish(|| true).map_err(cannot_write)
}

fn cannot_write(error: WriteError) -> anyhow::Error {
    match error {
        WriteError::Exists(_) => failure(Exit::Usage, error),
        _ => anyhow::Error::new(error).context("cannot write the snapshot"),
    }
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
