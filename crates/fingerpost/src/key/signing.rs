//! `fingerpost key sign-existing` and `resign`: signatures of rows that are in a
//! database already.

use std::path::PathBuf;

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv::signing::{Rows, SigningError, Step, Which};
use fingerpost_signatures::{KeyId, KeyRing, Row, Signature, SigningKey, State, UnixTime};

use super::ring::{find, load};
use crate::backup::only_file;
use crate::exit::{Exit, failure};
use crate::moving::exit_of_opening;
use crate::progress::Progress;

/// Sign the rows of a database that the key has not signed: imported ones, or those
/// that were reported before there were signatures. Who signs vouches for all of them.
///
/// A server may run on the database. Run it again when it was stopped: what is signed
/// is passed over. Unihashes that are not 64 lower-case hex digits are left out.
#[derive(Debug, clap::Args)]
pub(super) struct ExistingArgs {
    /// The key ring file with the secret of the key.
    #[arg(long, value_name = "FILE")]
    ring: PathBuf,
    /// Id or name of the key instead of the newest active one.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The database.
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    /// Only rows of this namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

/// Sign with another key what a key signed, as far as its signatures verify. The old
/// signatures stay until a row has more than four.
///
/// A server may run on the database. Run it again when it was stopped: what is signed
/// is passed over. Exit status 1 if a signature did not verify.
#[derive(Debug, clap::Args)]
pub(super) struct ResignArgs {
    /// The key ring file with both keys, and the secret of the one that signs.
    #[arg(long, value_name = "FILE")]
    ring: PathBuf,
    /// The database.
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    /// Id or name of the key that signed, which must not be revoked.
    #[arg(long, value_name = "KEY")]
    from: String,
    /// Id or name of the key that signs.
    #[arg(long, value_name = "KEY")]
    to: String,
}

/// Signs what is there.
pub(super) fn sign_existing(args: &ExistingArgs) -> anyhow::Result<Exit> {
    let ring = load(&args.ring)?;
    let key = match &args.key {
        Some(key) => ring.signing_key_of(find(&ring, key)?.id()),
        None => ring.signing_key(),
    };
    let key = key.ok_or_else(no_signer)?;
    let which = Which::Existing {
        key: key.id(),
        namespace: args.namespace.clone(),
    };
    only_file(&args.database)?;
    let rows = Rows::open(&args.database, which).map_err(explain)?;
    if let Some(name) = &args.namespace
        && !rows.has_namespace(name).map_err(explain)?
    {
        return Err(failure(
            Exit::Usage,
            format!("there is no namespace {name}"),
        ));
    }
    let done = walk(rows, |row, _| Some(sign(key, row)))?;
    println!("Signed {} rows with {}", done.signed, key.id());
    Ok(Exit::Ok)
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
    only_file(&args.database)?;
    let rows = Rows::open(&args.database, which).map_err(explain)?;
    let done = walk(rows, |row, signature| {
        verifies(&ring, from, row, signature?).then(|| sign(to, row))
    })?;
    println!("Signed {} rows with {}", done.signed, to.id());
    if done.left_out == 0 {
        return Ok(Exit::Ok);
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

/// Goes through all rows, and says how far it is.
fn walk(
    mut rows: Rows,
    mut sign: impl FnMut(&Row, Option<&str>) -> Option<Signature>,
) -> anyhow::Result<Step> {
    let total = u64::try_from(rows.last().map_err(explain)?).unwrap_or(0);
    let progress = Progress::new("Signing rows", "rows", Some(total));
    let mut sum = Step::default();
    let mut after = Some(0);
    while let Some(start) = after {
        let step = rows.step(start, &mut sign).map_err(explain)?;
        sum.signed += step.signed;
        sum.left_out += step.left_out;
        after = step.next;
        let done = after.and_then(|row| u64::try_from(row).ok());
        progress.set(done.unwrap_or(total), total);
    }
    progress.finish();
    Ok(sum)
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
        SigningError::Database(_) => Exit::Io,
    };
    failure(exit, format!("{:#}", anyhow::Error::new(error)))
}
