//! `fingerpost key`: a ring from its first key to the last.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result};
use fingerpost_signatures::{KeyRing, Policy, Reason, Row, UnixTime, Verdict, judge};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::outcome;

/// A directory with a ring in `ring.toml`.
struct World(TempDir);

impl World {
    fn new() -> Result<Self> {
        Ok(Self(TempDir::new()?))
    }

    /// Exit code and both outputs of `fingerpost key WORDS --ring ring.toml`.
    fn key(&self, words: &[&str]) -> Result<(i32, String, String)> {
        outcome(
            &self.0,
            &[&["key"], words, &["--ring", "ring.toml"]].concat(),
        )
    }

    /// The keys that a successful command prints.
    fn keys(&self, words: &[&str]) -> Result<Vec<Value>> {
        let (code, out, err) = self.key(&[words, &["--json"]].concat())?;
        assert_eq!(code, 0, "{words:?}: {err}");
        out.lines()
            .map(|line| serde_json::from_str(line).context("not JSON"))
            .collect()
    }

    fn ring(&self, file: &str) -> Result<KeyRing> {
        Ok(KeyRing::load(&self.0.path().join(file))?)
    }

    fn mode(&self, file: &str) -> Result<u32> {
        let facts = fs::metadata(self.0.path().join(file))?;
        Ok(facts.permissions().mode() & 0o777)
    }
}

fn row() -> Row {
    Row {
        namespace: "main".to_owned(),
        method: "m".into(),
        taskhash: "t".into(),
        outhash: "o".into(),
        unihash: "u".into(),
    }
}

fn sign(ring: &KeyRing) -> Result<String> {
    let key = ring.signing_key().context("no key signs")?;
    Ok(key.sign(&row(), UnixTime::MAX).to_string())
}

#[test]
fn a_key_is_made_rotated_and_revoked() -> Result<()> {
    let world = World::new()?;
    let first = &world.keys(&["new", "--name", "first"])?[0];
    assert_eq!(
        (&first["algorithm"], &first["state"]),
        (&"ed25519".into(), &"active".into())
    );
    assert_eq!(
        (&first["signs"], world.mode("ring.toml")?),
        (&true.into(), 0o600)
    );
    let by_first = sign(&world.ring("ring.toml")?)?;

    let second = &world.keys(&["new", "--name", "second"])?[0];
    assert_eq!(second["signs"], true, "the newest key signs");
    world.keys(&["retire", "first"])?;
    let (code, _, err) = world.key(&["export-public", "--output", "readers.toml"])?;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(world.mode("readers.toml")?, 0o644);
    let readers = world.ring("readers.toml")?;
    let verdict = |ring, signature: &str| judge(Policy::Require, ring, &row(), Some(signature));
    let by_second = sign(&world.ring("ring.toml")?)?;
    for signature in [&by_first, &by_second] {
        assert!(matches!(verdict(&readers, signature), Verdict::Verified(_)));
    }

    let id = first["id"].as_str().context("no id")?;
    world.keys(&["revoke", id, "--yes"])?;
    let listed = world.keys(&["list"])?;
    let states: Vec<_> = listed.iter().map(|key| &key["state"]).collect();
    assert_eq!(states, ["revoked", "active"]);
    let (_, public, _) = world.key(&["export-public"])?;
    let readers = KeyRing::parse(&public)?;
    assert_eq!(verdict(&readers, &by_first), Verdict::Miss(Reason::Revoked));
    assert!(verdict(&readers, &by_second).is_hit());
    Ok(())
}

#[test]
fn a_shared_secret_is_exported_only_on_purpose() -> Result<()> {
    let world = World::new()?;
    world.keys(&["new", "--name", "shared", "--algorithm", "hmac-sha256"])?;
    let (code, out, err) = world.key(&["export-public"])?;
    assert_eq!((code, out.contains("[[key]]")), (0, false));
    assert!(err.contains("(shared) is a shared secret"), "{err}");
    let words = [
        "export-public",
        "--with-shared-secrets",
        "--output",
        "all.toml",
    ];
    assert_eq!(world.key(&words)?.0, 0);
    assert_eq!(world.mode("all.toml")?, 0o600);
    let signature = sign(&world.ring("ring.toml")?)?;
    assert!(world.ring("all.toml")?.verify(&row(), &signature).is_ok());
    Ok(())
}

#[test]
fn no_command_prints_a_secret() -> Result<()> {
    let world = World::new()?;
    for (name, algorithm) in [("a", "ed25519"), ("b", "hmac-sha256")] {
        world.keys(&["new", "--name", name, "--algorithm", algorithm])?;
    }
    let text = fs::read_to_string(world.0.path().join("ring.toml"))?;
    let secrets: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("secret = \"")?.strip_suffix('"'))
        .collect();
    assert_eq!(secrets.len(), 2);
    for words in [
        &["list"][..],
        &["list", "--json"],
        &["show", "a"],
        &["show", "b", "--json"],
        &["export-public"],
        &["new", "--name", "a"],
        &["retire", "b"],
    ] {
        let (_, out, err) = world.key(words)?;
        let shown = |secret: &&str| out.contains(secret) || err.contains(secret);
        assert!(!secrets.iter().any(shown), "{words:?}");
    }
    Ok(())
}

#[test]
fn mistakes_have_a_sentence_and_a_code_and_change_nothing() -> Result<()> {
    let world = World::new()?;
    let check = |words: &[&str], code: i32, expected: &str| -> Result<()> {
        let (ended, _, err) = world.key(words)?;
        assert_eq!(ended, code, "{words:?}: {err}");
        assert!(err.contains(expected), "{words:?}: {err}");
        Ok(())
    };
    check(
        &["list"],
        74,
        "cannot use the key ring: ring.toml: No such file",
    )?;
    world.keys(&["new", "--name", "ci"])?;
    let path = world.0.path().join("ring.toml");
    let before = fs::read(&path)?;
    check(
        &["new", "--name", "ci"],
        64,
        "the ring has ci already: choose another --name",
    )?;
    check(&["new", "--name", "a b"], 64, "expected 1 to 64 letters")?;
    check(&["show", "nobody"], 1, "nobody: no such key")?;
    check(&["revoke", "ci"], 64, "Say so with --yes")?;
    check(
        &["export-public", "--output", "./ring.toml"],
        64,
        "secrets would be lost",
    )?;
    assert_eq!(fs::read(&path)?, before);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    check(&["list"], 65, "its mode 644 lets others at it; chmod 600")?;
    fs::write(&path, "version = 1\n[[keys]]\n")?;
    check(&["list"], 65, "ring.toml: line 2: unknown field `keys`")
}
