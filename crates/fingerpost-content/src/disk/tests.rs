use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fingerpost_core::ManualClock;

use super::*;
use crate::testing::{contract, entry_name, fetch, noise};

mod hung;

const MINUTE: i64 = 60_000_000;
const START: Timestamp = Timestamp(1_700_000_000_000_000);

/// A store in a directory of its own.
struct World {
    root: tempfile::TempDir,
    clock: Arc<ManualClock>,
    disk: Disk,
}

impl World {
    async fn new(bytes_max: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let disk = Disk::open(root.path(), bytes_max, clock.clone()).unwrap();
        counted(&disk).await;
        Self { root, clock, disk }
    }

    async fn again(&self, bytes_max: u64) -> Disk {
        let disk = Disk::open(self.root.path(), bytes_max, self.clock.clone()).unwrap();
        counted(&disk).await;
        disk
    }

    async fn put(&self, number: u64, len: usize) -> Result<(), CacherError> {
        let content = Arc::new(noise(len));
        self.disk.store(&entry_name(number), content).await
    }

    async fn has(&self, number: u64) -> bool {
        let found = self.disk.look_up(&entry_name(number)).await.unwrap();
        found.is_some()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.disk.store.room.layout.path(&entry_name(number))
    }

    fn temporaries(&self) -> usize {
        let files = std::fs::read_dir(self.root.path().join("tmp")).unwrap();
        files.count()
    }

    /// What the files really have.
    fn bytes(&self) -> u64 {
        (0..DIRECTORIES)
            .flat_map(|number| list(&self.disk.store.room.layout.directory(number)).unwrap())
            .map(|found| found.footprint())
            .sum()
    }
}

