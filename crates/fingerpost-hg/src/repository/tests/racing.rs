//! A reader beside a writer that writes in hg's order.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::testing::{Revision, RevlogWriter, empty_repository};
use crate::{Changeset, Repository, RepositoryOptions, Rev, StoreError, Texts};

const TRANSACTIONS: u32 = 150;

/// Makes a file end in these bytes as hg does: what is not a beginning of them
/// is cut off, and the rest appended.
fn write_on(path: &Path, bytes: &[u8]) {
    let before = fs::read(path).unwrap_or_default();
    let same = before
        .iter()
        .zip(bytes)
        .take_while(|(old, new)| old == new)
        .count();
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    if same < before.len() {
        file.set_len(same as u64).unwrap();
    }
    file.write_all(&bytes[same..]).unwrap();
}

fn replace(path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(temporary, path).unwrap();
}

/// The changelog's index and data, and the phase roots, of these messages.
fn files_of(messages: &[String]) -> (Vec<u8>, Vec<u8>, String) {
    let mut changelog = RevlogWriter::new(false, false);
    let mut roots = String::new();
    for (at, message) in messages.iter().enumerate() {
        let text = format!("{}\nu\n0 0\n\n{message}", "0".repeat(40));
        let rev = changelog.add(Revision::root(text.as_bytes(), at as u32));
        if message.starts_with("SECRET") {
            roots += &format!("2 {}\n", changelog.node(rev));
        }
    }
    let (index, data) = changelog.bytes();
    (index, data, roots)
}

/// Adds changesets, every second one secret, and strips now and then. A strip
/// cuts the changelog off before it forgets phase roots, and then adds again
/// what came after.
fn write_transactions(store: &Path) {
    let changelog = |index: &[u8], data: &[u8]| {
        write_on(&store.join("00changelog.d"), data);
        write_on(&store.join("00changelog.i"), index);
    };
    let phaseroots = |roots: String| replace(&store.join("phaseroots"), roots.as_bytes());
    let mut messages: Vec<String> = Vec::new();
    for number in 0..TRANSACTIONS {
        if number % 10 == 9 {
            let stripped = messages.len() / 2;
            let (index, data, roots) = files_of(&messages[..stripped]);
            write_on(&store.join("00changelog.i"), &index);
            changelog(&index, &data);
            phaseroots(roots);
            messages.remove(stripped);
        }
        let kind = if number % 2 == 0 { "public" } else { "SECRET" };
        messages.push(format!("{kind} {number}"));
        let (index, data, roots) = files_of(&messages);
        phaseroots(roots);
        changelog(&index, &data);
    }
}

/// Takes a snapshot and looks at every message in it.
fn look(repository: &Repository) -> Result<usize, StoreError> {
    let snapshot = repository.snapshot()?;
    let mut texts = Texts::new(0);
    for rev in snapshot.served() {
        let text = snapshot.changelog().text(&mut texts, rev)?;
        let changeset = Changeset::parse(&text).unwrap();
        assert!(changeset.description().starts_with(b"public"));
    }
    Ok(snapshot.served().count())
}

#[test]
fn a_secret_changeset_is_never_seen_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_repository(dir.path());
    let repository =
        Repository::open(&dir.path().join(".hg"), RepositoryOptions::default()).unwrap();
    let done = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        scope.spawn(|| {
            write_transactions(&store);
            done.store(true, Ordering::Release);
        });
        let mut looks = 0;
        while !done.load(Ordering::Acquire) {
            match look(&repository) {
                Ok(_) => looks += 1,
                Err(error) => {
                    let changing = matches!(error, StoreError::Changing { .. });
                    assert!(changing || error.may_be_stale(), "{error}");
                }
            }
        }
        looks
    });
    assert!(looks > 0);
    // At rest everything is there: the reader has not stopped at something old.
    let snapshot = repository.snapshot().unwrap();
    let stripped = TRANSACTIONS / 10;
    assert_eq!(snapshot.len() as u32, TRANSACTIONS - stripped);
    let before_last = Rev::from_index(snapshot.len() - 2).unwrap();
    assert!(snapshot.is_served(before_last));
    assert_eq!(look(&repository).unwrap(), snapshot.served().count());
}
