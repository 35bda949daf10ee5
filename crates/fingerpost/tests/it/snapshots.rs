//! `fingerpost snapshot`: from a directory that a writer made to a reader who trusts its publisher.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use fingerpost_signatures::{KeyRing, Policy, Row, UnixTime, judge};
use fingerpost_snapshot::{About, Hash, Residence, Signed, Snapshot, Writer};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::outcome;

const METHOD: &str = "m";

/// A directory with a snapshot, a publisher's ring and a reporter's.
struct World(TempDir);

impl World {
    /// A snapshot of 256 rows, of which the first `signed` are signed by the reporter.
    fn new(signed: u8) -> Result<Self> {
        Self::signed_by(|number| (number < signed).then_some("reporter"))
    }

    /// A snapshot of 256 rows, each signed by whom this says.
    fn signed_by(signer: impl Fn(u8) -> Option<&'static str>) -> Result<Self> {
        let world = Self(TempDir::new()?);
        for ring in ["publisher", "reporter", "stranger"] {
            let file = format!("{ring}.toml");
            let (code, _, err) = world.run(&["key", "new", "--name", ring, "--ring", &file])?;
            assert_eq!(code, 0, "{err}");
            let readers = format!("{ring}s.toml");
            world.run(&[
                "key",
                "export-public",
                "--ring",
                &file,
                "--output",
                &readers,
            ])?;
        }
        let about = About {
            namespace: "main".to_owned(),
            epoch: 1,
            position: 2,
            created: UnixTime::MAX,
        };
        let mut writer = Writer::create(&world.path("snapshot"), about)?;
        let ring = |name: &str| KeyRing::load(&world.path(&format!("{name}.toml")));
        let rings = [
            ("reporter", ring("reporter")?),
            ("stranger", ring("stranger")?),
        ];
        let rings = BTreeMap::from(rings);
        for number in 0..=255 {
            let hash = hash(number);
            let ring = signer(number).map(|name| &rings[name]);
            let signed = ring.map(|ring| sign(ring, &hash)).transpose()?;
            writer.push(METHOD, &hash, &hash, signed)?;
        }
        writer.finish(|| true)?;
        Ok(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Result<(i32, String, String)> {
        outcome(&self.0, words)
    }

    /// Exit code and both outputs of `fingerpost snapshot VERB snapshot WORDS`.
    fn snapshot(&self, verb: &str, words: &[&str]) -> Result<(i32, String, String)> {
        self.run(&[&["snapshot", verb, "snapshot"], words].concat())
    }

    /// A snapshot has these rows alone, each with the signature of its signer.
    fn check_rows(
        &self,
        snapshot: &str,
        expected: &[u8],
        signer: impl Fn(u8) -> Option<&'static str>,
    ) -> Result<()> {
        let snapshot = Snapshot::open(&self.path(snapshot), Residence::File, None)?;
        let mut found = Vec::new();
        snapshot.verify_all(|row| found.push((row.taskhash[0], row.signed.cloned())))?;
        let numbers: Vec<_> = found.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, expected);
        for (number, signed) in found {
            assert_eq!(signed.is_some(), signer(number).is_some());
            let Some((signed, signer)) = signed.zip(signer(number)) else {
                continue;
            };
            let ring = KeyRing::load(&self.path(&format!("{signer}s.toml")))?;
            let row = row(&hash(number));
            let verdict = judge(Policy::Require, &ring, &row, Some(&signed.signature));
            assert!(verdict.is_hit(), "{number}: {verdict:?}");
        }
        Ok(())
    }

    fn check(&self, expected: i32, verb: &str, words: &[&str]) -> Result<String> {
        let (code, out, err) = self.snapshot(verb, words)?;
        assert_eq!(code, expected, "{verb} {words:?}: {out}{err}");
        Ok(format!("{out}{err}"))
    }
}

fn hash(number: u8) -> Hash {
    [number; 32]
}

fn row(hash: &Hash) -> Row {
    Row {
        namespace: "main".to_owned(),
        method: METHOD.into(),
        taskhash: Taskhash::from_bytes(*hash),
        outhash: Outhash::from_bytes([9; 32]),
        unihash: Unihash::from_bytes(*hash),
    }
}

fn sign(ring: &KeyRing, hash: &Hash) -> Result<Signed> {
    let key = ring.signing_key().context("no key signs")?;
    Ok(Signed {
        outhash: [9; 32],
        signature: key.sign(&row(hash), UnixTime::MAX).to_string(),
    })
}

fn first_shard(snapshot: &Path) -> Result<PathBuf> {
    let mut shards = fs::read_dir(snapshot.join("shards"))?;
    Ok(shards.next().context("there are shards")??.path())
}

/// The file with the signatures of its only shard.
fn side_shard(snapshot: &Path) -> Result<PathBuf> {
    let manifest: Value = serde_json::from_slice(&fs::read(snapshot.join("manifest.json"))?)?;
    let name = &manifest["methods"][0]["shards"][0]["signatures"]["sha256"];
    let name = name.as_str().context("no row is signed")?;
    Ok(snapshot.join("shards").join(name))
}

fn spoil(file: &Path) -> Result<()> {
    let mut bytes = fs::read(file)?;
    bytes[100] ^= 1;
    Ok(fs::write(file, bytes)?)
}

#[test]
fn a_published_snapshot_is_believed_by_who_trusts_its_publisher() -> Result<()> {
    let world = World::new(0)?;
    let publishers = ["--publishers", "publishers.toml"];
    world.check(74, "verify", &publishers)?;
    assert!(world.check(0, "verify", &[])?.contains("not checked"));
    let told = world.check(0, "publish", &["--key", "publisher.toml"])?;
    assert!(told.contains("\"main\" epoch 1 position 2"), "{told}");
    world.check(0, "verify", &publishers)?;
    let told = world.check(1, "verify", &["--publishers", "reporters.toml"])?;
    assert!(told.contains("unknown_key"), "{told}");
    world.check(
        0,
        "publish",
        &["--key", "publisher.toml", "--key-id", "publisher"],
    )?;
    world.check(
        1,
        "publish",
        &["--key", "publisher.toml", "--key-id", "nobody"],
    )?;
    world.check(1, "publish", &["--key", "publishers.toml"])?;
    Ok(())
}

#[test]
fn signatures_of_rows_are_judged_by_policy_before_it_is_published() -> Result<()> {
    let judged = |policy| {
        let words = ["--key", "publisher.toml", "--policy", policy];
        [&words[..], &["--ring", "reporters.toml"]].concat()
    };
    let some = World::new(5)?;
    let told = some.check(1, "publish", &judged("require"))?;
    assert!(
        told.contains("verified: 5 rows") && told.contains("unsigned: 251 rows"),
        "{told}"
    );
    assert!(!some.path("snapshot/manifest.sig").exists());
    some.check(0, "publish", &judged("prefer"))?;
    some.check(
        64,
        "publish",
        &["--key", "publisher.toml", "--policy", "require"],
    )?;
    let strangers = [
        "--key",
        "publisher.toml",
        "--policy",
        "prefer",
        "--ring",
        "publishers.toml",
    ];
    some.check(1, "publish", &strangers)?;
    Ok(())
}

#[test]
fn misses_can_be_left_out_of_a_new_snapshot() -> Result<()> {
    let world = World::new(5)?;
    let words = ["--key", "publisher.toml", "--policy", "require", "--ring"];
    let into = [&words[..], &["reporters.toml", "--into", "hits"]].concat();
    let told = world.check(0, "publish", &into)?;
    assert!(told.contains("5 rows, signed by"), "{told}");
    assert!(!world.path("snapshot/manifest.sig").exists());
    let verify = [
        "snapshot",
        "verify",
        "hits",
        "--publishers",
        "publishers.toml",
    ];
    let (code, out, err) = world.run(&verify)?;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("5 rows (5 with their taskhash, 5 signed)"),
        "{out}"
    );
    let (_, shown, _) = world.run(&["snapshot", "show", "hits"])?;
    assert!(shown.contains("left out   251"), "{shown}");
    world.check(64, "publish", &into)?;
    Ok(())
}

