use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::testing::{contract, entry_name, fetch, noise};
use crate::{Memory, Removal};

const MIB: usize = BLOCK;

/// Bytes that get half as long, and are all different places.
fn text(len: usize) -> Bytes {
    noise(len).iter().map(|byte| byte & 15 | 64).collect()
}

/// A compressed store and what is behind it.
fn stores() -> (Compressed, Arc<Memory>) {
    let memory = Arc::new(Memory::new(128 << 20));
    let behind = Arc::clone(&memory) as Arc<dyn Cacher>;
    let spool = SpoolOptions::default();
    (Compressed::new(behind, spool), memory)
}

async fn put(store: &dyn Cacher, number: u64, bytes: &Bytes) {
    let content = Arc::new(bytes.clone());
    store.store(&entry_name(number), content).await.unwrap();
}

/// What lies behind for the entry of this number.
async fn behind(memory: &Memory, number: u64) -> Bytes {
    let name = entry_name(number).twin();
    fetch(memory, &name).await.unwrap().unwrap()
}

#[tokio::test]
async fn keeps_the_contract() {
    contract(&stores().0).await;
}

#[tokio::test]
async fn entries_come_back_at_every_border_of_blocks() {
    let (store, memory) = stores();
    for len in [0, 1, 100, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 7] {
        for (bytes, shrinks) in [(noise(len), false), (text(len), len >= 100)] {
            put(&store, 1, &bytes).await;
            let found = store.look_up(&entry_name(1)).await.unwrap().unwrap();
            assert_eq!(found.len(), len as u64);
            assert!(fetch(&store, &entry_name(1)).await.unwrap() == Some(bytes));
            let stored = behind(&memory, 1).await.len();
            let most = if shrinks { len * 9 / 10 } else { len };
            assert!(stored <= most + format::HEADER, "{stored} of {len}");
            assert!(store.remove(&entry_name(1)).await.unwrap());
        }
    }
}

#[tokio::test]
async fn any_range_is_read_as_from_the_plain_bytes() {
    let (store, _) = stores();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    // In the last, some blocks shrink and others do not.
    let mixed = [text(MIB), noise(2 * MIB), text(MIB + 9)].concat();
    for model in [text(4 * MIB + 5), noise(4 * MIB + 5), mixed.into()] {
        put(&store, 1, &model).await;
        let content = store.look_up(&entry_name(1)).await.unwrap().unwrap();
        for _ in 0..200 {
            let offset = random(model.len());
            let max = 1 + random(3 * MIB);
            let read = content.read(offset as u64, max).await.unwrap();
            assert!(!read.is_empty() && read.len() <= max);
            assert!(read == model[offset..][..read.len()], "{offset} {max}");
        }
        assert!(content.read(u64::MAX, 9).await.unwrap().is_empty());
        store.remove(&entry_name(1)).await.unwrap();
    }
}

#[tokio::test]
async fn damage_is_noticed_and_removed() {
    let (store, memory) = stores();
    for model in [text(3 * MIB + 5), text(9000)] {
        put(&store, 1, &model).await;
        let good = behind(&memory, 1).await;
        let end = good.len();
        let mut wrong: Vec<Bytes> = [
            0,
            9,
            13,
            17,
            25,
            32,
            50,
            end / 2,
            end - 20,
            end - 9,
            end - 1,
        ]
        .into_iter()
        .map(|at| {
            let mut bytes = good.to_vec();
            bytes[at] ^= 4;
            bytes.into()
        })
        .collect();
        for len in [0, 31, 32, 33, end / 2, end - 1] {
            wrong.push(good.slice(..len));
        }
        wrong.push([&good[..], b"x"].concat().into());
        // What was put there by somebody else.
        wrong.push(noise(100));
        for (number, wrong) in wrong.iter().enumerate() {
            let name = entry_name(1).twin();
            memory.remove(&name).await.unwrap();
            memory.store(&name, Arc::new(wrong.clone())).await.unwrap();
            let found = fetch(&store, &entry_name(1)).await;
            let is_damaged = matches!(found, Err(CacherError::Damaged(_)));
            assert!(is_damaged, "the {number}th is taken for good");
            assert_eq!(fetch(&store, &entry_name(1)).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_block_does_not_yield_more_than_its_length() {
    let frame = compress_bomb();
    assert!(frame.len() < 10_000);
    for len in [1, 1000, MIB] {
        let undone = decompress(&frame, len);
        assert!(matches!(undone, Err(CacherError::Damaged(_))));
    }
}

/// 64 MiB of zeros.
fn compress_bomb() -> Vec<u8> {
    format::compress(&vec![0; 64 << 20]).unwrap()
}

#[tokio::test]
async fn a_header_of_a_monstrous_length_is_damage() {
    let (store, memory) = stores();
    let form = format::Form::Blocks;
    for len in [u64::MAX, LEN_MAX, LEN_MAX + 1, 2 * MIB as u64] {
        let header = format::Header { form, len }.encode();
        let entry = Bytes::from([&header[..], &[0; 11]].concat());
        let name = entry_name(1).twin();
        memory.store(&name, Arc::new(entry)).await.unwrap();
        let found = store.look_up(&entry_name(1)).await;
        assert!(matches!(found, Err(CacherError::Damaged(_))), "{len}");
    }
}

#[tokio::test]
async fn plain_and_compressed_entries_of_a_store_are_apart() {
    let (store, memory) = stores();
    put(&*memory, 1, &text(5000)).await;
    assert_eq!(fetch(&store, &entry_name(1)).await.unwrap(), None);
    put(&store, 1, &text(5000)).await;
    assert!(store.remove(&entry_name(1)).await.unwrap());
    let left = fetch(&*memory, &entry_name(1)).await.unwrap();
    assert_eq!(left, Some(text(5000)));
}

#[tokio::test]
async fn what_the_store_behind_says_is_passed_on() {
    let (store, memory) = stores();
    assert_eq!(store.name(), "memory");
    put(&store, 1, &text(5000)).await;
    assert_eq!(store.usage(), memory.usage());
    assert_eq!(store.usage().unwrap().entries, 1);
    assert!(store.remove(&entry_name(1)).await.unwrap());
    assert!(!store.remove(&entry_name(1)).await.unwrap());
    assert_eq!(memory.usage().unwrap().entries, 0);
}

#[tokio::test]
async fn want_of_room_on_the_way_is_not_the_fault_of_the_store() {
    let spool = SpoolOptions {
        memory_bytes_max: 100,
        room: fingerpost_core::SpoolRoom::new(1000),
        ..SpoolOptions::default()
    };
    let store = Compressed::new(Arc::new(Memory::new(64 << 20)), spool);
    let long = Arc::new(text(3 << 20));
    let stored = store.store(&entry_name(1), long).await;
    assert!(matches!(stored, Err(CacherError::Full)), "{stored:?}");
}

#[tokio::test]
async fn more_than_the_spool_takes_is_refused_unless_it_is_stored_as_it_is() {
    let spool = SpoolOptions {
        bytes_max: 5000,
        ..SpoolOptions::default()
    };
    let store = Compressed::new(Arc::new(Memory::new(1 << 20)), spool);
    let put = async |bytes| store.store(&entry_name(1), Arc::new(bytes)).await;
    let refused = put(text(5001)).await;
    assert!(matches!(refused, Err(CacherError::Length { len: 5001 })));
    put(noise(5001)).await.unwrap();
    put(text(5000)).await.unwrap();
}

/// Counts how often it is read.
struct Counted(Bytes, Arc<AtomicU64>);

impl Content for Counted {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read(offset, max)
    }
}

const DEADLINE: Duration = Duration::from_secs(1);

/// A store that takes a while for every MiB.
struct Slow(Arc<Memory>);

impl Cacher for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        self.0.look_up(name)
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move {
            let mut offset = 0;
            while offset < content.len() {
                tokio::time::sleep(DEADLINE / 3).await;
                offset += content.read(offset, MIB).await?.len() as u64;
            }
            self.0.store(name, content).await
        })
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        self.0.remove(name)
    }
}

