//! `fingerpost key sign-existing` and `resign`: signatures of rows that are in a
//! database already.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv::Database;
use fingerpost_hashequiv::signing::{Place, SigningError, Step, Walk, Which};
use fingerpost_signatures::{KeyId, KeyRing, Row, Signature, SigningKey, State, UnixTime};

use super::ring::{find, load};
use crate::backup::{WhichDatabase, open_existing};
use crate::exit::{Exit, failure};
use crate::moving::exit_of_opening;
use crate::progress::Progress;
use crate::serve::close_database;
use crate::signals::StopSignals;

/// Sign the rows of a database that the key has not signed: imported ones, or those
/// that were reported before there were signatures. Who signs vouches for all of them.
///
/// Servers may run on the database. Run it again when it was stopped: what is signed
/// is passed over. Unihashes that are not 64 lower-case hex digits are left out.
#[derive(Debug, clap::Args)]
pub(super) struct ExistingArgs {
    /// The key ring file with the secret of the key.
    #[arg(long, value_name = "FILE")]
    ring: PathBuf,
    /// Id or name of the key instead of the newest active one.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    part: Part,
}

/// Sign with another key what a key signed, as far as its signatures verify. The old
/// signatures stay until a row has more than four.
///
/// Servers may run on the database. Run it again when it was stopped: what is signed
/// is passed over. Exit status 1 if a signature did not verify.
#[derive(Debug, clap::Args)]
pub(super) struct ResignArgs {
    /// The key ring file with both keys, and the secret of the one that signs.
    #[arg(long, value_name = "FILE")]
    ring: PathBuf,
    /// Id or name of the key that signed, which must not be revoked.
    #[arg(long, value_name = "KEY")]
    from: String,
    /// Id or name of the key that signs.
    #[arg(long, value_name = "KEY")]
    to: String,
    #[command(flatten)]
    part: Part,
}

/// The rows that are gone through.
#[derive(Debug, clap::Args)]
struct Part {
    #[command(flatten)]
    which: WhichDatabase,
    /// Only rows of this namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Only rows after this place, which a run that was stopped told: it saves looking
    /// at what is signed already.
    #[arg(long, value_name = "NAMESPACE:NUMBER")]
    after: Option<Place>,
}

/// Signs what is there.
pub(super) fn sign_existing(args: &ExistingArgs) -> anyhow::Result<Exit> {
    let ring = load(&args.ring)?;
    let key = match &args.key {
        Some(key) => ring.signing_key_of(find(&ring, key)?.id()),
        None => ring.signing_key(),
    };
    let key = key.ok_or_else(no_signer)?;
    let which = Which::Existing { key: key.id() };
    let (done, exit) = walk(&args.part, which, |row, _| Some(sign(key, row)))?;
    println!("Signed {} rows with {}", done.signed, key.id());
    Ok(exit)
}

/// Signs anew.
pub(super) fn resign(args: &ResignArgs) -> anyhow::Result<Exit> {
    let ring = load(&args.ring)?;
    let from = find(&ring, &args.from)?;
    if from.state() == State::Revoked {
        let why = format!(
            "{}: nothing that a revoked key signed is believed",
            from.id()
        );
        return Err(failure(Exit::Usage, why));
    }
    let to = ring.signing_key_of(find(&ring, &args.to)?.id());
    let (from, to) = (from.id(), to.ok_or_else(no_signer)?);
    let which = Which::SignedBy { from, to: to.id() };
    let (done, exit) = walk(&args.part, which, |row, signature| {
        verifies(&ring, from, row, signature?).then(|| sign(to, row))
    })?;
    println!("Signed {} rows with {}", done.signed, to.id());
    if done.left_out == 0 {
        return Ok(exit);
    }
    eprintln!(
        "Left {} rows out, whose signatures do not verify",
        done.left_out
    );
    Ok(Exit::Found)
}

fn verifies(ring: &KeyRing, from: KeyId, row: &Row, signature: &str) -> bool {
    ring.verify(row, signature) == Ok(from)
}

fn sign(key: &SigningKey, row: &Row) -> Signature {
    key.sign(row, UnixTime::of(SystemClock.now()))
}

/// Goes through the rows until the end or a stop signal; what was done, and how it ended.
fn walk(
    part: &Part,
    which: Which,
    sign: impl FnMut(&Row, Option<&str>) -> Option<Signature>,
) -> anyhow::Result<(Step, Exit)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut signals = StopSignals::catch().context("cannot catch signals")?;
        let database = open_existing(&part.which.load()?).await?;
        let walked = walk_through(&database, part, which, sign, &mut signals).await;
        close_database(database).await;
        walked
    })
}

async fn walk_through(
    database: &Database,
    part: &Part,
    which: Which,
    mut sign: impl FnMut(&Row, Option<&str>) -> Option<Signature>,
    signals: &mut StopSignals,
) -> anyhow::Result<(Step, Exit)> {
    let (database, namespace) = (database.clone(), part.namespace.as_deref());
    let walk = Walk::begin(database, which, namespace, Arc::new(SystemClock)).await;
    let mut walk = walk.map_err(explain)?;
    if let Some(place) = &part.after {
        walk.go_on_after(place).map_err(explain)?;
    }
    let progress = Progress::new("Signing rows", "rows", Some(walk.progress().1));
    let mut sum = Step::default();
    let ended = loop {
        let step = tokio::select! {
            step = walk.step(&mut sign) => step,
            _ = signals.next() => break Ok(Exit::Found),
        };
        match step {
            Ok(Some(step)) => {
                sum.signed += step.signed;
                sum.left_out += step.left_out;
            }
            Ok(None) => break Ok(Exit::Ok),
            Err(error) => break Err(explain(error)),
        }
        let (done, total) = walk.progress();
        progress.set(done, total);
    };
    progress.finish();
    if let Some(place) = walk.place() {
        eprintln!("Stopped; run the same again to go on, with --after {place} from where it was.");
    }
    Ok((sum, ended?))
}

fn no_signer() -> anyhow::Error {
    failure(
        Exit::Found,
        "the ring has no such active key with its secret",
    )
}

/// Gives an error its exit code.
pub(super) fn explain(error: SigningError) -> anyhow::Error {
    let exit = match &error {
        SigningError::Open(error) => exit_of_opening(error),
        SigningError::Store(_) => Exit::Io,
        SigningError::NoNamespace(_) => Exit::Usage,
    };
    failure(exit, format!("{:#}", anyhow::Error::new(error)))
}
