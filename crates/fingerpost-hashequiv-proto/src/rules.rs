//! The rules of equivalence, without storage.
//!
//! The service, the model that its tests compare it with, and the agent decide
//! with this module alone. Source: section 8 of the protocol's description.

use crate::types::Unihash;

/// What is known when a task is reported, gathered in one atomic step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// The unihash that the task has already.
    pub existing: Option<&'a Unihash>,
    /// The unihash that the task has in a namespace that reads fall back to: it was
    /// answered before, so it must stay the answer.
    pub inherited: Option<&'a Unihash>,
    /// The unihash of the oldest task that reported the same (method, outhash)
    /// and has one.
    pub oldest_match: Option<&'a Unihash>,
    /// What an upstream says of (method, outhash).
    pub upstream: Option<&'a Unihash>,
}

/// What a report comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The task keeps the unihash that it has; a report never changes one.
    Keep(Unihash),
    /// The task gets this unihash, which is stored.
    Adopt(Unihash),
}

impl Verdict {
    /// The unihash that the reporter is told.
    pub const fn unihash(&self) -> &Unihash {
        match self {
            Self::Keep(unihash) | Self::Adopt(unihash) => unihash,
        }
    }
}

/// Settles a report that proposes `proposed`: the first reporter of an output
/// names it, and whoever reports the same output later takes that name.
pub fn settle(proposed: &Unihash, evidence: Evidence<'_>) -> Verdict {
    match evidence.existing {
        Some(existing) => Verdict::Keep(existing.clone()),
        None => Verdict::Adopt(
            evidence
                .inherited
                .or(evidence.oldest_match)
                .or(evidence.upstream)
                .unwrap_or(proposed)
                .clone(),
        ),
    }
}

/// Whether an upstream's word could change the verdict: only when nothing is
/// known here.
pub const fn upstream_matters(evidence: Evidence<'_>) -> bool {
    evidence.existing.is_none() && evidence.inherited.is_none() && evidence.oldest_match.is_none()
}

/// Settles `report-equiv`: taken unless the task has a unihash.
pub fn settle_equiv(
    proposed: &Unihash,
    existing: Option<&Unihash>,
    inherited: Option<&Unihash>,
) -> Verdict {
    settle(
        proposed,
        Evidence {
            existing,
            inherited,
            ..Evidence::default()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: &str) -> Unihash {
        Unihash::parse(&digit.repeat(64))
    }

    fn check(
        existing: Option<&str>,
        matching: Option<&str>,
        upstream: Option<&str>,
        expect: Verdict,
    ) {
        let (existing, matching, upstream) =
            (existing.map(hash), matching.map(hash), upstream.map(hash));
        let evidence = Evidence {
            existing: existing.as_ref(),
            inherited: None,
            oldest_match: matching.as_ref(),
            upstream: upstream.as_ref(),
        };
        assert_eq!(settle(&hash("a"), evidence), expect);
    }

    #[test]
    fn the_first_reporter_names_the_output() {
        check(None, None, None, Verdict::Adopt(hash("a")));
    }

    #[test]
    fn an_existing_unihash_is_never_changed() {
        check(Some("b"), Some("c"), Some("d"), Verdict::Keep(hash("b")));
    }

    #[test]
    fn a_local_match_goes_before_the_upstream() {
        check(None, Some("c"), Some("d"), Verdict::Adopt(hash("c")));
        check(None, None, Some("d"), Verdict::Adopt(hash("d")));
    }

    #[test]
    fn the_upstream_is_asked_only_when_nothing_is_known() {
        let known = hash("b");
        assert!(upstream_matters(Evidence::default()));
        assert!(!upstream_matters(Evidence {
            oldest_match: Some(&known),
            ..Evidence::default()
        }));
        assert!(!upstream_matters(Evidence {
            existing: Some(&known),
            ..Evidence::default()
        }));
    }
}
