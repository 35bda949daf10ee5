//! What the agent remembers: (method, taskhash) → unihash, and what is not known.
//!
//! A unihash that the server once gave changes only when rows are deleted there. An
//! answer is good without asking for as long as it cannot be older than
//! [`STALE_MAX`]; while the server is silent older ones are better than none, for
//! [`OFFLINE_MAX`] at most.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use tokio::time::Instant;

/// How old an answer may be while the server can be asked.
pub(crate) const STALE_MAX: Duration = Duration::from_secs(10);
/// How old one may be while it cannot.
pub(crate) const OFFLINE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long it is remembered that the server knows nothing.
const MISS_MAX: Duration = Duration::from_secs(5);
/// Bytes that an entry takes with the cache's own books.
const ENTRY_BYTES: u64 = 128;
/// Names of methods that are remembered; what has another one is asked for each time.
const METHODS_MAX: usize = 65_536;

/// A method's number in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MethodId(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    method: MethodId,
    taskhash: [u8; 32],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// `None`: the server knows nothing.
    unihash: Option<[u8; 32]>,
    /// Seconds since the start, when the server said so.
    said: u32,
}

/// What memory says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The server said so a moment ago.
    Fresh(Option<[u8; 32]>),
    /// It said so, but that may have changed.
    Old([u8; 32]),
    /// Nothing.
    Nothing,
}

/// The memory. Cheap to ask from any thread.
pub(crate) struct Knowledge {
    entries: Cache<Key, Entry, quick_cache::UnitWeighter, RandomState>,
    methods: RwLock<HashMap<Box<str>, MethodId, RandomState>>,
    origin: Instant,
    /// Seconds since the origin, kept so that a look-up reads no clock.
    now: AtomicU32,
}

impl Knowledge {
    /// A memory of at most so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let entries = (bytes / ENTRY_BYTES).max(1);
        Self {
            entries: Cache::with(
                usize::try_from(entries).unwrap_or(usize::MAX),
                entries,
                quick_cache::UnitWeighter,
                RandomState::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            ),
            methods: RwLock::default(),
            origin: Instant::now(),
            now: AtomicU32::new(0),
        }
    }

    /// Tells the time. To be called about once a second.
    pub(crate) fn tick(&self) {
        let seconds = self.origin.elapsed().as_secs();
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        self.now.store(seconds, Ordering::Relaxed);
    }

    /// The number of a method that somebody asked with before.
    pub(crate) fn method(&self, name: &str) -> Option<MethodId> {
        self.methods.read().get(name).copied()
    }

    fn intern(&self, name: &str) -> Option<MethodId> {
        if let Some(known) = self.method(name) {
            return Some(known);
        }
        let mut methods = self.methods.write();
        let next = methods.len();
        if next >= METHODS_MAX {
            return methods.get(name).copied();
        }
        let next = MethodId(u32::try_from(next).ok()?);
        Some(*methods.entry(name.into()).or_insert(next))
    }

    /// What is remembered of a task.
    #[inline]
    pub(crate) fn get(&self, method: MethodId, taskhash: &[u8; 32]) -> Known {
        let key = Key {
            method,
            taskhash: *taskhash,
        };
        let Some(entry) = self.entries.get(&key) else {
            return Known::Nothing;
        };
        let age = self.now.load(Ordering::Relaxed).saturating_sub(entry.said);
        let is_within = |limit: Duration| u64::from(age) < limit.as_secs();
        match entry.unihash {
            Some(_) if is_within(STALE_MAX) => Known::Fresh(entry.unihash),
            Some(unihash) if is_within(OFFLINE_MAX) => Known::Old(unihash),
            None if is_within(MISS_MAX) => Known::Fresh(None),
            _ => Known::Nothing,
        }
    }

    /// Remembers what the server says of a task now.
    pub(crate) fn put(&self, method: &str, taskhash: &[u8; 32], unihash: Option<[u8; 32]>) {
        let Some(method) = self.intern(method) else {
            return;
        };
        let key = Key {
            method,
            taskhash: *taskhash,
        };
        let said = self.now.load(Ordering::Relaxed);
        self.entries.insert(key, Entry { unihash, said });
    }

    /// Forgets that nothing is known of a task: it is being reported here.
    pub(crate) fn forget_miss(&self, method: &str, taskhash: &[u8; 32]) {
        let Some(method) = self.method(method) else {
            return;
        };
        let key = Key {
            method,
            taskhash: *taskhash,
        };
        self.entries
            .remove_if(&key, |entry| entry.unihash.is_none());
    }

    /// Answers that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: [u8; 32] = [1; 32];
    const UNIHASH: [u8; 32] = [2; 32];

    fn later(knowledge: &Knowledge, by: Duration) {
        let seconds = u32::try_from(by.as_secs()).unwrap();
        knowledge.now.fetch_add(seconds, Ordering::Relaxed);
    }

    #[test]
    fn an_answer_grows_old_and_is_forgotten_at_last() {
        let knowledge = Knowledge::new(1 << 20);
        assert!(knowledge.method("m").is_none());
        knowledge.put("m", &TASK, Some(UNIHASH));
        let method = knowledge.method("m").unwrap();
        assert_eq!(knowledge.get(method, &TASK), Known::Fresh(Some(UNIHASH)));
        later(&knowledge, STALE_MAX);
        assert_eq!(knowledge.get(method, &TASK), Known::Old(UNIHASH));
        later(&knowledge, OFFLINE_MAX);
        assert_eq!(knowledge.get(method, &TASK), Known::Nothing);
    }

    #[test]
    fn a_miss_is_remembered_briefly_and_forgotten_with_a_report() {
        let knowledge = Knowledge::new(1 << 20);
        knowledge.put("m", &TASK, None);
        let method = knowledge.method("m").unwrap();
        assert_eq!(knowledge.get(method, &TASK), Known::Fresh(None));
        later(&knowledge, MISS_MAX);
        assert_eq!(knowledge.get(method, &TASK), Known::Nothing);
        knowledge.put("m", &TASK, None);
        knowledge.forget_miss("m", &TASK);
        assert_eq!(knowledge.get(method, &TASK), Known::Nothing);
    }

    #[test]
    fn memory_is_bounded() {
        let knowledge = Knowledge::new(ENTRY_BYTES * 100);
        for number in 0..1000_u64 {
            let mut taskhash = TASK;
            taskhash[..8].copy_from_slice(&number.to_le_bytes());
            knowledge.put("m", &taskhash, Some(UNIHASH));
        }
        assert!(knowledge.len() <= 100);
    }
}
