//! Fuzz targets: plain functions over bytes that panic when something that must hold
//! does not. They are for tests and fuzzers, never for a server.

use crate::shard::{Index, Shard, ShardBuilder};
use crate::side::{Side, SideBuilder};
use crate::{ChangeReader, ChangeWriter, Manifest, SHARD_ROWS_MAX};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 4] = [
    ("snapshot_manifest", fuzz_manifest),
    ("snapshot_shard", fuzz_shard),
    ("snapshot_side", fuzz_side),
    ("snapshot_changes", fuzz_changes),
];

/// A manifest: what is read would be written so.
pub fn fuzz_manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        assert_eq!(manifest.to_bytes(), data);
    }
}

/// A shard: looking up never panics, and one that is canonical is found row by row and would be
/// written so.
pub fn fuzz_shard(data: &[u8]) {
    let Ok(index) = Index::parse(data) else {
        return;
    };
    let shard = Shard::new(index, Box::new(data.to_vec()));
    for taskhash in [[0; 32], [0xff; 32], *shard.first()] {
        let _ = shard.find(&taskhash);
    }
    let Ok(Ok(rows)) = shard.all() else {
        return;
    };
    let mut builder = ShardBuilder::default();
    for (number, row) in (0..).zip(&rows) {
        let found = shard.find(&row.taskhash).expect("every block was read");
        assert_eq!(found, Some((number, row.unihash)));
        builder.push(*row);
    }
    let (_, written) = builder.finish().expect("a shard has rows");
    assert_eq!(written, data);
}

/// A side shard, likewise.
pub fn fuzz_side(data: &[u8]) {
    let Ok(count) = Side::parse(data) else {
        return;
    };
    let side = Side::new(count, Box::new(data.to_vec()));
    for row in [0, 1, u32::MAX] {
        let _ = side.find(row);
    }
    let Ok(Ok(signatures)) = side.all(SHARD_ROWS_MAX) else {
        return;
    };
    let mut builder = SideBuilder::default();
    for (row, signed) in &signatures {
        let found = side.find(*row).expect("every record was read");
        assert_eq!(found.as_ref(), Some(signed));
        builder.push(*row, signed);
    }
    let (_, written) = builder.finish().expect("a side shard has signatures");
    assert_eq!(written, data);
}

/// A stream of changes: what is read would be written so, up to where reading failed.
pub fn fuzz_changes(data: &[u8]) {
    let Ok((mut reader, since)) = ChangeReader::new(data) else {
        return;
    };
    let mut writer = ChangeWriter::new(Vec::new(), &since).expect("what is read can be written");
    while let Ok(Some(change)) = reader.next_change() {
        writer
            .write_change(&change)
            .expect("what is read can be written");
    }
    let position = reader.position();
    let written = writer
        .end(position)
        .expect("it is not before the last change");
    let end = format!("{{\"end\":{position}}}\n");
    let changes = written.strip_suffix(end.as_bytes()).expect("it ends so");
    assert!(data.starts_with(changes));
}
