//! The cache in front of the store: (method, taskhash) → unihash.
//!
//! Only *found* answers are remembered, and only pairs of 32-byte hashes. A
//! found answer changes only when rows are deleted. So whoever deletes removes
//! the keys here before the deletion is answered, and a look-up that read the
//! store before the deletion cannot put its answer here afterwards: it holds a
//! [`Fill`] of the older generation, which is refused.

mod table;

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::RwLock;

use table::Table;

/// A method's number, the same for the life of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodId(pub(crate) u32);

impl MethodId {
    /// No method has this number: nothing is found with it.
    pub const NONE: Self = Self(u32::MAX);
}

/// What the cache is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CachedTask {
    /// The method.
    pub method: MethodId,
    /// The taskhash.
    pub taskhash: [u8; 32],
}

/// The right to put answers into the cache that were read since it was taken.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    generation: u64,
}

/// Bytes that one entry takes.
pub const ENTRY_BYTES: u64 = table::ENTRY_BYTES;

/// Entries of a new cache at most; it grows as it fills.
const ENTRIES_AT_FIRST: usize = 16_384;
/// How many times as large each next size is.
const GROWTH: usize = 4;

/// Method names that are remembered; look-ups with further ones go to the store.
const METHODS_MAX: usize = 65_536;

/// The cache. Cheap to ask from any thread.
pub struct UnihashCache {
    table: ArcSwap<Table>,
    entries_max: usize,
    growing: AtomicBool,
    hasher: RandomState,
    generation: RwLock<u64>,
    methods: RwLock<HashMap<Box<[u8]>, MethodId, RandomState>>,
}

impl UnihashCache {
    /// Makes a cache of at most `bytes`.
    pub fn new(bytes: u64) -> Self {
        let entries = (bytes / ENTRY_BYTES).max(1);
        let entries_max = usize::try_from(entries).unwrap_or(usize::MAX);
        Self {
            table: ArcSwap::from_pointee(Table::new(first_size(entries_max))),
            entries_max,
            growing: AtomicBool::new(false),
            hasher: RandomState::default(),
            generation: RwLock::new(0),
            methods: RwLock::default(),
        }
    }

    /// The remembered unihash.
    pub fn get(&self, task: &CachedTask) -> Option<[u8; 32]> {
        self.table.load().get(self.hasher.hash_one(task), task)
    }

