//! `fingerpost key new`: a key of fresh randomness.

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_signatures::{Key, KeyId, KeyName, SECRET_BYTES, SigningKey, UnixTime};

use super::ring::{RingArgs, find, refused};
use crate::exit::{Exit, failure};
use crate::out::Out;

/// Make a key, and the key ring if there is none. It is active at once, and
/// what is signed with this ring is signed with the newest active key.
///
/// Readers must have a key before anything is signed with it: in a ring that is in
/// use, make it in a copy, give readers what `key export-public` writes of the copy,
/// and then put the copy in the place of the ring.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    ring: RingArgs,
    /// What people call it: up to 64 letters, digits and ._@+-
    #[arg(long)]
    name: KeyName,
    /// How it signs. With ed25519 readers need a public key only; who verifies with
    /// hmac-sha256 can also sign.
    #[arg(long, value_enum, default_value_t = Algorithm::Ed25519)]
    algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Algorithm {
    Ed25519,
    HmacSha256,
}

/// Makes a key.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut ring = args.ring.load_or_new()?;
    if let Some(other) = ring.find(args.name.as_str()) {
        let why = format!(
            "the ring has {} already: choose another --name",
            other.name()
        );
        return Err(failure(Exit::Usage, why));
    }
    let secret = zeroize::Zeroizing::new(random::<SECRET_BYTES>()?);
    let key = match args.algorithm {
        Algorithm::Ed25519 => SigningKey::ed25519(&secret),
        Algorithm::HmacSha256 => SigningKey::hmac_sha256(KeyId::from_bytes(random()?), &secret),
    };
    let created = UnixTime::of(SystemClock.now());
    let id = key.id();
    ring.add(Key::signing(args.name.clone(), created, key))
        .map_err(refused)?;
    args.ring.save(&ring)?;
    let key = find(&ring, &id.to_string())?;
    args.ring.print(&mut Out::default(), &ring, key)?;
    Ok(Exit::Ok)
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system has no randomness: {error}"))?;
    Ok(bytes)
}
