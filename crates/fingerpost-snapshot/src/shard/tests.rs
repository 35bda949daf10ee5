use super::block::BLOCK_BYTES_MAX;
use super::*;
use crate::Damage;

/// A hash that begins with these bytes.
fn hash(begin: &[u8]) -> Hash {
    let mut hash = [9; 32];
    hash[..begin.len()].copy_from_slice(begin);
    hash
}

fn rows(count: u32, unihash: impl Fn(u32, Hash) -> Hash) -> Vec<Mapping> {
    let row = |number: u32| {
        let taskhash = hash(&number.to_be_bytes());
        let unihash = unihash(number, taskhash);
        Mapping { taskhash, unihash }
    };
    (0..count).map(row).collect()
}

fn built(rows: &[Mapping]) -> Vec<u8> {
    let mut builder = ShardBuilder::default();
    rows.iter().for_each(|row| builder.push(*row));
    let (first, bytes) = builder.finish().unwrap();
    assert_eq!(first, rows[0].taskhash);
    assert!(builder.finish().is_none());
    bytes
}

fn opened(bytes: &[u8]) -> Result<Shard, Damage> {
    let index = Index::parse(bytes)?;
    Ok(Shard::new(index, Box::new(bytes.to_vec())))
}

#[test]
fn every_row_is_found_and_no_other() {
    let some = |number: u32, taskhash| match number % 3 {
        0 => hash(&[1, number as u8]),
        _ => taskhash,
    };
    for count in [1, 2, 63, 64, 65, 127, 128, 129, 300] {
        let rows = rows(count, some);
        let shard = opened(&built(&rows)).unwrap();
        assert_eq!(shard.all().unwrap().unwrap(), rows);
        for (number, row) in (0..).zip(&rows) {
            let found = shard.find(&row.taskhash).unwrap();
            assert_eq!(found, Some((number, row.unihash)));
            let mut other = row.taskhash;
            other[31] ^= 1;
            assert_eq!(shard.find(&other).unwrap(), None);
        }
        for other in [[0; 32], [255; 32]] {
            assert_eq!(shard.find(&other).unwrap(), None);
        }
    }
}

#[test]
fn a_block_leaves_out_what_its_taskhashes_share() {
    // Of 64 rows, the first 3 bytes are the same; 63 of them are written.
    let bytes = built(&rows(64, |_, taskhash| taskhash));
    assert_eq!(bytes.len(), HEAD_BYTES + ENTRY_BYTES + 9 + 63 * 29);
    let bytes = built(&rows(1, |_, taskhash| taskhash));
    assert_eq!(bytes.len(), HEAD_BYTES + ENTRY_BYTES + 9);
}

#[test]
fn the_largest_shard_is_within_the_limit() {
    let blocks = blocks(SHARD_ROWS_MAX) as u64;
    let most = HEAD_BYTES as u64 + blocks * (ENTRY_BYTES + BLOCK_BYTES_MAX) as u64;
    assert!(most <= SHARD_BYTES_MAX && most > SHARD_BYTES_MAX * 98 / 100);
}

#[test]
fn no_changed_byte_panics_or_passes_for_another_shard() {
    let rows = rows(70, |number, taskhash| match number % 2 {
        0 => hash(&[1]),
        _ => taskhash,
    });
    let bytes = built(&rows);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let Ok(shard) = opened(&damaged) else {
                continue;
            };
            for row in &rows {
                let _ = shard.find(&row.taskhash);
            }
            // What passes as canonical is what these rows would be written as.
            if let Ok(Ok(rows)) = shard.all() {
                assert_eq!(built(&rows), damaged, "byte {at}, bit {bit}");
            }
        }
        assert!(opened(&bytes[..at]).is_err());
    }
    assert!(opened(&[bytes, vec![0]].concat()).is_err());
}
