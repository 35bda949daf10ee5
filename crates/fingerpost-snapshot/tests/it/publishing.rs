//! Who vouches for a snapshot.

use std::fs;

use fingerpost_signatures::{KeyId, KeyRing, Reason, SigningKey, State};
use fingerpost_snapshot::{Residence, Snapshot, SnapshotError, publish, verify};

use crate::world::{World, noon, ring, rows};

fn opened(world: &World, publishers: &KeyRing) -> Result<(), SnapshotError> {
    Snapshot::open(&world.path(), Residence::File, Some(publishers)).map(drop)
}

fn check_untrusted(world: &World, publishers: &KeyRing, expected: Reason) {
    match opened(world, publishers) {
        Err(SnapshotError::Untrusted(reason)) => assert_eq!(reason, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_trusted_and_signed_vouches() {
    for key in [
        SigningKey::ed25519(&[1; 32]),
        SigningKey::hmac_sha256(KeyId::from_bytes([2; 8]), &[2; 32]),
    ] {
        let world = World::new(&rows("m", 20), 64);
        let mut publishers = ring(&key);
        assert!(matches!(
            opened(&world, &publishers),
            Err(SnapshotError::Io { .. })
        ));
        let signature = publish(&world.path(), &world.manifest, &key, noon()).unwrap();
        opened(&world, &publishers).unwrap();
        let bytes = fs::read(world.path().join("manifest.json")).unwrap();
        let (manifest, by) = verify(&bytes, &signature.to_string(), &publishers).unwrap();
        assert_eq!((manifest, by), (world.manifest.clone(), key.id()));

        check_untrusted(
            &world,
            &ring(&SigningKey::ed25519(&[9; 32])),
            Reason::UnknownKey,
        );
        publishers.set_state(key.id(), State::Retired).unwrap();
        opened(&world, &publishers).unwrap();
        publishers.set_state(key.id(), State::Revoked).unwrap();
        check_untrusted(&world, &publishers, Reason::Revoked);
    }
}

#[test]
fn another_manifest_or_signature_is_not_believed() {
    let key = SigningKey::ed25519(&[1; 32]);
    let publishers = ring(&key);
    let world = World::new(&rows("m", 20), 64);
    publish(&world.path(), &world.manifest, &key, noon()).unwrap();
    let [manifest, signature] =
        ["manifest.json", "manifest.sig"].map(|name| world.path().join(name));

    let mut changed = world.manifest.clone();
    changed.position += 1;
    fs::write(&manifest, changed.to_bytes()).unwrap();
    check_untrusted(&world, &publishers, Reason::Mismatch);
    // What was verified is what must be signed.
    assert!(publish(&world.path(), &world.manifest, &key, noon()).is_err());
    publish(&world.path(), &changed, &key, noon()).unwrap();
    opened(&world, &publishers).unwrap();

    let text = fs::read_to_string(&signature).unwrap();
    for wrong in [
        String::new(),
        text.trim_end().to_owned(),
        format!("{text}\n"),
        format!("{text}{text}"),
        "x".repeat(100_000),
    ] {
        fs::write(&signature, wrong).unwrap();
        check_untrusted(&world, &publishers, Reason::Malformed);
    }
}
