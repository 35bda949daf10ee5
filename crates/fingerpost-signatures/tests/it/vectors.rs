//! The test vectors in `tests/vectors/signatures.json`, which other
//! implementations check themselves against.
//!
//! This writes them anew:
//! `FINGERPOST_WRITE_VECTORS=1 cargo nextest run -p fingerpost-signatures vectors`

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fingerpost_signatures::{KeyRing, Policy, Row, SignedRow, SigningKey, State, UnixTime, judge};
use serde_json::{Value, json};

use crate::world::{ed25519, hmac, noon, ring, row};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/vectors/signatures.json"
);

#[test]
fn the_vectors_are_those_of_the_code() {
    let made = format!("{:#}\n", vectors());
    if std::env::var_os("FINGERPOST_WRITE_VECTORS").is_some() {
        fs::write(FILE, &made).unwrap();
    }
    let stored = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        stored == made,
        "stale; see the top of this file for the command that writes them"
    );
}

const POLICIES: [Policy; 3] = [Policy::Off, Policy::Prefer, Policy::Require];

fn vectors() -> Value {
    let keys = keys();
    let ring = ring(&keys);
    let rows = rows();
    let canonical: Vec<_> = rows.iter().map(|row| canonical(row, &keys[0].0)).collect();
    let mut cases = Vec::new();
    let mut case = |about: &str, row: &Row, signature: Option<&str>| {
        cases.push(judged(&ring, about, row, signature));
    };
    for (at, row) in rows.iter().enumerate() {
        for (key, state) in &keys {
            let about = format!("row {at} by an {state} {} key", key.algorithm());
            let time = UnixTime::new(noon().seconds() + at as u64).expect("not far from noon");
            case(&about, row, Some(&key.sign(row, time).to_string()));
        }
        case(&format!("row {at} without a signature"), row, None);
    }
    let row = &rows[0];
    for key in [ed25519(9), hmac(9)] {
        let signature = key.sign(row, noon()).to_string();
        case("a key that is not in the ring", row, Some(&signature));
    }
    let second = second_name(&keys[0].0.sign(row, noon()).to_string());
    case("S with the group's order added", row, Some(&second));
    for key in [&keys[0].0, &keys[1].0] {
        let signature = key.sign(row, noon()).to_string();
        for (about, other) in others(row) {
            case(about, &other, Some(&signature));
        }
        for (about, text) in spoilt(&signature) {
            case(about, row, Some(&text));
        }
    }
    json!({
        "about": "Test vectors of docs/signatures.md, made by crates/fingerpost-signatures/tests/it/vectors.rs. All secrets are known to everybody.",
        "ring": &*ring.to_toml(),
        "canonical": canonical,
        "cases": cases,
    })
}

fn keys() -> [(SigningKey, State); 6] {
    [
        (ed25519(1), State::Active),
        (hmac(2), State::Active),
        (ed25519(3), State::Retired),
        (hmac(4), State::Retired),
        (ed25519(5), State::Revoked),
        (hmac(6), State::Revoked),
    ]
}

/// Rows as they are, and rows that a careless encoding takes for each other.
fn rows() -> Vec<Row> {
    let digits = |digit: &str| digit.repeat(64);
    let (a, b, c) = (digits("a"), digits("b"), digits("c"));
    let basic = "oe.sstatesig.OEOuthashBasic";
    vec![
        row("main", basic, [&a, &b, &c]),
        row("release", basic, [&a, &b, &a]),
        row("main", basic, [&a.to_uppercase(), &b, &c]),
        row("", "", ["", "", ""]),
        row("ab", "c", ["d", "e", "f"]),
        row("a", "bc", ["d", "e", "f"]),
        row("m:\n\0", "mé", ["\u{1f600}", "\"\\", " u "]),
    ]
}

fn others(row: &Row) -> Vec<(&'static str, Row)> {
    let change = |about, change: fn(&mut Row)| {
        let mut other = row.clone();
        change(&mut other);
        (about, other)
    };
    vec![
        change("another namespace", |row| row.namespace.push('x')),
        change("another method", |row| row.method = "m".into()),
        change("another taskhash", |row| row.taskhash = "t".into()),
        change("another outhash", |row| row.outhash = "o".into()),
        change("another unihash", |row| row.unihash = "u".into()),
    ]
}

/// An Ed25519 signature with the group's order added to S, which a lax verifier
/// takes for the same.
fn second_name(signature: &str) -> String {
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let (head, proof) = signature.rsplit_once(':').expect("four parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(proof).expect("it was encoded");
    let mut carry = 0;
    for (at, byte) in bytes[32..].iter_mut().enumerate() {
        let digit = u16::from_str_radix(&ORDER[2 * at..][..2], 16).expect("hex digits");
        let sum = u16::from(*byte) + digit + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    format!("{head}:{}", URL_SAFE_NO_PAD.encode(&bytes))
}

/// Texts that are not the signature any more.
fn spoilt(signature: &str) -> Vec<(&'static str, String)> {
    let (head, proof) = signature.rsplit_once(':').expect("four parts");
    let (before, time) = head.rsplit_once(':').expect("four parts");
    let (algorithm, key) = before.split_once(':').expect("four parts");
    let other = match proof.starts_with('A') {
        true => proof.replacen('A', "B", 1),
        false => format!("A{}", &proof[1..]),
    };
    let flipped = format!("{}{other}", &signature[..signature.len() - proof.len()]);
    let zeros = "A".repeat(proof.len());
    vec![
        ("another proof", flipped),
        ("a proof of zeros", format!("{head}:{zeros}")),
        ("another time", format!("{before}:1:{proof}")),
        (
            "a time with a zero in front",
            format!("{before}:0{time}:{proof}"),
        ),
        (
            "a time after the year 9999",
            format!("{before}:253402300800:{proof}"),
        ),
        (
            "a key id in capitals",
            format!("{algorithm}:{}A:{time}:{proof}", &key[..15]),
        ),
        ("an unknown algorithm", format!("none:{key}:{time}:{proof}")),
        (
            "an algorithm in capitals",
            format!("{}:{key}:{time}:{proof}", algorithm.to_uppercase()),
        ),
        ("padding", format!("{signature}=")),
        ("a line end", format!("{signature}\n")),
        (
            "bits behind the last byte",
            format!("{}_", &signature[..signature.len() - 1]),
        ),
        ("a part too many", format!("{signature}:")),
        ("a part too few", head.to_owned()),
        ("nothing", String::new()),
    ]
}

fn canonical(row: &Row, key: &SigningKey) -> Value {
    let (key, time) = (key.id(), noon());
    let bytes = SignedRow { row, key, time }.canonical_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "row": in_json(row),
        "key": key.to_string(),
        "time": time.seconds(),
        "hex": hex,
    })
}

fn judged(ring: &KeyRing, about: &str, row: &Row, signature: Option<&str>) -> Value {
    let verdict = |policy| judge(policy, ring, row, signature).as_str();
    let [off, prefer, require] = POLICIES.map(verdict);
    json!({
        "about": about,
        "row": in_json(row),
        "signature": signature,
        "verdicts": {"off": off, "prefer": prefer, "require": require},
    })
}

fn in_json(row: &Row) -> Value {
    json!({
        "namespace": row.namespace,
        "method": row.method,
        "taskhash": row.taskhash,
        "outhash": row.outhash,
        "unihash": row.unihash,
    })
}
