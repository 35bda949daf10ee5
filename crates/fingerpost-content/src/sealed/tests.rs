use futures_util::FutureExt as _;

use super::*;
use crate::reading::read_all;
use crate::testing::{entry_name, noise};

const LENGTHS: [usize; 9] = [
    0,
    1,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    2 * BLOCK,
    16 * BLOCK,
    16 * BLOCK + 1,
    40 * BLOCK + 77,
];

/// Contents in memory do not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory does not wait")
}

fn seal(name: &EntryName, plain: &Bytes) -> Bytes {
    now(read_all(&Sealing::new(name, Arc::new(plain.clone())))).unwrap()
}

fn unseal(name: &EntryName, sealed: Bytes) -> Result<Bytes, CacherError> {
    let content = now(Sealed::open(name, Arc::new(sealed)))?;
    now(read_all(&*content))
}

#[test]
fn entries_come_back_as_they_were() {
    let name = entry_name(1);
    for len in LENGTHS {
        let plain = noise(len);
        let sealed = seal(&name, &plain);
        assert_eq!(sealed.len() as u64, sealed_len(len as u64));
        assert_eq!(unseal(&name, sealed).unwrap(), plain, "{len}");
    }
}

#[test]
fn any_range_is_read() {
    let name = entry_name(1);
    let plain = noise(20 * BLOCK + 5);
    let sealed = seal(&name, &plain);
    let content = now(Sealed::open(&name, Arc::new(sealed.clone()))).unwrap();
    let sealing = Sealing::new(&name, Arc::new(plain.clone()));
    for offset in [0, 1, 47, 48, 49, BLOCK - 1, BLOCK, BLOCK + 56, 20 * BLOCK] {
        for max in [1, 40, 60, BLOCK, BLOCK + 8, 3 * BLOCK, usize::MAX] {
            let read = now(content.read(offset as u64, max)).unwrap();
            assert!(!read.is_empty() && read.len() <= max);
            assert_eq!(read, plain[offset..][..read.len()], "{offset} {max}");
            let read = now(sealing.read(offset as u64, max)).unwrap();
            assert!(!read.is_empty() && read.len() <= max);
            assert_eq!(read, sealed[offset..][..read.len()], "{offset} {max}");
        }
    }
    for content in [&*content, &sealing] {
        assert!(now(content.read(content.len(), 1)).unwrap().is_empty());
        assert!(now(content.read(u64::MAX, usize::MAX)).unwrap().is_empty());
    }
}

#[test]
fn every_changed_byte_of_a_small_entry_is_noticed() {
    let name = entry_name(1);
    let sealed = seal(&name, &noise(300));
    for at in 0..sealed.len() {
        for bit in [1, 128] {
            let mut changed = sealed.to_vec();
            changed[at] ^= bit;
            let result = unseal(&name, changed.into());
            assert!(matches!(result, Err(CacherError::Damaged(_))), "{at}");
        }
    }
}

#[test]
fn damage_in_one_block_leaves_the_others() {
    let name = entry_name(1);
    let plain = noise(4 * BLOCK);
    let mut sealed = seal(&name, &plain).to_vec();
    sealed[HEADER + 2 * (BLOCK + 8) + 9] ^= 4;
    let content = now(Sealed::open(&name, Arc::new(Bytes::from(sealed)))).unwrap();
    let read = now(content.read(0, 2 * BLOCK)).unwrap();
    assert_eq!(read, plain[..2 * BLOCK]);
    let result = now(content.read(BLOCK as u64, 2 * BLOCK));
    assert!(matches!(result, Err(CacherError::Damaged(_))));
    let read = now(content.read(3 * BLOCK as u64 + 5, BLOCK)).unwrap();
    assert_eq!(read, plain[3 * BLOCK + 5..]);
}

#[test]
fn truncation_and_growth_are_noticed() {
    let name = entry_name(1);
    let sealed = seal(&name, &noise(2 * BLOCK + 3));
    let cuts = (0..100).chain([BLOCK, BLOCK + 56, 2 * BLOCK + 64, sealed.len() - 1]);
    for cut in cuts {
        let result = unseal(&name, sealed.slice(..cut));
        assert!(matches!(result, Err(CacherError::Damaged(_))), "{cut}");
    }
    let grown = [&sealed[..], b"x"].concat();
    assert!(unseal(&name, grown.into()).is_err());
}

#[test]
fn another_entry_is_noticed() {
    let (name, other) = (entry_name(1), entry_name(2));
    let plain = noise(2 * BLOCK);
    let sealed = seal(&name, &plain);
    assert!(unseal(&other, sealed.clone()).is_err());
    // The same header, but a block of the other, or blocks that changed places.
    let block = |number: usize| HEADER + number * (BLOCK + 8)..HEADER + (number + 1) * (BLOCK + 8);
    let theirs = seal(&other, &plain);
    let mixed = [&sealed[..block(1).start], &theirs[block(1)]].concat();
    assert!(unseal(&name, mixed.into()).is_err());
    let swapped = [&sealed[..HEADER], &sealed[block(1)], &sealed[block(0)]].concat();
    assert!(unseal(&name, swapped.into()).is_err());
}

#[test]
fn hostile_lengths_do_not_overflow() {
    let name = entry_name(1);
    for len in [u64::MAX, u64::MAX - 47, 1 << 63] {
        let header = Header::new(&name, len).encode();
        assert!(unseal(&name, Bytes::copy_from_slice(&header)).is_err());
    }
}
