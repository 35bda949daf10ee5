//! Entries in memory.

use std::sync::Arc;

use bytes::Bytes;
use fingerpost_core::{Cacher, CacherError, Content, EntryName, Usage};
use foldhash::fast::RandomState;
use futures_util::future::BoxFuture;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::sync::Semaphore;

use crate::reading::read_all;

/// What an entry costs besides its bytes: name, value and the tables' slots.
const OVERHEAD_BYTES: u64 = 128;
/// An entry may have this part of the limit, lest it drives out all others.
const SHARE: u64 = 4;
/// The limit is divided among shards, so an entry has to fit into one.
const SHARDS: usize = 2;
/// What an entry is guessed to have, for the size of the tables.
const ENTRY_BYTES_TYPICAL: u64 = 16 << 10;
/// The unit that entries on their way in are counted in.
const WAY_IN_UNIT: u64 = 1 << 10;

/// A store in memory with a limit in bytes. What was read once goes before
/// what was read again (S3-FIFO), so that a long scan does not empty it.
pub struct Memory {
    entries: Cache<EntryName, Bytes, ByBytes, RandomState>,
    entry_bytes_max: u64,
    /// Entries that are being read to be stored.
    way_in: Semaphore,
    way_in_max: u32,
}

impl Memory {
    /// Holds up to `bytes_max` bytes, each entry counted with 128 bytes more
    /// than it has. Entries of more than a quarter of that are refused with
    /// [`CacherError::Length`]. Entries on their way in may take another
    /// quarter.
    pub fn new(bytes_max: u64) -> Self {
        let entries = bytes_max / ENTRY_BYTES_TYPICAL;
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(usize::try_from(entries).map_or(usize::MAX, |n| n.max(64)))
            .weight_capacity(bytes_max)
            .build()
            .expect("every field is given");
        let way_in_max = (bytes_max / SHARE).div_ceil(WAY_IN_UNIT);
        let way_in_max = u32::try_from(way_in_max).unwrap_or(u32::MAX);
        Self {
            entries: Cache::with_options(
                options,
                ByBytes,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
            entry_bytes_max: (bytes_max / SHARE).saturating_sub(OVERHEAD_BYTES),
            way_in: Semaphore::new(way_in_max as usize),
            way_in_max,
        }
    }

    async fn take(&self, name: &EntryName, content: &dyn Content) -> Result<(), CacherError> {
        let len = content.len();
        if len > self.entry_bytes_max {
            return Err(CacherError::Length { len });
        }
        if self.entries.contains_key(name) {
            return Ok(());
        }
        let units = u32::try_from(len.div_ceil(WAY_IN_UNIT)).unwrap_or(u32::MAX);
        let _way_in = self.way_in.acquire_many(units.min(self.way_in_max)).await;
        let bytes = read_all(content).await?;
        // A copy, because the bytes may be a small part of a big buffer, which
        // would stay in memory as long as they do.
        self.entries.insert(*name, Bytes::copy_from_slice(&bytes));
        Ok(())
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let usage = self.usage();
        f.debug_struct("Memory").field("usage", &usage).finish()
    }
}

impl Cacher for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        let found = self.entries.get(name);
        let found = found.map(|bytes| Arc::new(bytes) as Arc<dyn Content>);
        Box::pin(std::future::ready(Ok(found)))
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move { self.take(name, &*content).await })
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        let removed = self.entries.remove(name).is_some();
        Box::pin(std::future::ready(Ok(removed)))
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            entries: self.entries.len() as u64,
            bytes: self.entries.weight(),
        })
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<EntryName, Bytes> for ByBytes {
    fn weight(&self, _: &EntryName, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{contract, entry_name, noise};

    async fn holds(memory: &Memory, number: u64) -> bool {
        memory
            .look_up(&entry_name(number))
            .await
            .is_ok_and(|found| found.is_some())
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        contract(&Memory::new(128 << 20)).await;
    }

    #[tokio::test]
    async fn stays_within_its_bytes() {
        let memory = Memory::new(1 << 20);
        for number in 0..1000 {
            let content = Arc::new(noise(5000 + number as usize));
            memory.store(&entry_name(number), content).await.unwrap();
            assert!(memory.usage().unwrap().bytes <= 1 << 20);
        }
        assert!(memory.usage().unwrap().bytes > 900 << 10);
    }

    #[tokio::test]
    async fn a_scan_does_not_drive_out_what_is_used() {
        let memory = Memory::new(1 << 20);
        let content = || Arc::new(noise(5000));
        for number in 0..50 {
            memory.store(&entry_name(number), content()).await.unwrap();
        }
        for scanned in 1000..5000 {
            for number in 0..50 {
                assert!(scanned % 100 != 0 || holds(&memory, number).await);
            }
            memory.store(&entry_name(scanned), content()).await.unwrap();
        }
        let mut left = 0;
        for number in 0..50 {
            left += u32::from(holds(&memory, number).await);
        }
        assert_eq!(left, 50);
    }

    #[tokio::test]
    async fn refuses_more_than_a_quarter() {
        let memory = Memory::new(1 << 20);
        let store = async |len| memory.store(&entry_name(1), Arc::new(noise(len))).await;
        let result = store((256 << 10) - 127).await;
        assert!(matches!(result, Err(CacherError::Length { .. })));
        store((256 << 10) - 128).await.unwrap();
        assert!(holds(&memory, 1).await);
    }

    #[tokio::test]
    async fn a_small_part_of_a_big_buffer_is_copied() {
        let memory = Memory::new(1 << 20);
        let buffer = Bytes::from(vec![0; 64 << 20]);
        let part = Arc::new(buffer.slice(..10));
        memory.store(&entry_name(1), part).await.unwrap();
        assert!(buffer.is_unique());
    }
}
