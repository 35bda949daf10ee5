//! Whom the client believes, and what it signs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv_proto::client::SignedRow;
use fingerpost_signatures::{
    Answered, Decision, KeyRing, Policy, Proposal, Row, SigningKey, UnixTime, judge_all,
    sign_as_answered,
};
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

/// What the rings say, read anew for each run.
pub(super) struct Trust {
    policy: Policy,
    ring: KeyRing,
    signer: Option<SigningKey>,
    namespaces: Vec<String>,
}

/// What a reporter goes on with.
pub(super) struct Settled {
    /// The unihash of the task from now on.
    pub(super) unihash: String,
    /// What it came to.
    pub(super) word: String,
    /// The row and its signature, to be uploaded.
    pub(super) signed: Option<(Row, String)>,
}

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
        let mut namespaces = self.namespaces.clone();
        if namespaces.is_empty() {
            namespaces.push("default".to_owned());
        }
        Ok(Some(Trust {
            policy: self.policy,
            ring,
            signer,
            namespaces,
        }))
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

impl Trust {
    /// Whether answers are looked at when something is looked up.
    pub(super) fn judges(&self) -> bool {
        self.policy != Policy::Off
    }

    /// Whether an answer is a hit, and the word for it. `asked` are the method, the
    /// taskhash and, if it was asked, the outhash: what the server says of these is not
    /// believed.
    pub(super) fn judge(
        &self,
        (method, taskhash, outhash): (&str, &str, Option<&str>),
        told: &SignedRow,
    ) -> (bool, &'static str) {
        let outhash_fits = match (outhash, &told.outhash) {
            (Some(asked), Some(told)) => told.to_text() == asked,
            (asked, _) => asked.is_none(),
        };
        if !outhash_fits || !self.namespaces.contains(&told.namespace) {
            return (false, OTHER_ROW);
        }
        let row = Row {
            method: method.into(),
            taskhash: taskhash.into(),
            ..row_of(told)
        };
        let verdict = judge_all(self.policy, &self.ring, &row, &told.signatures);
        (verdict.is_hit(), verdict.as_str())
    }

    /// Decides what to go on with, and signs it.
    pub(super) fn settle(
        &self,
        own: [&str; 4],
        answer: &str,
        source: Option<&SignedRow>,
    ) -> Settled {
        let [method, taskhash, outhash, proposed] = own;
        let (own, fallbacks) = self.namespaces.split_first().expect("one is put in");
        let row = Row {
            namespace: own.clone(),
            method: method.into(),
            taskhash: taskhash.into(),
            outhash: outhash.into(),
            unihash: proposed.into(),
        };
        let fallbacks: Vec<&str> = fallbacks.iter().map(String::as_str).collect();
        let proposal = Proposal {
            row: &row,
            fallbacks: &fallbacks,
            policy: self.policy,
            ring: &self.ring,
        };
        let source = source.map(|told| (row_of(told), &*told.signatures));
        let answered = Answered {
            unihash: &answer.into(),
            from: source.as_ref().map(|(row, signatures)| (row, *signatures)),
        };
        match sign_as_answered(&proposal, &answered) {
            Decision::KeepOwn(why) => Settled {
                unihash: proposed.to_owned(),
                word: format!("kept_own_{why}"),
                signed: None,
            },
            Decision::Sign(row, verdict) => Settled {
                unihash: answer.to_owned(),
                word: verdict.map_or("own", |verdict| verdict.as_str()).to_owned(),
                signed: self.signer.as_ref().map(|key| {
                    let signature = key.sign(&row, UnixTime::of(SystemClock.now()));
                    (row, signature.to_string())
                }),
            },
        }
    }
}

/// A row as the server tells it. Without an outhash it is none that could be signed.
fn row_of(told: &SignedRow) -> Row {
    Row {
        namespace: told.namespace.clone(),
        method: told.method.clone(),
        taskhash: told.taskhash.clone(),
        outhash: told.outhash.clone().unwrap_or_else(|| "".into()),
        unihash: told.unihash.clone(),
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

/// The word for an answer that is another row than the one that was asked.
const OTHER_ROW: &str = "other_row";
