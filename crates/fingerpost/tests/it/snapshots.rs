//! `fingerpost snapshot`: from a directory that a writer made to a reader who trusts its publisher.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use fingerpost_signatures::{KeyRing, Row, UnixTime};
use fingerpost_snapshot::{About, Hash, Signed, Writer};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::outcome;

const METHOD: &str = "m";

/// A directory with a snapshot, a publisher's ring and a reporter's.
struct World(TempDir);

impl World {
    /// A snapshot of 256 rows, of which the first `signed` are signed by the reporter.
    fn new(signed: u8) -> Result<Self> {
        let world = Self(TempDir::new()?);
        for ring in ["publisher", "reporter"] {
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
        let reporter = KeyRing::load(&world.path("reporter.toml"))?;
        for number in 0..=255 {
            let hash = hash(number);
            let signed = (number < signed)
                .then(|| sign(&reporter, &hash))
                .transpose()?;
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

    fn check(&self, expected: i32, verb: &str, words: &[&str]) -> Result<String> {
        let (code, out, err) = self.snapshot(verb, words)?;
        assert_eq!(code, expected, "{verb} {words:?}: {out}{err}");
        Ok(format!("{out}{err}"))
    }
}

fn hash(number: u8) -> Hash {
    [number; 32]
}

fn sign(ring: &KeyRing, hash: &Hash) -> Result<Signed> {
    let row = Row {
        namespace: "main".to_owned(),
        method: METHOD.into(),
        taskhash: Taskhash::from_bytes(*hash),
        outhash: Outhash::from_bytes([9; 32]),
        unihash: Unihash::from_bytes(*hash),
    };
    let key = ring.signing_key().context("no key signs")?;
    Ok(Signed {
        outhash: [9; 32],
        signature: key.sign(&row, UnixTime::MAX).to_string(),
    })
}

fn first_shard(snapshot: &Path) -> Result<PathBuf> {
    let mut shards = fs::read_dir(snapshot.join("shards"))?;
    Ok(shards.next().context("there are shards")??.path())
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

#[test]
fn a_damaged_snapshot_is_not_published() -> Result<()> {
    let world = World::new(0)?;
    let shard = first_shard(&world.path("snapshot"))?;
    let mut bytes = fs::read(&shard)?;
    bytes[100] ^= 1;
    fs::write(&shard, bytes)?;
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
