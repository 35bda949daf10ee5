//! What a reporter signs when the server answered.
//!
//! A reporter proposes a unihash, and the server may answer another one: that
//! of an older task with the same output, or of an older report of the task. To sign the answer is to vouch for that
//! older row as well, so the reporter looks at it first.

use std::fmt;

use fingerpost_hashequiv_proto::types::Unihash;

use crate::{KeyRing, Policy, Reason, Row, Verdict, judge, judge_all};

/// What a reporter reported, and how it judges answers.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// The row with the unihash that it proposed.
    pub row: &'a Row,
    /// Namespaces besides the row's own that the answer may come from: the
    /// fallback chain as the reporter knows it, not as the server tells.
    pub fallbacks: &'a [&'a str],
    /// Its policy.
    pub policy: Policy,
    /// The keys it trusts.
    pub ring: &'a KeyRing,
}

/// What the server answered to a report.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The unihash that the reported task has now.
    pub unihash: &'a Unihash,
    /// The row that it came from, if the server told, and the texts of its
    /// signatures.
    pub from: Option<(&'a Row, &'a [String])>,
}

/// What the reporter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sign this row and upload the signature. The verdict is on the row that the
    /// answer came from, and `None` if the server answered what was proposed.
    Sign(Row, Option<Verdict>),
    /// Go on with the proposed unihash, sign nothing, and count it.
    KeepOwn(KeepReason),
}

/// Why a reporter keeps its own unihash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeepReason {
    /// The row that was told is a miss by the reporter's policy.
    Miss(Reason),
    /// The row that was told is not one that the answer can come from: it has
    /// another method or unihash, neither the outhash nor the taskhash, or lives elsewhere.
    OtherRow,
}

impl KeepReason {
    /// The word in metrics and logs: that of [`Reason`], or `other_row`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Miss(reason) => reason.as_str(),
            Self::OtherRow => "other_row",
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Decides. An answer that is the proposal is the reporter's own claim and is
/// signed. Another one is signed if the row that it came from is a hit by the
/// reporter's policy; without such a row it counts as unsigned.
pub fn sign_as_answered(proposal: &Proposal<'_>, answered: &Answered<'_>) -> Decision {
    let own = proposal.row;
    if *answered.unihash == own.unihash {
        return Decision::Sign(own.clone(), None);
    }
    let verdict = match answered.from {
        Some((from, _)) if proposal.policy != Policy::Off && !fits(proposal, answered, from) => {
            return Decision::KeepOwn(KeepReason::OtherRow);
        }
        Some((from, signatures)) => judge_all(proposal.policy, proposal.ring, from, signatures),
        None => judge(proposal.policy, proposal.ring, own, None),
    };
    if let Verdict::Miss(reason) = verdict {
        return Decision::KeepOwn(KeepReason::Miss(reason));
    }
    let unihash = answered.unihash.clone();
    let row = Row {
        unihash,
        ..own.clone()
    };
    Decision::Sign(row, Some(verdict))
}

/// Whether the answer can come from this row: it has the same output under the
/// same method, or is an older report of the task itself, whose unihash stays.
fn fits(proposal: &Proposal<'_>, answered: &Answered<'_>, from: &Row) -> bool {
    let own = proposal.row;
    let namespace = from.namespace.as_str();
    let reachable = own.namespace == namespace || proposal.fallbacks.contains(&namespace);
    let related = from.outhash == own.outhash || from.taskhash == own.taskhash;
    reachable && from.method == own.method && related && from.unihash == *answered.unihash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, KeyName, SigningKey, UnixTime};

    const TIME: UnixTime = UnixTime::MAX;

    fn row(namespace: &str, taskhash: &str, unihash: &str) -> Row {
        Row {
            namespace: namespace.to_owned(),
            method: "m".into(),
            taskhash: taskhash.into(),
            outhash: "o".into(),
            unihash: unihash.into(),
        }
    }

    fn trusted() -> SigningKey {
        SigningKey::ed25519(&[1; 32])
    }