#[tokio::test]
async fn a_long_store_is_not_taken_for_one_that_hangs() {
    let memory = Arc::new(Memory::new(128 << 20));
    let slow = Arc::new(Slow(Arc::clone(&memory)));
    let tier = crate::Tier {
        cacher: Arc::new(Compressed::new(slow, SpoolOptions::default())),
        rules: crate::TierRules {
            store_deadline: DEADLINE,
            ..crate::TierRules::default()
        },
    };
    let tiers = crate::Tiers::new(vec![tier]);
    put(&tiers, 1, &text(12 * MIB)).await;
    assert!(fetch(&tiers, &entry_name(1)).await.unwrap() == Some(text(12 * MIB)));
}

#[tokio::test]
async fn a_block_is_undone_once_for_all_that_is_read_of_it_in_a_row() {
    let memory = Arc::new(Memory::new(8 << 20));
    let (store, reads) = (stores().0, Arc::new(AtomicU64::new(0)));
    put(&store, 1, &text(2 * MIB)).await;
    let stored = fetch(&*store.shared.inner, &entry_name(1).twin()).await;
    let counted = Counted(stored.unwrap().unwrap(), Arc::clone(&reads));
    let layout = Layout::read(&counted).await.unwrap();
    let entry = Entry {
        shared: Arc::clone(&Compressed::new(memory, SpoolOptions::default()).shared),
        name: entry_name(1),
        stored: Arc::new(counted),
        layout,
        last: Mutex::default(),
    };
    reads.store(0, Ordering::Relaxed);
    let mut offset = 0;
    while offset < entry.len() {
        offset += entry.read(offset, 30_000).await.unwrap().len() as u64;
    }
    assert_eq!(reads.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_disk_is_the_same_for_all_who_use_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(fingerpost_core::ManualClock::new(
        fingerpost_core::Timestamp(1_000_000_000_000),
    ));
    let disk = crate::Disk::open(directory.path(), 64 << 20, clock).unwrap();
    let disk = OnDisk::compressed(Arc::new(disk), SpoolOptions::default());
    for number in 0..3 {
        put(&*disk.store(), number, &text(100_000)).await;
    }
    let listed = disk.list(None, 9).await.unwrap();
    assert!(listed.iter().all(|found| found.file_bytes < 70_000));
    let names: Vec<_> = listed.iter().map(|found| found.name).collect();
    let mut expected: Vec<_> = (0..3).map(entry_name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let behind = disk.list(Some(names[0]), 9).await.unwrap();
    assert_eq!(behind, listed[1..]);
    let until = fingerpost_core::Timestamp(1_000_100_000_000);
    assert!(disk.pin(&names[1], until).await.unwrap());
    assert!(!disk.pin(&names[1].twin(), until).await.unwrap());
    let pinned = disk.find(&names[1]).await.unwrap().unwrap();
    assert_eq!((pinned.name, pinned.used), (names[1], until));
    for (number, removal) in [
        (0, Removal::Removed),
        (0, Removal::Absent),
        (1, Removal::Pinned),
    ] {
        let removed = disk.remove_unpinned(&names[number]).await;
        assert_eq!(removed.unwrap(), removal);
    }
    assert_eq!(disk.find(&names[0]).await.unwrap(), None);
}
