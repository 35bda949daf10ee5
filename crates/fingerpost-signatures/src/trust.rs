//! Whom a reader or reporter believes, and what it signs.

use fingerpost_hashequiv_proto::client::SignedRow;

use crate::{
    Answered, Decision, KeyRing, Policy, Proposal, Row, SigningKey, UnixTime, judge_all,
    sign_as_answered,
};

/// What somebody believes of what a server tells, and whether they sign what they report.
pub struct Trust {
    policy: Policy,
    ring: KeyRing,
    signer: Option<SigningKey>,
    namespaces: Vec<String>,
}

/// What a reporter goes on with.
pub struct Settled {
    /// The unihash of the task from now on.
    pub unihash: String,
    /// What it came to.
    pub word: String,
    /// The row and its signature, to be uploaded.
    pub signed: Option<(Row, String)>,
}

impl Trust {
    /// `namespaces` are the one that is asked and those that it falls back to: rows of others
    /// are not believed. Without any, `default` is asked. `signer` signs what is reported.
    pub fn new(
        policy: Policy,
        ring: KeyRing,
        signer: Option<SigningKey>,
        mut namespaces: Vec<String>,
    ) -> Self {
        if namespaces.is_empty() {
            namespaces.push("default".to_owned());
        }
        Self {
            policy,
            ring,
            signer,
            namespaces,
        }
    }

    /// Whether what is reported is signed.
    pub const fn signs(&self) -> bool {
        self.signer.is_some()
    }

    /// Whether answers are looked at when something is looked up.
    pub fn judges(&self) -> bool {
        self.policy != Policy::Off
    }

    /// Whether an answer is a hit, and the word for it. `asked` are the method, the
    /// taskhash and, if it was asked, the outhash: what the server says of these is not
    /// believed.
    pub fn judge(
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

    /// Decides what a reporter goes on with, and signs it. `own` are method, taskhash, outhash
    /// and the unihash that was proposed; `answer` is the unihash that the server answered, and
    /// `source` the row that it came from, if it told.
    pub fn settle(
        &self,
        own: [&str; 4],
        answer: &str,
        source: Option<&SignedRow>,
        now: UnixTime,
    ) -> Settled {
        let [method, taskhash, outhash, proposed] = own;
        let (own, fallbacks) = self.namespaces.split_first().expect("new puts one in");
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
                    let signature = key.sign(&row, now);
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

/// The word for an answer that is another row than the one that was asked.
const OTHER_ROW: &str = "other_row";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, KeyName};

    const NOW: UnixTime = UnixTime::MAX;

    fn trust(policy: Policy) -> Trust {
        let key = SigningKey::ed25519(&[1; 32]);
        let mut ring = KeyRing::default();
        let name = KeyName::parse("ci").unwrap();
        ring.add(Key::signing(name, NOW, key.clone())).unwrap();
        Trust::new(policy, ring, Some(key), vec!["main".to_owned()])
    }

    fn told(unihash: &str) -> SignedRow {
        let row = Row {
            namespace: "main".to_owned(),
            method: "m".into(),
            taskhash: "t".into(),
            outhash: "o".into(),
            unihash: unihash.into(),
        };
        let signature = SigningKey::ed25519(&[1; 32]).sign(&row, NOW).to_string();
        SignedRow {
            namespace: row.namespace,
            method: row.method,
            taskhash: row.taskhash,
            outhash: Some(row.outhash),
            unihash: row.unihash,
            signatures: vec![signature],
        }
    }

    #[test]
    fn what_was_asked_is_judged_and_not_what_the_server_says_was() {
        let trust = trust(Policy::Require);
        let row = told("u");
        assert_eq!(trust.judge(("m", "t", None), &row), (true, "verified"));
        assert_eq!(trust.judge(("m", "t9", None), &row), (false, "mismatch"));
        let other = trust.judge(("m", "t", Some("o9")), &row);
        assert_eq!(other, (false, OTHER_ROW));
        let elsewhere = SignedRow {
            namespace: "elsewhere".to_owned(),
            ..told("u")
        };
        let other = trust.judge(("m", "t", None), &elsewhere);
        assert_eq!(other, (false, OTHER_ROW));
    }

    #[test]
    fn what_is_believed_is_signed_and_else_the_own_is_kept() {
        let own = ["m", "t2", "o", "u2"];
        let settle = |answer: &str, source: Option<&SignedRow>| {
            trust(Policy::Require).settle(own, answer, source, NOW)
        };
        let (mine, unsigned) = (settle("u2", None), settle("u", None));
        assert_eq!((mine.unihash.as_str(), &*mine.word), ("u2", "own"));
        assert!(mine.signed.is_some());
        assert_eq!(
            (unsigned.unihash.as_str(), &*unsigned.word),
            ("u2", "kept_own_unsigned")
        );
        assert!(unsigned.signed.is_none());
        let answered = settle("u", Some(&told("u")));
        assert_eq!(
            (answered.unihash.as_str(), &*answered.word),
            ("u", "verified")
        );
        let (row, _) = answered.signed.unwrap();
        assert_eq!(
            (row.taskhash.to_text(), row.unihash.to_text()),
            ("t2".into(), "u".into())
        );
    }
}
