//! Each answer under each policy.

use fingerpost_signatures::{Policy, Reason, Row, State, Verdict, judge};

use crate::world::{ed25519, hmac, noon, ring, row};

fn answer() -> Row {
    row("main", "m", ["t", "o", "u"])
}

/// The verdicts under off, prefer and require.
#[track_caller]
fn check(signature: Option<&str>, prefer: Verdict, require: Verdict) {
    let ring = ring(&[
        (ed25519(1), State::Active),
        (hmac(2), State::Active),
        (ed25519(3), State::Retired),
        (ed25519(4), State::Revoked),
        (hmac(5), State::Revoked),
    ]);
    let verdict = |policy| judge(policy, &ring, &answer(), signature);
    assert_eq!(verdict(Policy::Off), Verdict::Unchecked);
    assert_eq!(verdict(Policy::Prefer), prefer);
    assert_eq!(verdict(Policy::Require), require);
}

#[track_caller]
fn check_miss(signature: &str, reason: Reason) {
    let miss = Verdict::Miss(reason);
    check(Some(signature), miss, miss);
}

#[test]
fn an_unsigned_answer_is_a_hit_unless_signatures_are_required() {
    check(None, Verdict::Unsigned, Verdict::Miss(Reason::Unsigned));
}

#[test]
fn active_and_retired_keys_verify() {
    for key in [ed25519(1), hmac(2), ed25519(3)] {
        let signature = key.sign(&answer(), noon()).to_string();
        let verified = Verdict::Verified(key.id());
        check(Some(&signature), verified, verified);
    }
}

#[test]
fn a_signature_that_does_not_verify_is_a_miss_with_its_reason() {
    for (key, reason) in [
        (ed25519(4), Reason::Revoked),
        (hmac(5), Reason::Revoked),
        (ed25519(9), Reason::UnknownKey),
        (hmac(9), Reason::UnknownKey),
    ] {
        check_miss(&key.sign(&answer(), noon()).to_string(), reason);
    }
    for key in [ed25519(1), hmac(2)] {
        let other = row("main", "m", ["t", "o", "v"]);
        check_miss(&key.sign(&other, noon()).to_string(), Reason::Mismatch);
    }
    for text in ["", "x", "ed25519:::"] {
        check_miss(text, Reason::Malformed);
    }
}

#[test]
fn words_are_those_of_the_documentation() {
    let words = Reason::ALL.map(Reason::as_str);
    assert_eq!(
        words,
        [
            "unsigned",
            "unknown_key",
            "revoked",
            "mismatch",
            "malformed"
        ]
    );
    for word in ["off", "prefer", "require"] {
        assert_eq!(word.parse::<Policy>().unwrap().to_string(), word);
    }
    assert!("Require".parse::<Policy>().is_err());
}
