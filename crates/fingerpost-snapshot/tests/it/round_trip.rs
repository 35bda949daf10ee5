//! What is written is found, whatever it is.

use fingerpost_snapshot::{Hash, Manifest, Residence, Signed, Snapshot, WriteError, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{Rows, World, about, hash, rows, write};

/// Looks everything up, and some that is not there.
fn check(snapshot: &Snapshot, rows: &Rows) {
    for ((method, taskhash), (unihash, signed)) in rows {
        let found = snapshot.lookup(method, taskhash).unwrap();
        assert_eq!(found.as_ref(), Some(unihash));
        assert_eq!(snapshot.signature(method, taskhash).unwrap(), *signed);
        for (at, bit) in [(0, 0x80), (15, 1), (31, 1)] {
            let mut other = *taskhash;
            other[at] ^= bit;
            let expected = rows.get(&(method.clone(), other)).map(|(hash, _)| *hash);
            assert_eq!(snapshot.lookup(method, &other).unwrap(), expected);
        }
        assert_eq!(snapshot.lookup("no such method", taskhash).unwrap(), None);
    }
    let mut all = Rows::new();
    let summary = snapshot
        .verify_all(|row| {
            let value = (*row.unihash, row.signed.cloned());
            all.insert((row.method.to_owned(), *row.taskhash), value);
        })
        .unwrap();
    assert_eq!(all, *rows);
    assert_eq!(summary.rows, rows.len() as u64);
    assert_eq!(summary.rows, snapshot.manifest().rows());
    let signed = rows.values().filter(|(_, signed)| signed.is_some());
    assert_eq!(summary.signed, signed.count() as u64);
}

fn check_both(world: &World, rows: &Rows) {
    for residence in [Residence::Memory, Residence::File] {
        check(&world.open(residence), rows);
    }
}

/// Hashes that share much, and any.
fn hashes() -> impl Strategy<Value = Hash> {
    prop_oneof![
        (0..3_u8, 0..32_usize, any::<u8>()).prop_map(|(fill, at, byte)| {
            let mut hash = [fill; 32];
            hash[at] = byte;
            hash
        }),
        any::<[u8; 32]>(),
    ]
}

fn any_rows() -> impl Strategy<Value = Rows> {
    let signed = proptest::option::of((hashes(), "[a-z:é]{1,60}"));
    let row = (
        "[ab]|é{127}",
        hashes(),
        proptest::option::of(hashes()),
        signed,
    );
    let row = row.prop_map(|(method, taskhash, unihash, signed)| {
        let signed = signed.map(|(outhash, signature)| Signed { outhash, signature });
        ((method, taskhash), (unihash.unwrap_or(taskhash), signed))
    });
    vec(row, 0..300).prop_map(|rows| rows.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_rows_are_found_in_shards_of_any_size(rows in any_rows(), shard_rows in 1..150_u32) {
        check_both(&World::new(&rows, shard_rows), &rows);
    }
}

#[test]
fn a_snapshot_without_rows_knows_nothing() {
    let world = World::new(&Rows::new(), 64);
    check_both(&world, &Rows::new());
    assert_eq!(world.manifest.methods, []);
}

#[test]
fn many_threads_may_ask_at_once() {
    let rows = rows("m", 300);
    let world = World::new(&rows, 64);
    let snapshot = world.open(Residence::Memory);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for ((method, taskhash), (unihash, _)) in &rows {
                    let found = snapshot.lookup(method, taskhash).unwrap();
                    assert_eq!(found.as_ref(), Some(unihash));
                }
            });
        }
    });
}

#[test]
fn rows_are_in_shards_of_the_wanted_size() {
    let mut all = rows("a", 1000);
    all.extend(rows("b", 1));
    let world = World::new(&all, 256);
    check_both(&world, &all);
    let shards = |number: usize| {
        let shards = world.manifest.methods[number].shards.iter();
        shards.map(|shard| shard.rows).collect::<Vec<_>>()
    };
    assert_eq!((shards(0), shards(1)), (vec![256, 256, 256, 232], vec![1]));
}

#[test]
fn the_same_rows_give_the_same_files_in_any_order() {
    let rows = rows("m", 500);
    let world = World::new(&rows, 100);
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("snapshot");
    let mut writer = Writer::create(&target, about())
        .unwrap()
        .with_shard_rows(100);
    for ((method, taskhash), (unihash, signed)) in &rows {
        // What comes later counts.
        writer.push(method, taskhash, &[0; 32], None).unwrap();
        writer
            .push(method, taskhash, unihash, signed.clone())
            .unwrap();
    }
    assert_eq!(writer.finish(|| true).unwrap(), world.manifest);
}

#[test]
fn what_does_not_fit_is_left_out_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("snapshot");
    let mut writer = Writer::create(&target, about()).unwrap();
    let mut push = |method: &str| writer.push(method, &[1; 32], &[2; 32], None).unwrap();
    push("");
    push(&"m".repeat(256));
    (0..300).for_each(|number| push(&format!("method {number}")));
    writer.leave_out(5);
    let long = Signed {
        outhash: [0; 32],
        signature: "s".repeat(125),
    };
    writer
        .push("method 0", &[1; 32], &[3; 32], Some(long))
        .unwrap();
    let manifest = writer.finish(|| true).unwrap();
    assert_eq!(manifest.methods.len(), 256);
    assert_eq!(manifest.left_out, 2 + 44 + 5);
    let snapshot = Snapshot::open(&target, Residence::File, None).unwrap();
    let found = |method| snapshot.lookup(method, &[1; 32]).unwrap();
    assert_eq!(found("method 255"), Some([2; 32]));
    assert_eq!(found("method 0"), Some([3; 32]));
    assert_eq!(snapshot.signature("method 0", &[1; 32]).unwrap(), None);
}

#[test]
fn nothing_is_left_of_a_writer_that_was_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("snapshot");
    let left = || std::fs::read_dir(directory.path()).unwrap().count();
    let begun = || {
        let mut writer = Writer::create(&target, about()).unwrap();
        for number in 0..5000 {
            let hash = hash(&number.to_string());
            writer.push("m", &hash, &hash, None).unwrap();
        }
        writer
    };
    let mut asked = 0;
    let stopped = begun().finish(|| {
        asked += 1;
        false
    });
    assert!(matches!(stopped, Err(WriteError::Stopped)));
    assert_eq!((asked, left()), (1, 0));
    drop(begun());
    assert_eq!(left(), 0);
}

#[test]
fn a_snapshot_is_never_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("snapshot");
    let early = Writer::create(&target, about()).unwrap();
    let manifest = write(&target, &rows("m", 10), 64);
    assert!(matches!(
        Writer::create(&target, about()),
        Err(WriteError::Exists(_))
    ));
    assert!(matches!(early.finish(|| true), Err(WriteError::Exists(_))));
    let bytes = std::fs::read(target.join("manifest.json")).unwrap();
    assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