/// Rows of the reporter, of a stranger and of nobody: which of them a policy permits,
/// and who may read what was published under it.
#[test]
fn a_published_snapshot_holds_the_rows_that_its_policy_permits() -> Result<()> {
    let signer = |number| match number {
        0..5 => Some("reporter"),
        5..8 => Some("stranger"),
        _ => None,
    };
    let world = World::signed_by(signer)?;
    let check = |policy: &str, holds: &dyn Fn(Option<&str>) -> bool| -> Result<()> {
        let words = ["--key", "publisher.toml", "--policy", policy];
        let more = ["--ring", "reporters.toml", "--into", policy];
        world.check(0, "publish", &[words, more].concat())?;
        let held: Vec<_> = (0..=255).filter(|row| holds(signer(*row))).collect();
        let verify = |publishers: &str| {
            world.run(&["snapshot", "verify", policy, "--publishers", publishers])
        };
        let (code, out, err) = verify("publishers.toml")?;
        let signed = held.iter().filter(|row| signer(**row).is_some()).count();
        let told = format!(
            "{0} rows ({0} with their taskhash, {signed} signed)",
            held.len()
        );
        assert!(code == 0 && out.contains(&told), "{policy}: {out}{err}");
        for others in ["strangers.toml", "reporters.toml"] {
            let (code, _, err) = verify(others)?;
            assert!(code == 1 && err.contains("unknown_key"), "{policy}: {err}");
        }
        world.check_rows(policy, &held, signer)?;
        // The publisher vouches for the signatures of rows too.
        spoil(&side_shard(&world.path(policy))?)?;
        let (code, _, err) = verify("publishers.toml")?;
        assert!(
            code == 65 && err.contains("wrong digest"),
            "{policy}: {err}"
        );
        Ok(())
    };
    check("off", &|_| true)?;
    check("prefer", &|signer| signer != Some("stranger"))?;
    check("require", &|signer| signer == Some("reporter"))
}

