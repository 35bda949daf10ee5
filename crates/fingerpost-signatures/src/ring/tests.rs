use super::*;

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn time(seconds: u64) -> UnixTime {
    UnixTime::new(seconds).unwrap()
}

fn ed25519(seed: u8, created: u64) -> Key {
    let key = SigningKey::ed25519(&[seed; 32]);
    Key::signing(name(&format!("ed-{seed}")), time(created), key)
}

fn hmac(id: u8, secret: u8) -> Key {
    let key = SigningKey::hmac_sha256(KeyId::from_bytes([id; 8]), &[secret; 32]);
    Key::signing(name(&format!("hmac-{id}")), time(0), key)
}

fn ring(keys: impl IntoIterator<Item = Key>) -> KeyRing {
    let mut ring = KeyRing::default();
    for key in keys {
        ring.add(key).unwrap();
    }
    ring
}

#[test]
fn what_is_written_is_read_again() {
    let mut whole = ring([ed25519(1, 5), ed25519(2, 6), hmac(3, 3), hmac(4, 4)]);
    let ids: Vec<_> = whole.keys().iter().map(Key::id).collect();
    whole.set_state(ids[0], State::Retired).unwrap();
    whole.set_state(ids[3], State::Revoked).unwrap();
    for sharing in [Sharing::Public, Sharing::WithSecrets] {
        for ring in [whole.clone(), whole.for_readers(sharing)] {
            let text = ring.to_toml();
            let read = KeyRing::parse(&text).unwrap();
            assert_eq!(*read.to_toml(), *text);
            assert_eq!(read.signing_key().is_some(), ring.signing_key().is_some());
        }
    }
}

#[test]
fn readers_get_no_seed_and_a_shared_secret_only_on_purpose() {
    let mut ring = ring([ed25519(1, 5), hmac(3, 3), hmac(4, 4)]);
    ring.set_state(KeyId::from_bytes([4; 8]), State::Revoked)
        .unwrap();
    let public = ring.for_readers(Sharing::Public);
    assert!(!public.has_secrets() && !public.to_toml().contains("secret ="));
    // Revoked keys go along: that is what readers must hear of.
    let ids = [ring.keys()[0].id(), KeyId::from_bytes([4; 8])];
    assert!(public.keys().iter().map(Key::id).eq(ids));
    let shared = ring.for_readers(Sharing::WithSecrets);
    assert_eq!(shared.keys().len(), 3);
    assert_eq!(
        shared.signing_key().unwrap().algorithm(),
        Algorithm::HmacSha256
    );
}

#[test]
fn the_newest_active_key_with_a_secret_signs() {
    let mut ring = ring([ed25519(1, 5), ed25519(2, 7), hmac(3, 3)]);
    let signer = |ring: &KeyRing| ring.signing_key().map(SigningKey::id);
    let ids: Vec<_> = ring.keys().iter().map(Key::id).collect();
    for id in [ids[1], ids[0], ids[2]] {
        assert_eq!(signer(&ring), Some(id));
        ring.set_state(id, State::Retired).unwrap();
    }
    assert_eq!(signer(&ring), None);
    let newer = ed25519(9, 9);
    let public = newer.verifying.unwrap();
    ring.add(Key::verifying(name("p"), time(9), public))
        .unwrap();
    assert_eq!(signer(&ring), None);
}

#[test]
fn states_go_forward_only() {
    let mut ring = ring([ed25519(1, 5)]);
    let id = ring.keys()[0].id();
    for state in [
        State::Retired,
        State::Retired,
        State::Revoked,
        State::Revoked,
    ] {
        ring.set_state(id, state).unwrap();
        assert_eq!(ring.get(id).unwrap().state(), state);
    }
    let error = ring.set_state(id, State::Retired).unwrap_err();
    assert_eq!(
        error,
        RingError::Backward(id, State::Revoked, State::Retired)
    );
    assert!(!ring.has_secrets(), "a revoked key has no secret any more");
}

#[test]
fn duplicates_are_refused() {
    let mut ring = ring([ed25519(1, 5), hmac(3, 3)]);
    let check = |ring: &mut KeyRing, key: Key| {
        let refused = ring.add(key);
        assert!(
            matches!(refused, Err(RingError::Duplicate(..))),
            "{refused:?}"
        );
    };
    let same_name = Key::signing(name("ed-1"), time(1), SigningKey::ed25519(&[7; 32]));
    let same_key = Key::signing(name("new"), time(1), SigningKey::ed25519(&[1; 32]));
    check(&mut ring, same_name);
    check(&mut ring, same_key);
    check(&mut ring, hmac(3, 9));
    // A secret that is revoked under one id must not go on under another.
    check(&mut ring, hmac(9, 3));
    assert_eq!(ring.keys().len(), 2);
}

#[test]
fn a_ring_has_a_limit() {
    let full = |count: usize| {
        let mut ring = KeyRing::default();
        (0..count).try_for_each(|at| {
            let mut secret = [0; 32];
            secret[..8].copy_from_slice(&at.to_be_bytes());
            let id = KeyId::from_bytes(at.to_be_bytes());
            let key = SigningKey::hmac_sha256(id, &secret);
            ring.add(Key::signing(name(&format!("k{at}")), time(0), key))
        })?;
        Ok(ring)
    };
    let text = full(KEYS_MAX).unwrap().to_toml();
    assert_eq!(KeyRing::parse(&text).unwrap().keys().len(), KEYS_MAX);
    assert_eq!(full(KEYS_MAX + 1).err(), Some(RingError::TooMany));
    let long = "#".repeat(RING_BYTES_MAX + 1);
    assert_eq!(KeyRing::parse(&long).err(), Some(RingError::TooLong));
}

