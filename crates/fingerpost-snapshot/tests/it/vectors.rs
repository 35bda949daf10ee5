//! The test vectors in `tests/vectors/snapshot`, which other implementations check themselves
//! against: a published snapshot, what is found in it, and a stream of changes.
//!
//! This writes them anew:
//! `FINGERPOST_WRITE_VECTORS=1 cargo nextest run -p fingerpost-snapshot vectors`

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fingerpost_signatures::{KeyRing, Row, Sharing, SigningKey};
use fingerpost_snapshot::{Change, ChangeWriter, Hash, Signed, Since, Snapshot, publish};
use serde_json::{Value, json};

use crate::world::{Rows, about, hash, noon, ring, write};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/snapshot");

#[test]
fn the_vectors_are_those_of_the_code() {
    let made = tempfile::tempdir().unwrap();
    make(made.path());
    if std::env::var_os("FINGERPOST_WRITE_VECTORS").is_some() {
        let _ = fs::remove_dir_all(DIRECTORY);
        for (name, bytes) in files(made.path()) {
            let path = Path::new(DIRECTORY).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    assert!(
        files(made.path()) == files(Path::new(DIRECTORY)),
        "stale; see the top of this file for the command that writes them"
    );
}

/// All files below a directory.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).unwrap().to_owned();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

fn make(directory: &Path) {
    let (publisher, reporter) = (SigningKey::ed25519(&[1; 32]), SigningKey::ed25519(&[2; 32]));
    let rows = rows(&reporter);
    let target = directory.join("main");
    let manifest = write(&target, &rows, 100);
    publish(&target, &manifest, &publisher, noon()).unwrap();
    for (name, key) in [
        ("publishers.toml", &publisher),
        ("reporters.toml", &reporter),
    ] {
        let readers: KeyRing = ring(key).for_readers(Sharing::Public);
        fs::write(directory.join(name), readers.to_toml()).unwrap();
    }
    let snapshot = Snapshot::open(&target, fingerpost_snapshot::Residence::File, None).unwrap();
    let found: Vec<Value> = asked(&rows)
        .map(|(method, taskhash)| found(&snapshot, &method, &taskhash))
        .collect();
    let lines: String = found.iter().map(|line| format!("{line}\n")).collect();
    fs::write(directory.join("found.ndjson"), lines).unwrap();
    fs::write(directory.join("changes.ndjson"), changes()).unwrap();
}

/// 220 rows of one method, in three shards, and one of another; some are signed.
fn rows(reporter: &SigningKey) -> Rows {
    let mut rows = crate::world::rows("oe.sstatesig.OEOuthashBasic", 220);
    rows.extend(crate::world::rows("é \"other\"", 1));
    for ((method, taskhash), (unihash, signed)) in &mut rows {
        if let Some(signed) = signed {
            let row = row(method, taskhash, &signed.outhash, unihash);
            signed.signature = reporter.sign(&row, noon()).to_string();
        }
    }
    rows
}

fn row(method: &str, taskhash: &Hash, outhash: &Hash, unihash: &Hash) -> Row {
    Row {
        namespace: about().namespace,
        method: method.into(),
        taskhash: hex(taskhash).as_str().into(),
        outhash: hex(outhash).as_str().into(),
        unihash: hex(unihash).as_str().into(),
    }
}

fn hex(hash: &Hash) -> String {
    fingerpost_snapshot::Digest::from_bytes(*hash).to_string()
}

/// All rows, and some that are not there.
fn asked(rows: &Rows) -> impl Iterator<Item = (String, Hash)> {
    let some = rows.keys().step_by(20).flat_map(|(method, taskhash)| {
        let mut other = *taskhash;
        other[31] ^= 1;
        [(method.clone(), other), ("none".to_owned(), *taskhash)]
    });
    let ends = [[0; 32], [255; 32], hash("other")];
    let (method, _) = rows.keys().next().unwrap().clone();
    let ends = ends.map(|taskhash| (method.clone(), taskhash));
    rows.keys().cloned().chain(some).chain(ends)
}

fn found(snapshot: &Snapshot, method: &str, taskhash: &Hash) -> Value {
    let unihash = snapshot.lookup(method, taskhash).unwrap();
    let signed: Option<Signed> = snapshot.signature(method, taskhash).unwrap();
    json!({
        "method": method,
        "taskhash": hex(taskhash),
        "unihash": unihash.as_ref().map(hex),
        "outhash": signed.as_ref().map(|signed| hex(&signed.outhash)),
        "signature": signed.map(|signed| signed.signature),
    })
}

fn changes() -> Vec<u8> {
    let about = about();
    let since = Since {
        namespace: about.namespace,
        epoch: about.epoch,
        position: about.position,
    };
    let method = "oe.sstatesig.OEOuthashBasic".to_owned();
    let mut writer = ChangeWriter::new(Vec::new(), &since).unwrap();
    for change in [
        Change::Adopted {
            position: 813,
            method: method.clone(),
            taskhash: hash("new"),
            unihash: hash("taskhash 0"),
        },
        Change::Epoch {
            position: 820,
            epoch: 4,
        },
        Change::Deleted {
            position: 821,
            method,
            taskhash: hash("taskhash 0"),
        },
    ] {
        writer.write_change(&change).unwrap();
    }
    writer.end(900).unwrap()
}