async fn counted(disk: &Disk) {
    for _ in 0..10_000 {
        if disk.usage().is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never counted");
}

#[tokio::test]
async fn keeps_the_contract() {
    let world = World::new(1 << 30).await;
    contract(&world.disk).await;
    assert_eq!(world.disk.usage(), Some(Usage::default()));
    nothing_is_left(&world).await;
}

/// What was given up is removed behind whoever gave it up.
async fn nothing_is_left(world: &World) {
    let is_left = || world.temporaries() > 0 || world.disk.store.room.totals().reserved > 0;
    for _ in 0..1000 {
        if !is_left() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("something is left for ever");
}

#[tokio::test]
async fn entries_outlive_a_restart() {
    let world = World::new(1 << 30).await;
    for number in 0..20 {
        world.put(number, number as usize * 9_000).await.unwrap();
    }
    let again = world.again(1 << 30).await;
    assert_eq!(again.usage(), world.disk.usage());
    assert_eq!(again.usage().unwrap().bytes, world.bytes());
    for number in 0..20 {
        let found = fetch(&again, &entry_name(number)).await.unwrap();
        assert!(found == Some(noise(number as usize * 9_000)));
    }
}

#[tokio::test]
async fn stays_within_its_bytes() {
    let world = World::new(1 << 20).await;
    for number in 0..300 {
        world.put(number, 20_000 + number as usize).await.unwrap();
        assert!(world.bytes() <= 1 << 20);
    }
    assert!(world.bytes() > 900 << 10);
    let result = world.put(1000, 2 << 20).await;
    assert!(matches!(result, Err(CacherError::Length { .. })));
}

#[tokio::test]
async fn what_was_used_longest_ago_goes_first() {
    let world = World::new(1 << 20).await;
    for number in 0..40 {
        world.put(number, 20_000).await.unwrap();
        world.clock.advance_micros(10 * MINUTE);
    }
    for used in 0..10 {
        assert!(world.has(used).await);
    }
    for number in 100..120 {
        world.clock.advance_micros(10 * MINUTE);
        world.put(number, 20_000).await.unwrap();
    }
    for used in (0..10).chain(100..120) {
        assert!(world.path(used).exists(), "{used}");
    }
    assert!(!world.path(10).exists());
}

#[tokio::test]
async fn a_pinned_entry_stays_until_then() {
    let world = World::new(1 << 20).await;
    let until = Timestamp(START.0 + 60 * MINUTE);
    for number in 0..10 {
        world.put(number, 90_000).await.unwrap();
        let name = entry_name(number);
        assert!(world.disk.pin(&name, until).await.unwrap());
        let sooner = Timestamp(START.0 + MINUTE);
        assert!(world.disk.pin(&name, sooner).await.unwrap());
    }
    assert!(!world.disk.pin(&entry_name(99), until).await.unwrap());
    world.clock.advance_micros(59 * MINUTE);
    assert!(world.has(3).await);
    for number in 100..110 {
        world.put(number, 20_000).await.unwrap();
    }
    assert!(matches!(
        world.put(200, 200_000).await,
        Err(CacherError::Full)
    ));
    for number in 0..10 {
        assert!(world.path(number).exists());
    }
    world.clock.advance_micros(2 * MINUTE);
    world.put(200, 200_000).await.unwrap();
    assert!(world.bytes() <= 1 << 20);
}

#[tokio::test]
async fn an_entry_is_removed_unless_it_is_pinned() {
    let world = World::new(1 << 20).await;
    world.put(1, 9).await.unwrap();
    let until = Timestamp(START.0 + MINUTE);
    assert!(world.disk.pin(&entry_name(1), until).await.unwrap());
    let remove = async || world.disk.remove_unpinned(&entry_name(1)).await.unwrap();
    assert_eq!(remove().await, Removal::Pinned);
    assert_eq!(
        world.disk.find(&entry_name(1)).await.unwrap().unwrap().used,
        until
    );
    world.clock.advance_micros(2 * MINUTE);
    assert_eq!(remove().await, Removal::Removed);
    assert_eq!(remove().await, Removal::Absent);
    assert_eq!(world.disk.find(&entry_name(1)).await.unwrap(), None);
}

#[tokio::test]
async fn a_pin_from_a_wrong_clock_does_not_hold() {
    let world = World::new(1 << 20).await;
    world.put(1, 500_000).await.unwrap();
    let far = Timestamp(START.0 + 365 * 24 * 60 * MINUTE);
    world.disk.pin(&entry_name(1), far).await.unwrap();
    world.clock.advance_micros(8 * 24 * 60 * MINUTE);
    world.put(2, 400_000).await.unwrap();
    let file = std::fs::File::open(world.path(2)).unwrap();
    layout::set_modified(&file, Timestamp(far.0 * 2)).unwrap();
    world.put(3, 500_000).await.unwrap();
    assert!(!world.path(2).exists());
}

#[tokio::test]
async fn no_damaged_byte_is_ever_given() {
    let world = World::new(1 << 20).await;
    world.put(1, 200).await.unwrap();
    let (path, name) = (world.path(1), entry_name(1));
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        for bytes in [&changed[..], &whole[..at]] {
            std::fs::write(&path, bytes).unwrap();
            let result = fetch(&world.disk, &name).await;
            assert!(matches!(result, Err(CacherError::Damaged(_))), "{at}");
            assert!(fetch(&world.disk, &name).await.unwrap().is_none());
        }
    }
    world.put(1, 200).await.unwrap();
    assert!(world.has(1).await);
}

#[tokio::test]
async fn damage_of_a_big_entry_is_noticed_while_reading() {
    let world = World::new(64 << 20).await;
    world.put(1, 5 << 20).await.unwrap();
    let file = std::fs::File::options().write(true).open(world.path(1));
    file.unwrap().write_all_at(b"x", 3 << 20).unwrap();
    let content = world.disk.look_up(&entry_name(1)).await.unwrap().unwrap();
    assert!(content.read(0, 1 << 20).await.is_ok());
    // Headers and checksums shift it by less than this.
    let result = content.read((3 << 20) - 1000, 1000).await;
    assert!(matches!(result, Err(CacherError::Damaged(_))));
    assert!(!world.has(1).await);
    assert_eq!(world.disk.usage(), Some(Usage::default()));
}

#[tokio::test]
async fn a_big_entry_cut_short_while_it_is_open_is_damaged() {
    let len = 5 << 20;
    // In a block, after one, and where only the last byte is missing.
    for cut in [(3 << 20) - 1000, 48 + 40 * 65_544, 48 + len + 80 * 8 - 1] {
        for max in [1000, 1 << 20] {
            let world = World::new(64 << 20).await;
            world.put(1, len as usize).await.unwrap();
            let content = world.disk.look_up(&entry_name(1)).await.unwrap().unwrap();
            let file = std::fs::File::options().write(true).open(world.path(1));
            file.unwrap().set_len(cut).unwrap();
            assert!(content.read(0, 1 << 20).await.is_ok());
            let result = content.read(len - max, max as usize).await;
            assert!(
                matches!(result, Err(CacherError::Damaged(_))),
                "{cut} {max}"
            );
            assert!(!world.has(1).await);
        }
    }
}

#[tokio::test]
async fn what_was_read_stays_while_others_read() {
    let world = World::new(64 << 20).await;
    world.put(1, (3 << 20) + 5).await.unwrap();
    world.put(2, 9 << 20).await.unwrap();
    let open = async |number| world.disk.look_up(&entry_name(number)).await.unwrap();
    let (one, other) = (open(1).await.unwrap(), open(2).await.unwrap());
    let mut kept = Vec::new();
    let mut at = 100;
    while at < one.len() {
        let read = one.read(at, 1 << 20).await.unwrap();
        // All but the first begin with a block, so that none is read twice.
        assert!(kept.is_empty() || at % (64 << 10) == 0);
        kept.push(read.slice(..read.len() / 2));
        kept.push(read.slice(read.len() / 2..));
        at += read.len() as u64;
        for offset in 0..9 {
            other.read(offset << 20, 1 << 20).await.unwrap();
        }
    }
    assert!(kept.concat() == noise((3 << 20) + 5)[100..]);
}

#[tokio::test]
async fn another_entry_under_this_name_is_not_given() {
    let world = World::new(1 << 20).await;
    world.put(1, 200).await.unwrap();
    std::fs::copy(world.path(1), world.path(2)).unwrap();
    assert!(fetch(&world.disk, &entry_name(2)).await.is_err());
    assert!(!world.has(2).await);
}

#[tokio::test]
async fn what_a_killed_process_left_is_cleared() {
    let root = tempfile::tempdir().unwrap();
    let left = root.path().join("tmp/0123-7");
    std::fs::create_dir(root.path().join("tmp")).unwrap();
    std::fs::write(&left, b"half").unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let disk = Disk::open(root.path(), 1 << 20, clock.clone()).unwrap();
    assert!(!left.exists());
    // While one lives, what it writes is left alone.
    std::fs::write(&left, b"half").unwrap();
    let _other = Disk::open(root.path(), 1 << 20, clock).unwrap();
    assert!(left.exists());
    drop(disk);
}

#[tokio::test]
async fn processes_share_a_directory() {
    let world = World::new(1 << 20).await;
    let other = world.again(1 << 20).await;
    world.put(1, 70_000).await.unwrap();
    let found = fetch(&other, &entry_name(1)).await.unwrap();
    assert!(found == Some(noise(70_000)));
    for number in 0..50 {
        world.put(number, 20_000).await.unwrap();
        let content = Arc::new(noise(20_000));
        other.store(&entry_name(number), content).await.unwrap();
    }
    assert!(world.bytes() <= 2 << 20);
}

#[tokio::test]
async fn a_reader_survives_eviction() {
    let world = World::new(4 << 20).await;
    world.put(1, 2 << 20).await.unwrap();
    let content = world.disk.look_up(&entry_name(1)).await.unwrap().unwrap();
    world.clock.advance_micros(MINUTE);
    world.put(2, 3 << 20).await.unwrap();
    assert!(!world.path(1).exists());
    let read = crate::reading::read_all(&*content).await.unwrap();
    assert!(read == noise(2 << 20));
}

#[tokio::test]
async fn a_full_disk_evicts_and_tries_again() {
    let world = World::new(1 << 30).await;
    for number in 0..5 {
        world.put(number, 100_000).await.unwrap();
        world.clock.advance_micros(MINUTE);
    }
    world.disk.store.full.store(1, Ordering::SeqCst);
    world.put(10, 100_000).await.unwrap();
    assert!(world.has(10).await && !world.has(0).await);
    world.disk.store.full.store(1000, Ordering::SeqCst);
    let result = world.put(11, 100_000).await;
    assert!(matches!(result, Err(CacherError::Full)));
    let result = world.put(12, 100_000).await;
    assert!(matches!(result, Err(CacherError::Full)));
    assert_eq!(world.temporaries(), 0);
    assert_eq!(world.disk.store.room.totals().reserved, 0);
    world.disk.store.full.store(0, Ordering::SeqCst);
    world.put(11, 100_000).await.unwrap();
    assert!(world.has(11).await);
}

#[tokio::test]
async fn a_vanished_directory_gives_errors_and_comes_back() {
    let world = World::new(1 << 20).await;
    world.put(1, 100_000).await.unwrap();
    let content = world.disk.look_up(&entry_name(1)).await.unwrap().unwrap();
    std::fs::remove_dir_all(world.root.path()).unwrap();
    assert!(!world.has(1).await);
    assert!(matches!(world.put(2, 10).await, Err(CacherError::Io(_))));
    assert!(!world.disk.remove(&entry_name(1)).await.unwrap());
    assert!(world.disk.list(None, 10).await.unwrap().is_empty());
    assert!(content.read(0, 10).await.is_ok());
    std::fs::create_dir(world.root.path()).unwrap();
    world.put(2, 10).await.unwrap();
    assert!(world.has(2).await);
}

/// A content that never comes to its end.
struct Hanging;

impl Content for Hanging {
    fn len(&self) -> u64 {
        8 << 20
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(async move {
            if offset > 3 << 20 {
                std::future::pending::<()>().await;
            }
            Ok(Bytes::from(vec![0; max]))
        })
    }
}

#[tokio::test]
async fn a_store_that_is_given_up_leaves_nothing() {
    let world = World::new(64 << 20).await;
    let name = entry_name(1);
    let storing = world.disk.store(&name, Arc::new(Hanging));
    let given_up = tokio::time::timeout(Duration::from_millis(300), storing).await;
    assert!(given_up.is_err());
    // A write that had begun comes to its end first.
    nothing_is_left(&world).await;
    assert!(!world.has(1).await);
}

#[tokio::test]
async fn entries_are_listed_in_pages() {
    let world = World::new(1 << 20).await;
    std::fs::write(world.root.path().join("00/README"), b"not ours").unwrap();
    let mut names: Vec<_> = (0..30).map(entry_name).collect();
    for number in 0..30 {
        world.put(number, 10).await.unwrap();
    }
    names.sort();
    let mut listed = Vec::new();
    loop {
        let after = listed.last().map(|found: &Found| found.name);
        let page = world.disk.list(after, 7).await.unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert!(listed.iter().map(|found| found.name).eq(names));
    assert!(listed.iter().all(|found| found.used == START));
    assert!(listed.iter().all(|found| found.file_bytes == 66));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_look_ups_and_evictions_go_on_at_once() {
    let world = Arc::new(World::new(2 << 20).await);
    let workers = (0..8_u64).map(|worker| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for turn in 0..100 {
                let number = (worker * 37 + turn * 11) % 120;
                let len = number as usize * 1000;
                world.put(number, len).await.unwrap();
                let other = (worker * 53 + turn * 7) % 120;
                let found = fetch(&world.disk, &entry_name(other)).await.unwrap();
                assert!(found.is_none_or(|found| found == noise(other as usize * 1000)));
            }
        })
    });
    for worker in futures_util::future::join_all(workers).await {
        worker.unwrap();
    }
    assert!(world.bytes() <= 2 << 20);
    assert_eq!(world.disk.store.room.totals().reserved, 0);
    assert_eq!(world.temporaries(), 0);
    // Eviction may still go on; the count follows it.
    let counted = || world.disk.usage().unwrap().bytes == world.bytes();
    for _ in 0..100 {
        if counted() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(counted());
}

#[tokio::test]
async fn looking_at_a_store_changes_nothing() {
    let world = World::new(10 << 20).await;
    let inspect = |at: &Path| Disk::inspect(at, world.clock.clone()).unwrap();
    let elsewhere = world.root.path().join("tmp");
    assert!(inspect(&elsewhere).is_none());
    assert_eq!(std::fs::read_dir(elsewhere).unwrap().count(), 0);
    world.put(1, 1000).await.unwrap();
    world.clock.advance_micros(60 * MINUTE);
    let inspected = inspect(world.root.path()).unwrap();
    let listed = inspected.list(None, 10).await.unwrap();
    assert_eq!(listed[0].used, START);
    let found = fetch(&inspected, &entry_name(1)).await.unwrap();
    assert_eq!(found, Some(noise(1000)));
    assert_eq!(inspected.list(None, 10).await.unwrap(), listed);
    assert_eq!(inspected.usage(), None);
    // A server's own look-up is a use.
    assert!(world.has(1).await);
    assert_ne!(inspected.list(None, 10).await.unwrap(), listed);
    assert!(inspected.remove(&entry_name(1)).await.unwrap());
    assert!(!world.has(1).await);
}
