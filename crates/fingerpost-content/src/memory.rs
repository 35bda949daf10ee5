//! Entries in the memory of this process.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fingerpost_core::{Cacher, CacherError, Content, EntryName, Usage};
use futures_util::future::BoxFuture;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// A store of so many bytes. What is used once makes no room by pushing out what
/// is used often: entries are evicted by S3-FIFO.
pub struct Memory {
    entries: Cache<EntryName, Bytes, Lengths>,
    entry_bytes_max: u64,
}

#[derive(Clone, Debug)]
struct Lengths;

impl Weighter<EntryName, Bytes> for Lengths {
    fn weight(&self, _: &EntryName, content: &Bytes) -> u64 {
        (content.len() + ENTRY_BYTES) as u64
    }
}

/// What an entry takes beside its bytes, about.
const ENTRY_BYTES: usize = 200;
/// An entry may take this part of a store, so that one answer does not push out
/// all others.
const ENTRY_SHARE: u64 = 4;
/// Entries that are expected; more only cost a table that grows.
const ENTRIES: usize = 1000;
const READ_BYTES: usize = 256 << 10;

impl Memory {
    /// An empty store of at most `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            entries: Cache::with_weighter(ENTRIES, bytes_max, Lengths),
            entry_bytes_max: bytes_max / ENTRY_SHARE,
        }
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
        Box::pin(async move {
            let len = content.len();
            if len > self.entry_bytes_max {
                return Err(CacherError::Length { len });
            }
            let whole = read_all(&*content).await?;
            self.entries.insert(*name, whole);
            Ok(())
        })
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        Box::pin(std::future::ready(Ok(self.entries.remove(name).is_some())))
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            entries: self.entries.len() as u64,
            bytes: self.entries.weight(),
        })
    }
}

/// All bytes of a content that fits into memory.
async fn read_all(content: &dyn Content) -> Result<Bytes, CacherError> {
    let len = content.len();
    let mut whole = BytesMut::with_capacity(usize::try_from(len).unwrap_or(0));
    while (whole.len() as u64) < len {
        let bytes = content.read(whole.len() as u64, READ_BYTES).await?;
        if bytes.is_empty() {
            return Err(CacherError::Damaged("it ends before its length".to_owned()));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use fingerpost_core::{EntryNames, KeyHasher};
    use futures_util::FutureExt as _;

    use super::*;

    fn name(number: u32) -> EntryName {
        let mut key = KeyHasher::new("test", 1);
        key.part(&number.to_be_bytes());
        EntryNames::new(b"secret").name(&key.finish(), "identity")
    }

    fn bytes(len: usize) -> Arc<dyn Content> {
        Arc::new(Bytes::from(vec![7; len]))
    }

    fn look_up(memory: &Memory, number: u32) -> Option<u64> {
        let found = memory.look_up(&name(number)).now_or_never();
        found.unwrap().unwrap().map(|content| content.len())
    }

    fn store(memory: &Memory, number: u32, len: usize) -> Result<(), CacherError> {
        memory
            .store(&name(number), bytes(len))
            .now_or_never()
            .unwrap()
    }

    #[test]
    fn what_was_stored_is_found_until_it_is_removed() {
        let memory = Memory::new(1 << 20);
        assert_eq!(look_up(&memory, 1), None);
        store(&memory, 1, 1000).unwrap();
        store(&memory, 2, 0).unwrap();
        assert_eq!(
            (look_up(&memory, 1), look_up(&memory, 2)),
            (Some(1000), Some(0))
        );
        assert!(memory.remove(&name(1)).now_or_never().unwrap().unwrap());
        assert!(!memory.remove(&name(1)).now_or_never().unwrap().unwrap());
        assert_eq!(look_up(&memory, 1), None);
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        let memory = Memory::new(1 << 20);
        assert!(matches!(
            store(&memory, 1, 1 << 19),
            Err(CacherError::Length { len: 0x8_0000 })
        ));
        for number in 0..1000 {
            store(&memory, number, 10_000).unwrap();
        }
        let usage = memory.usage().unwrap();
        assert!(usage.bytes <= 1 << 20 && usage.entries > 50, "{usage:?}");
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_used_often() {
        let memory = Memory::new(1 << 20);
        for number in 0..10 {
            store(&memory, number, 10_000).unwrap();
        }
        for number in 10..2000 {
            for often in 0..10 {
                look_up(&memory, often);
            }
            store(&memory, number, 10_000).unwrap();
        }
        let kept = (0..10).filter(|number| look_up(&memory, *number).is_some());
        assert!(kept.count() >= 9);
    }
}
