//! Files that are not what the manifest says.

use std::fs;
use std::path::PathBuf;

use fingerpost_snapshot::{Damage, Digest, Residence, Snapshot, SnapshotError};

use crate::world::{World, rows};

/// A snapshot with the path of its first shard and of that one's signatures.
fn world() -> (World, [(PathBuf, Digest); 2]) {
    let world = World::new(&rows("m", 200), 100);
    let shard = &world.manifest.methods[0].shards[0];
    let side = shard.signatures.as_ref().unwrap();
    let path = |name: Digest| (world.path().join("shards").join(name.to_string()), name);
    let both = [path(shard.sha256), path(side.sha256)];
    (world, both)
}

fn verified(world: &World) -> Result<(), SnapshotError> {
    let snapshot = Snapshot::open(&world.path(), Residence::File, None)?;
    snapshot.verify_all(|_| ()).map(drop)
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let (world, files) = world();
    for (path, name) in files {
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, &damaged).unwrap();
            let Err(SnapshotError::Damaged { shard, damage }) = verified(&world) else {
                panic!("byte {at} of {name} passes");
            };
            assert_eq!((shard, damage), (name, Damage::Digest));
        }
        fs::write(&path, &bytes[1..]).unwrap();
        let wrong = verified(&world);
        assert!(matches!(
            wrong,
            Err(SnapshotError::Damaged {
                damage: Damage::Length,
                ..
            })
        ));
        fs::write(&path, &bytes).unwrap();
        verified(&world).unwrap();
    }
}

#[test]
fn a_look_up_in_a_damaged_shard_is_an_error_and_others_are_answered() {
    let (world, [(path, _), _]) = world();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let snapshot = world.open(Residence::File);
    let second = world.manifest.methods[0].shards[1].first;
    assert!(snapshot.lookup("m", &second).unwrap().is_some());
    assert!(snapshot.lookup("m", &[0; 32]).unwrap().is_none());
    let first = world.manifest.methods[0].shards[0].first;
    for _ in 0..2 {
        let found = snapshot.lookup("m", &first);
        assert!(matches!(found, Err(SnapshotError::Damaged { .. })));
    }
}

#[test]
fn a_missing_shard_is_named() {
    let (world, [(path, name), _]) = world();
    fs::remove_file(path).unwrap();
    let error = verified(&world).unwrap_err();
    assert!(error.to_string().contains(&name.to_string()), "{error}");
    assert!(matches!(error, SnapshotError::Io { .. }));
}

#[test]
fn a_manifest_that_tells_of_other_shards_is_refused() {
    let check = |change: &dyn Fn(&mut fingerpost_snapshot::Manifest)| {
        let (world, _) = world();
        let mut manifest = world.manifest.clone();
        change(&mut manifest);
        fs::write(world.path().join("manifest.json"), manifest.to_bytes()).unwrap();
        let error = verified(&world).unwrap_err();
        assert!(matches!(error, SnapshotError::Damaged { .. }), "{error}");
    };
    check(&|m| {
        m.methods[0].rows += 1;
        m.methods[0].shards[0].rows += 1;
    });
    check(&|m| m.methods[0].shards[0].first = [0; 32]);
    // The first shard's last rows would not be found.
    check(&|m| {
        let rows = m.methods[0].shards[1].rows;
        m.methods[0].shards[1].first[0] -= 1;
        m.methods[0].rows -= u64::from(rows) - 100;
    });
    check(&|m| m.methods[0].shards[0].signatures.as_mut().unwrap().rows -= 1);
    check(&|m| {
        let other = m.methods[0].shards[1].signatures.clone();
        m.methods[0].shards[0].signatures = other;
        m.methods[0].shards[0].signatures.as_mut().unwrap().rows = 1;
    });
}
