use std::fs;
use std::path::Path;

use super::*;
use crate::error::StoreError;
use crate::revlog::{RevlogName, Scratch};
use crate::store::{Limits, Store};
use crate::testing::{Revision, RevlogWriter, empty_repository};
use crate::texts::Texts;

const NAME: RevlogName<'_> = RevlogName::Filelog(b"f");

fn writer(len: usize, salt: &str) -> RevlogWriter {
    let mut writer = RevlogWriter::new(false, true);
    for rev in 0..len {
        let text = format!("{salt}{rev}\n");
        match rev.checked_sub(1) {
            None => writer.add(Revision::root(text.as_bytes(), 0)),
            Some(parent) => writer.add(Revision::child(Rev(parent as u32), text.as_bytes(), 0)),
        };
    }
    writer
}

fn store(dir: &Path, memory: &Arc<Verified>) -> Store {
    Store::open(&dir.join(".hg"), None, Limits::default(), memory.clone()).unwrap()
}

fn verify_all(revlog: &Revlog) -> Result<(), StoreError> {
    let mut texts = Texts::new(1 << 20);
    revlog
        .revs()
        .try_for_each(|rev| revlog.ensure_verified(rev, &mut texts))
}

fn verified(revlog: &Revlog) -> usize {
    revlog.revs().filter(|rev| revlog.is_verified(*rev)).count()
}

#[test]
fn what_was_verified_is_known_when_the_file_is_opened_again() {
    for len in [3, 64, 65, 300] {
        let (dir, memory) = (tempfile::tempdir().unwrap(), Arc::default());
        writer(len, "").write_filelog(&empty_repository(dir.path()), "f");
        let store = store(dir.path(), &memory);
        let revlog = Revlog::open(&store, NAME).unwrap();
        assert_eq!(verified(&revlog), 0);
        verify_all(&revlog).unwrap();
        let again = Revlog::open(&store, NAME).unwrap();
        assert_eq!(verified(&again), len);
        assert_eq!(memory.files(), 1);
    }
}

#[test]
fn growth_forgets_nothing() {
    for (before, after) in [(3, 5), (60, 70), (70, 80), (70, 700)] {
        let (dir, memory) = (tempfile::tempdir().unwrap(), Arc::default());
        let path = empty_repository(dir.path());
        writer(before, "").write_filelog(&path, "f");
        let store = store(dir.path(), &memory);
        verify_all(&Revlog::open(&store, NAME).unwrap()).unwrap();
        writer(after, "").write_filelog(&path, "f");
        let revlog = Revlog::open(&store, NAME).unwrap();
        assert_eq!((revlog.len(), verified(&revlog)), (after, before));
    }
}

#[test]
fn other_revisions_forget_everything() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), Arc::default());
    let path = empty_repository(dir.path());
    writer(5, "").write_filelog(&path, "f");
    let store = store(dir.path(), &memory);
    verify_all(&Revlog::open(&store, NAME).unwrap()).unwrap();
    for (len, salt) in [(9, "other"), (4, "other"), (4, "third")] {
        writer(len, salt).write_filelog(&path, "f");
        let revlog = Revlog::open(&store, NAME).unwrap();
        assert_eq!(verified(&revlog), 0, "{len} {salt}");
        verify_all(&revlog).unwrap();
    }
}

#[test]
fn changed_data_without_growth_forgets_everything() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), Arc::default());
    let path = empty_repository(dir.path());
    let mut damaged = writer(5, "");
    damaged.write_filelog(&path, "f");
    let store = store(dir.path(), &memory);
    verify_all(&Revlog::open(&store, NAME).unwrap()).unwrap();
    *damaged.chunks_mut()[2].last_mut().unwrap() ^= 1;
    // The clock of files ticks in steps; one between them is enough.
    let stamp = store.stamp("data/f.d").unwrap();
    while store.stamp("data/f.d").unwrap() == stamp {
        damaged.write_filelog(&path, "f");
    }
    let revlog = Revlog::open(&store, NAME).unwrap();
    assert_eq!(verified(&revlog), 0);
    assert!(verify_all(&revlog).is_err());
}

#[test]
fn an_older_reader_cannot_vouch_for_a_newer_file() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), Arc::default());
    let path = empty_repository(dir.path());
    writer(5, "").write_filelog(&path, "f");
    let store = store(dir.path(), &memory);
    let old = Revlog::open(&store, NAME).unwrap();
    assert_eq!(verified(&old), 0);
    let (index, data) = writer(5, "other").bytes();
    fs::write(path.join("data/f.d"), data).unwrap();
    fs::write(path.join("data/f.i"), index).unwrap();
    let new = Revlog::open(&store, NAME).unwrap();
    assert_eq!(verified(&new), 0);
    old.revs().for_each(|rev| old.set_verified(rev));
    assert_eq!(verified(&Revlog::open(&store, NAME).unwrap()), 0);
}

#[test]
fn an_older_reader_who_comes_late_makes_nothing_forgotten() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), Arc::default());
    let path = empty_repository(dir.path());
    writer(5, "").write_filelog(&path, "f");
    let store = store(dir.path(), &memory);
    let old = Revlog::open(&store, NAME).unwrap();
    // Times of change are told apart by the second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    writer(9, "").write_filelog(&path, "f");
    verify_all(&Revlog::open(&store, NAME).unwrap()).unwrap();
    assert_eq!(verified(&old), 0);
    verify_all(&old).unwrap();
    assert_eq!(verified(&old), 5);
    assert_eq!(verified(&Revlog::open(&store, NAME).unwrap()), 9);
}

#[test]
fn the_memory_keeps_to_its_budget() {
    let (dir, memory) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Verified::new(64 << 10)),
    );
    let path = empty_repository(dir.path());
    let store = store(dir.path(), &memory);
    for index in 0..2000 {
        let name = format!("f{index}");
        writer(1, &name).write_filelog(&path, &name);
        let revlog = Revlog::open(&store, RevlogName::Filelog(name.as_bytes())).unwrap();
        verify_all(&revlog).unwrap();
        assert!(memory.bytes() <= 64 << 10);
    }
    assert!(memory.files() > 100);
}

#[test]
fn a_hundred_thousand_small_files_take_less_than_ten_megabytes() {
    // Sixteen tables, each the next power of two over 8/7 of its files.
    let slot = size_of::<((u64, u64), Known)>() + 1;
    let slots = SHARDS * (100_000 / SHARDS * 8 / 7 + 1).next_power_of_two();
    assert!(slot * slots < 10_000_000, "{} bytes", slot * slots);
    assert!(slot <= FILE_BYTES);
}

#[test]
fn a_revlog_in_memory_remembers_for_itself() {
    let (index, data) = writer(70, "").bytes();
    let revlog = Revlog::from_bytes("f.i", index, data, Limits::default()).unwrap();
    verify_all(&revlog).unwrap();
    assert_eq!(verified(&revlog), 70);
    assert!(revlog.chunk(Rev(0), &mut Scratch::default()).is_ok());
}
