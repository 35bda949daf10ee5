//! What every store is held to, and what tests of stores need.

use std::sync::Arc;

use bytes::Bytes;
use fingerpost_core::{Cacher, CacherError, Content, EntryName};

use crate::reading::read_all;
use crate::sealed::BLOCK;

/// A name for tests, one for each number.
pub fn entry_name(number: u64) -> EntryName {
    // Multiplied, so that neighbours lie far apart like real names.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    EntryName::from_hex(&format!("{spread:016x}{:032x}{number:016x}", 0)).expect("64 digits")
}

/// Bytes without a pattern, the same ones for the same length.
pub fn noise(len: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ len as u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Checks what [`Cacher`] promises. The store has to be empty at the start and
/// to take entries of 9 MiB; it holds nothing of this afterwards.
///
/// # Panics
///
/// If the store breaks a promise.
pub async fn contract(store: &dyn Cacher) {
    round_trips(store).await;
    ranges(store).await;
    absence(store).await;
    same_name_twice(store).await;
    contents_that_fail(store).await;
    many_at_once(store).await;
}

/// The bytes of an entry, `None` if there is none.
///
/// # Errors
///
/// Those of the look-up and of reading.
pub async fn fetch(store: &dyn Cacher, name: &EntryName) -> Result<Option<Bytes>, CacherError> {
    match store.look_up(name).await? {
        Some(content) => read_all(&*content).await.map(Some),
        None => Ok(None),
    }
}

async fn put(store: &dyn Cacher, name: &EntryName, bytes: &Bytes) {
    let content = Arc::new(bytes.clone());
    store.store(name, content).await.expect("stores");
}

async fn take_out(store: &dyn Cacher, name: &EntryName) {
    assert!(store.remove(name).await.expect("removes"));
    assert_eq!(fetch(store, name).await.expect("looks up"), None);
}

async fn round_trips(store: &dyn Cacher) {
    let lengths = [
        0,
        1,
        BLOCK - 1,
        BLOCK,
        BLOCK + 1,
        3 * BLOCK,
        (1 << 20) + 1,
        9 << 20,
    ];
    for (number, len) in lengths.into_iter().enumerate() {
        let (name, bytes) = (entry_name(number as u64), noise(len));
        put(store, &name, &bytes).await;
        let found = store.look_up(&name).await.expect("looks up");
        assert_eq!(found.expect("is there").len(), len as u64);
        let found = fetch(store, &name).await.expect("reads");
        assert!(found == Some(bytes), "an entry of {len} bytes differs");
        take_out(store, &name).await;
    }
}

async fn ranges(store: &dyn Cacher) {
    let (name, bytes) = (entry_name(100), noise(5 * BLOCK + 17));
    put(store, &name, &bytes).await;
    let found = store.look_up(&name).await.expect("looks up");
    let content = found.expect("is there");
    // It can be read although it is removed.
    take_out(store, &name).await;
    for offset in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 9, bytes.len() - 1] {
        for max in [1, 100, BLOCK, 4 * BLOCK, usize::MAX] {
            let read = content.read(offset as u64, max).await.expect("reads");
            assert!(!read.is_empty() && read.len() <= max);
            assert!(read == bytes[offset..][..read.len()], "{offset} {max}");
        }
    }
    for behind in [bytes.len() as u64, u64::MAX] {
        assert!(content.read(behind, 10).await.expect("reads").is_empty());
    }
}

async fn absence(store: &dyn Cacher) {
    let name = entry_name(200);
    assert_eq!(fetch(store, &name).await.expect("looks up"), None);
    assert!(!store.remove(&name).await.expect("removes"));
}

async fn same_name_twice(store: &dyn Cacher) {
    let (name, bytes) = (entry_name(300), noise(2 * BLOCK));
    put(store, &name, &bytes).await;
    let usage = store.usage();
    put(store, &name, &bytes).await;
    assert_eq!(store.usage(), usage, "counted twice");
    assert!(fetch(store, &name).await.expect("reads") == Some(bytes));
    take_out(store, &name).await;
}

/// A content that says it is longer than it is.
struct Short(Bytes);

impl Content for Short {
    fn len(&self) -> u64 {
        Bytes::len(&self.0) as u64 + 1
    }

    fn read(
        &self,
        offset: u64,
        max: usize,
    ) -> futures_util::future::BoxFuture<'_, Result<Bytes, CacherError>> {
        self.0.read(offset, max)
    }
}

async fn contents_that_fail(store: &dyn Cacher) {
    for len in [0, 10, 3 << 20] {
        let name = entry_name(400 + len as u64);
        // Tiers do not fail for it; none may have the entry.
        let _ = store.store(&name, Arc::new(Short(noise(len)))).await;
        assert_eq!(fetch(store, &name).await.expect("looks up"), None);
    }
}

async fn many_at_once(store: &dyn Cacher) {
    let work = (0..64_u64).map(|number| async move {
        let (name, bytes) = (
            entry_name(500 + number % 16),
            noise(number as usize % 16 * 999),
        );
        put(store, &name, &bytes).await;
        let found = fetch(store, &name).await.expect("reads");
        assert!(found.is_none_or(|found| found == bytes));
    });
    futures_util::future::join_all(work).await;
    for number in 0..16 {
        take_out(store, &entry_name(500 + number)).await;
    }
}