    /// The remembered unihashes of several tasks, in order. Cheaper than one by
    /// one: the waits for memory overlap.
    pub fn get_each(&self, tasks: &[CachedTask], found: impl FnMut(Option<[u8; 32]>)) {
        let hashed = tasks.iter().map(|task| (self.hasher.hash_one(task), task));
        self.table.load().get_each(hashed, found);
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.table.load().len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the cache is half full and may be larger: then the caller runs
    /// [`UnihashCache::grow`] where a tenth of a second does not matter. Says so
    /// to one caller only.
    pub fn wants_growth(&self) -> bool {
        let table = self.table.load();
        let crowded = table.len() >= table.capacity() / 2 && table.capacity() < self.entries_max;
        crowded && !self.growing.swap(true, Ordering::Relaxed)
    }

    /// Moves everything into a larger table. Look-ups go on meanwhile; deletions
    /// wait, since a deleted row must not be carried over.
    pub fn grow(&self) {
        let generation = self.generation.read();
        let small = self.table.load_full();
        let entries = small.capacity().saturating_mul(GROWTH);
        let large = Table::new(entries.min(self.entries_max));
        small.for_each(|task, unihash| {
            large.insert(self.hasher.hash_one(task), &task, &unihash);
        });
        self.table.store(Arc::new(large));
        drop(generation);
        self.growing.store(false, Ordering::Relaxed);
    }

    /// Call before reading the store.
    pub fn begin_fill(&self) -> Fill {
        Fill {
            generation: *self.generation.read(),
        }
    }

    /// Remembers what was read since `fill` was taken; nothing when rows were
    /// deleted meanwhile.
    pub fn fill(&self, fill: Fill, found: impl IntoIterator<Item = (CachedTask, [u8; 32])>) {
        let generation = self.generation.read();
        if *generation != fill.generation {
            return;
        }
        let table = self.table.load();
        for (task, unihash) in found {
            table.insert(self.hasher.hash_one(task), &task, &unihash);
        }
    }

    /// Forgets deleted rows. Returns before the deletion is answered.
    pub fn forget(&self, tasks: &[CachedTask]) {
        let mut generation = self.generation.write();
        *generation += 1;
        let table = self.table.load();
        for task in tasks {
            table.remove(self.hasher.hash_one(task), task);
        }
    }

    /// Forgets everything: another process deleted rows.
    pub fn forget_all(&self) {
        let mut generation = self.generation.write();
        *generation += 1;
        let empty = Table::new(first_size(self.entries_max));
        self.table.store(Arc::new(empty));
    }

    /// The number of a method that was met before.
    pub fn method(&self, name: &[u8]) -> Option<MethodId> {
        self.methods.read().get(name).copied()
    }

    /// Remembers the number of a method.
    pub fn learn_method(&self, name: &[u8], id: MethodId) {
        let mut methods = self.methods.write();
        if methods.len() < METHODS_MAX {
            methods.insert(name.into(), id);
        }
    }
}

/// The size that becomes `entries_max` when it is multiplied a few times.
fn first_size(entries_max: usize) -> usize {
    let mut entries = entries_max;
    while entries > ENTRIES_AT_FIRST {
        entries = entries.div_ceil(GROWTH);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(byte: u8) -> CachedTask {
        CachedTask {
            method: MethodId(1),
            taskhash: [byte; 32],
        }
    }

    #[test]
    fn found_answers_are_remembered_until_they_are_deleted() {
        let cache = UnihashCache::new(1 << 20);
        cache.fill(cache.begin_fill(), [(task(1), [9; 32]), (task(2), [8; 32])]);
        assert_eq!(cache.get(&task(1)), Some([9; 32]));
        cache.forget(&[task(1)]);
        assert_eq!(cache.get(&task(1)), None);
        assert_eq!(cache.get(&task(2)), Some([8; 32]));
    }

    #[test]
    fn an_answer_read_before_a_deletion_is_not_remembered_after_it() {
        let cache = UnihashCache::new(1 << 20);
        let fill = cache.begin_fill();
        cache.forget(&[task(1)]);
        cache.fill(fill, [(task(1), [9; 32])]);
        assert!(cache.is_empty());
        let fill = cache.begin_fill();
        cache.forget_all();
        cache.fill(fill, [(task(1), [9; 32])]);
        assert!(cache.is_empty());
    }

    #[test]
    fn the_cache_keeps_its_bound() {
        let cache = UnihashCache::new(100 * ENTRY_BYTES);
        fill(&cache, 0..10_000);
        assert!(cache.len() <= 110, "{} entries", cache.len());
    }

    fn numbered(number: u32) -> CachedTask {
        let mut taskhash = [0; 32];
        taskhash[..4].copy_from_slice(&number.to_le_bytes());
        let method = MethodId(1);
        CachedTask { method, taskhash }
    }

    fn fill(cache: &UnihashCache, numbers: std::ops::Range<u32>) {
        for task in numbers.map(numbered) {
            cache.fill(cache.begin_fill(), [(task, task.taskhash)]);
            if cache.wants_growth() {
                cache.grow();
            }
        }
    }

    #[test]
    fn the_cache_grows_as_it_fills() {
        let cache = UnihashCache::new(1_000_000 * ENTRY_BYTES);
        assert!(cache.table.load().capacity() <= ENTRIES_AT_FIRST + 8);
        fill(&cache, 0..100_000);
        let tasks: Vec<CachedTask> = (0..100_000).map(numbered).collect();
        let mut expected = tasks.iter();
        let mut known = 0;
        cache.get_each(&tasks, |found| {
            let task = expected.next().unwrap();
            assert!(found.is_none_or(|unihash| unihash == task.taskhash));
            known += u32::from(found.is_some());
        });
        assert!(expected.next().is_none());
        assert!(known > 99_000, "{known}");
    }

    #[test]
    fn what_is_deleted_while_the_cache_grows_does_not_come_back() {
        let cache = UnihashCache::new(1_000_000 * ENTRY_BYTES);
        fill(&cache, 0..50_000);
        std::thread::scope(|scope| {
            scope.spawn(|| cache.grow());
            for number in 0..50_000 {
                cache.forget(&[numbered(number)]);
                assert_eq!(cache.get(&numbered(number)), None);
            }
        });
        assert!(cache.is_empty());
    }

    #[test]
    fn methods_are_learnt() {
        let cache = UnihashCache::new(1);
        assert_eq!(cache.method(b"m"), None);
        cache.learn_method(b"m", MethodId(7));
        assert_eq!(cache.method(b"m"), Some(MethodId(7)));
    }
}
