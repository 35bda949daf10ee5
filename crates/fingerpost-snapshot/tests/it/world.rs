//! Snapshots and keys that the tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fingerpost_signatures::{Key, KeyName, KeyRing, SigningKey, UnixTime};
use fingerpost_snapshot::{About, Digest, Hash, Manifest, Residence, Signed, Snapshot, Writer};
use tempfile::TempDir;

/// When everything here happens: 2026-11-18T11:06:40Z.
pub(crate) fn noon() -> UnixTime {
    UnixTime::new(1_795_000_000).expect("before the year 10,000")
}

pub(crate) fn about() -> About {
    About {
        namespace: "main".to_owned(),
        epoch: 3,
        position: 812,
        created: noon(),
    }
}

/// A hash that follows from a text.
pub(crate) fn hash(text: &str) -> Hash {
    *Digest::of(text.as_bytes()).as_bytes()
}

/// (method, taskhash) → (unihash, signature).
pub(crate) type Rows = BTreeMap<(String, Hash), (Hash, Option<Signed>)>;

/// So many rows of a method: every fifth has another unihash, every seventh a signature.
pub(crate) fn rows(method: &str, count: usize) -> Rows {
    let row = |number: usize| {
        let taskhash = hash(&format!("taskhash {number}"));
        let unihash = match number % 5 {
            0 => hash(&format!("unihash {number}")),
            _ => taskhash,
        };
        let signed = number.is_multiple_of(7).then(|| Signed {
            outhash: hash(&format!("outhash {number}")),
            signature: format!("signature {number}"),
        });
        ((method.to_owned(), taskhash), (unihash, signed))
    };
    (0..count).map(row).collect()
}

/// A directory with a snapshot in `snapshot`.
pub(crate) struct World {
    directory: TempDir,
    pub(crate) manifest: Manifest,
}

impl World {
    pub(crate) fn new(rows: &Rows, shard_rows: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("snapshot");
        let manifest = write(&target, rows, shard_rows);
        Self {
            directory,
            manifest,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("snapshot")
    }

    pub(crate) fn open(&self, residence: Residence) -> Snapshot {
        Snapshot::open(&self.path(), residence, None).unwrap()
    }
}

pub(crate) fn write(target: &Path, rows: &Rows, shard_rows: u32) -> Manifest {
    let writer = Writer::create(target, about()).unwrap();
    let mut writer = writer.with_shard_rows(shard_rows);
    // Not in the order in which they will be.
    for ((method, taskhash), (unihash, signed)) in rows.iter().rev() {
        writer
            .push(method, taskhash, unihash, signed.clone())
            .unwrap();
    }
    writer.finish(|| true).unwrap()
}

/// A ring with one key that signs.
pub(crate) fn ring(key: &SigningKey) -> KeyRing {
    let mut ring = KeyRing::default();
    let name = KeyName::parse("publisher").expect("letters");
    ring.add(Key::signing(name, noon(), key.clone()))
        .expect("the first key has no twin");
    ring
}
