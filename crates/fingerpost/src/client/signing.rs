//! Whom the client believes, and what it signs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use fingerpost_signatures::{KeyRing, Policy, SigningKey, Trust};
use serde_json::Value;

use crate::key::{find_key, load_ring};

/// Signatures: an extension, which other servers do not have.
#[derive(Debug, clap::Args)]
pub(super) struct SigningArgs {
    /// Signatures of answers: off, prefer (what is signed must verify) or require.
    /// What is refused is a miss.
    #[arg(long, value_name = "POLICY", default_value_t = Policy::Off)]
    policy: Policy,
    /// Key ring of those whose signatures are believed.
    #[arg(long, value_name = "FILE")]
    ring: Option<PathBuf>,
    /// Sign what is reported, with the newest active key of this key ring.
    #[arg(long, value_name = "RING")]
    sign_with: Option<PathBuf>,
    /// Id or name of the key to sign with instead.
    #[arg(long, value_name = "KEY", requires = "sign_with")]
    sign_key: Option<String>,
    /// Namespace that is asked; more of them are those that it falls back to. Rows of
    /// others are not believed. Default: `default`.
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
}

/// What somebody was told came to, by the words of docs/signatures.md.
pub(super) type Counts = BTreeMap<String, u64>;

impl SigningArgs {
    /// Reads the rings. `None` if signatures are of no concern.
    pub(super) fn load(&self) -> anyhow::Result<Option<Trust>> {
        if self.policy == Policy::Off && self.sign_with.is_none() {
            return Ok(None);
        }
        let signers = self.sign_with.as_deref().map(load_ring).transpose()?;
        let signer = match &signers {
            Some(ring) => Some(self.signer(ring)?),
            None => None,
        };
        let ring = match (&self.ring, signers) {
            (Some(file), _) => load_ring(file)?,
            // Who signs believes their own keys at least.
            (None, Some(own)) => own,
            (None, None) => anyhow::bail!("--policy {} needs --ring", self.policy),
        };
        let namespaces = self.namespaces.clone();
        Ok(Some(Trust::new(self.policy, ring, signer, namespaces)))
    }

    fn signer(&self, ring: &KeyRing) -> anyhow::Result<SigningKey> {
        let key = match &self.sign_key {
            Some(key) => ring.signing_key_of(find_key(ring, key)?.id()),
            None => ring.signing_key(),
        };
        key.cloned()
            .context("the ring has no active key with its secret to sign with")
    }
}

/// One more of what a word stands for.
pub(super) fn count(counts: &mut Counts, word: &str) {
    *counts.entry(word.to_owned()).or_default() += 1;
}

/// Counts as JSON.
pub(super) fn to_json(counts: &Counts) -> Value {
    counts
        .iter()
        .map(|(word, count)| (word.clone(), Value::from(*count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Counts in words, for people.
pub(super) fn to_text(counts: &Counts) -> String {
    let pairs: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{word} {count}"))
        .collect();
    pairs.join(", ")
}