    /// What a reporter of (t2, u2) with the fallback `main` decides.
    fn decide(policy: Policy, unihash: &str, from: Option<(&Row, &[String])>) -> Decision {
        let mut ring = KeyRing::default();
        let name = KeyName::parse("ci").unwrap();
        ring.add(Key::signing(name, TIME, trusted())).unwrap();
        let proposal = Proposal {
            row: &row("release", "t2", "u2"),
            fallbacks: &["main"],
            policy,
            ring: &ring,
        };
        let unihash = &Unihash::parse(unihash);
        sign_as_answered(&proposal, &Answered { unihash, from })
    }

    fn signs(decision: &Decision) -> Option<String> {
        match decision {
            Decision::Sign(row, _) => Some(format!("{} {}", row.taskhash, row.unihash)),
            Decision::KeepOwn(_) => None,
        }
    }

    const POLICIES: [Policy; 3] = [Policy::Off, Policy::Prefer, Policy::Require];

    #[test]
    fn what_was_proposed_is_signed_under_each_policy() {
        for policy in POLICIES {
            let decision = decide(policy, "u2", None);
            assert_eq!(decision, Decision::Sign(row("release", "t2", "u2"), None));
        }
    }

    #[test]
    fn an_answer_of_a_trusted_key_is_signed_under_each_policy() {
        for namespace in ["release", "main"] {
            let first = row(namespace, "t1", "u1");
            let signatures = [trusted().sign(&first, TIME).to_string()];
            for policy in POLICIES {
                let decision = decide(policy, "u1", Some((&first, &signatures[..])));
                assert_eq!(signs(&decision).unwrap(), "t2 u1");
            }
        }
    }

    #[test]
    fn an_older_report_of_the_task_is_a_source_too() {
        let mut earlier = row("release", "t2", "u1");
        earlier.outhash = "another".into();
        let signatures = [trusted().sign(&earlier, TIME).to_string()];
        let decision = decide(Policy::Require, "u1", Some((&earlier, &signatures[..])));
        let verified = Some(Verdict::Verified(trusted().id()));
        assert_eq!(
            decision,
            Decision::Sign(row("release", "t2", "u1"), verified)
        );
    }

    #[test]
    fn an_answer_of_an_unknown_key_is_kept_out_unless_signatures_are_off() {
        let first = row("release", "t1", "u1");
        let unknown = SigningKey::ed25519(&[9; 32]);
        let signatures = [unknown.sign(&first, TIME).to_string()];
        let from = Some((&first, &signatures[..]));
        assert!(signs(&decide(Policy::Off, "u1", from)).is_some());
        let keep = Decision::KeepOwn(KeepReason::Miss(Reason::UnknownKey));
        assert_eq!(decide(Policy::Prefer, "u1", from), keep);
        assert_eq!(decide(Policy::Require, "u1", from), keep);
    }

    #[test]
    fn an_unsigned_answer_is_signed_unless_signatures_are_required() {
        let first = row("release", "t1", "u1");
        for from in [None, Some((&first, &[][..]))] {
            for policy in [Policy::Off, Policy::Prefer] {
                assert_eq!(signs(&decide(policy, "u1", from)).unwrap(), "t2 u1");
            }
            let keep = Decision::KeepOwn(KeepReason::Miss(Reason::Unsigned));
            assert_eq!(decide(Policy::Require, "u1", from), keep);
        }
    }

    #[test]
    fn a_signed_row_of_something_else_is_no_source() {
        let check = |change: fn(&mut Row)| {
            let mut first = row("release", "t1", "u1");
            change(&mut first);
            let signatures = [trusted().sign(&first, TIME).to_string()];
            let from = Some((&first, &signatures[..]));
            for policy in [Policy::Prefer, Policy::Require] {
                let keep = Decision::KeepOwn(KeepReason::OtherRow);
                assert_eq!(decide(policy, "u1", from), keep, "{first:?}");
            }
        };
        check(|row| row.namespace = "elsewhere".to_owned());
        check(|row| row.method = "other".into());
        check(|row| row.outhash = "other".into());
        check(|row| row.unihash = "u9".into());
    }
}