#[test]
fn a_damaged_snapshot_is_not_published() -> Result<()> {
    let world = World::new(0)?;
    let shard = first_shard(&world.path("snapshot"))?;
    spoil(&shard)?;
    for (verb, words) in [
        ("verify", &[][..]),
        ("publish", &["--key", "publisher.toml"]),
    ] {
        let told = world.check(65, verb, words)?;
        assert!(told.contains("wrong digest"), "{told}");
    }
    fs::write(world.path("snapshot/manifest.json"), "{}")?;
    world.check(65, "show", &[])?;
    Ok(())
}

#[test]
fn a_snapshot_shows_itself_and_its_rows() -> Result<()> {
    let world = World::new(1)?;
    let shown = world.check(0, "show", &[])?;
    for line in [
        "namespace  \"main\"",
        "position   2",
        "256 rows in    1 shards  \"m\"",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let (_, manifest, _) = world.snapshot("show", &["--json"])?;
    assert_eq!(
        fs::read_to_string(world.path("snapshot/manifest.json"))?,
        manifest
    );
    let ask = |taskhash: &str, more: &[&str]| {
        let words = ["--method", METHOD, "--taskhash", taskhash];
        world.snapshot("show", &[&words[..], more].concat())
    };
    let first = "00".repeat(32);
    assert_eq!(ask(&first, &[])?.1, format!("{first}\n"));
    let row: Value = serde_json::from_str(&ask(&first, &["--json"])?.1)?;
    assert_eq!(
        (&row["unihash"], &row["outhash"]),
        (&first.into(), &"09".repeat(32).into())
    );
    assert_eq!(ask(&format!("{}00", "0f".repeat(31)), &[])?.0, 1);
    assert_eq!(ask("0", &[])?.0, 64);
    Ok(())
}