#[test]
fn a_key_is_found_by_id_and_by_name() {
    let ring = ring([ed25519(1, 5), hmac(3, 3)]);
    for key in ring.keys() {
        assert_eq!(ring.find(&key.id().to_string()).unwrap().id(), key.id());
        assert_eq!(ring.find(key.name().as_str()).unwrap().id(), key.id());
    }
    assert!(ring.find("nobody").is_none());
    assert_eq!(KeyName::parse("0123456789abcdef"), None);
}

/// A ring of one key, with one line changed or taken out.
fn changed(key: Key, field: &str, line: &str) -> Result<KeyRing, RingError> {
    let text = ring([key]).to_toml();
    let lines = text.lines().map(|old| match old.starts_with(field) {
        true => line,
        false => old,
    });
    KeyRing::parse(&lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_wrong_field_is_named() {
    let check = |key: Key, field: &str, value: &str| {
        let line = format!("{field} = {value}");
        let error = changed(key, field, &line).unwrap_err();
        assert!(
            matches!(error, RingError::Field { field: named, .. } if named == field),
            "{line}: {error:?}"
        );
    };
    let other = ed25519(2, 0).public().unwrap();
    check(ed25519(1, 5), "id", "\"0123456789abcdef\"");
    check(ed25519(1, 5), "id", "\"x\"");
    check(ed25519(1, 5), "name", "\"a b\"");
    check(ed25519(1, 5), "algorithm", "\"rsa\"");
    check(ed25519(1, 5), "state", "\"Active\"");
    check(ed25519(1, 5), "created", "2026-11-22");
    check(ed25519(1, 5), "created", "2026-11-22T04:41:07+01:00");
    check(ed25519(1, 5), "secret", "\"AAAA\"");
    check(ed25519(1, 5), "public", "\"AAAA\"");
    let error = changed(ed25519(1, 5), "public", &format!("public = \"{other}\""));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("secret is not that")
    );
    let error = changed(hmac(1, 5), "secret", "").unwrap_err();
    assert_eq!(
        error.to_string(),
        "key \"0101010101010101\": secret is missing"
    );
    let error = changed(
        hmac(1, 5),
        "state",
        &format!("state = \"active\"\npublic = \"{other}\""),
    );
    assert!(error.unwrap_err().to_string().contains("public is nothing"));
}

#[test]
fn no_error_and_no_debug_shows_a_secret() {
    let key = ed25519(1, 5);
    let secret = crate::base64url::encode(&*key.signing.as_ref().unwrap().secret());
    let check = |shown: String| assert!(!shown.contains(&secret[..20]), "{shown}");
    check(format!("{:?}", ring([key.clone(), hmac(2, 2)])));
    let lines = [
        format!("secret = {secret}"),
        format!("secret = [\"{secret}\"]"),
        format!("secret = \"{secret}"),
        format!("secret = \"{secret}A\""),
        format!("public = \"{secret}A\""),
        format!("id = \"{secret}\""),
        format!("name = \"{secret}{secret}\""),
        format!("algorithm = \"{secret}\""),
        format!("state = \"{secret}\""),
        format!("secret.x = \"{secret}\""),
        format!("created = \"{secret}\""),
    ];
    for line in lines {
        let field = line.split([' ', '.']).next().unwrap();
        let error = changed(key.clone(), field, &line).unwrap_err();
        check(format!("{error} {error:?}"));
    }
}

#[test]
fn unknown_fields_and_versions_are_errors() {
    let check = |text: &str, expected: &str| {
        let error = KeyRing::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check("", "line 1: missing field `version`");
    check("version = 2", "version 2 is not known");
    check("version = 1\nkeys = []", "line 2: unknown field `keys`");
    check(
        "version = 1\n\n[[key]]\nid = 5",
        "line 4: expected a string",
    );
    check("version = 1\n\n=", "line 3: ");
}

mod files {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_with_secrets_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring.toml");
        let ring = ring([ed25519(1, 5)]);
        ring.save(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(KeyRing::load(&path).unwrap().has_secrets());
        for (mode, fine) in [(0o640, true), (0o660, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let loaded = KeyRing::load(&path);
            assert_eq!(loaded.is_ok(), fine, "{mode:o}: {loaded:?}");
        }
        ring.for_readers(Sharing::Public).save(&path).unwrap();
        assert_eq!(mode(&path), 0o644);
        assert!(!KeyRing::load(&path).unwrap().has_secrets());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_missing_or_too_long_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring.toml");
        assert!(matches!(KeyRing::load(&path), Err(FileError::Io { .. })));
        fs::write(&path, "#".repeat(3 * RING_BYTES_MAX)).unwrap();
        let error = KeyRing::load(&path).unwrap_err();
        assert!(matches!(
            error,
            FileError::Ring {
                source: RingError::TooLong,
                ..
            }
        ));
    }
}
