//! The cache in front of the store: (namespace, method, taskhash) → unihash.
//!
//! Only *found* answers are remembered, and only pairs of 32-byte hashes. A
//! found answer changes only when rows are deleted. So whoever deletes removes
//! the keys here before the deletion is answered, and a look-up that read the
//! store before the deletion cannot put its answer here afterwards: it holds a
//! [`Fill`] of the older generation, which is refused.
//!
//! An entry is remembered for [`LIFE_HOURS_MAX`] hours at most: `uses` says why.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use fingerpost_core::Timestamp;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, UnitWeighter};

use crate::namespace::NamespaceId;
use crate::sharded::Padded;
use crate::uses::LIFE_HOURS_MAX;

/// A method's number, the same for the life of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodId(pub(crate) u32);

impl MethodId {
    /// The same method within a namespace.
    pub(crate) const fn within(self, namespace: NamespaceId) -> MethodWithin {
        MethodWithin((namespace.0 as u64) << 32 | self.0 as u64)
    }
}

impl MethodWithin {
    /// The namespace and the method that it was made of.
    pub(crate) const fn parts(self) -> (NamespaceId, MethodId) {
        (NamespaceId((self.0 >> 32) as u32), MethodId(self.0 as u32))
    }
}

/// A method within a namespace, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodWithin(u64);

/// What the cache is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CachedTask {
    /// The method, and the namespace whose answer it is: its own or what it fell
    /// back to.
    pub method: MethodWithin,
    /// The taskhash.
    pub taskhash: [u8; 32],
}

/// The right to put answers into the cache that were read since it was taken.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    generation: u64,
}

/// What is remembered: a unihash, and the hour when it was put here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) unihash: [u8; 32],
    /// Hours since 1970, as they fit.
    pub(crate) hour: u16,
}

/// Bytes that one entry takes, measured: key 40, value 34, and the cache's own
/// books. `docs/performance.md` has the figure.
pub const ENTRY_BYTES: u64 = 128;

/// Method names that are remembered; look-ups with further ones go to the store.
const METHODS_MAX: usize = 65_536;

const HOUR_MICROS: i64 = 3_600_000_000;

/// The cache. Cheap to ask from any thread.
pub struct UnihashCache {
    entries: Cache<CachedTask, Remembered, UnitWeighter, RandomState, Evictions>,
    hour: Arc<Hour>,
    evictions: Evictions,
    bytes_max: u64,
    generation: RwLock<u64>,
    revision: AtomicU64,
    methods: RwLock<HashMap<Box<[u8]>, MethodId, RandomState>>,
}

impl UnihashCache {
    /// Makes a cache of at most `bytes`.
    pub fn new(bytes: u64) -> Self {
        let entries = (bytes / ENTRY_BYTES).max(1);
        let evictions = Evictions::default();
        let hour = Arc::clone(&evictions.hour);
        Self {
            bytes_max: entries * ENTRY_BYTES,
            entries: Cache::with(
                usize::try_from(entries).unwrap_or(usize::MAX),
                entries,
                UnitWeighter,
                RandomState::default(),
                evictions.clone(),
            ),
            hour,
            evictions,
            generation: RwLock::new(0),
            revision: AtomicU64::new(0),
            methods: RwLock::default(),
        }
    }

    /// The remembered unihash, unless it was put here too long ago.
    pub fn get(&self, task: &CachedTask) -> Option<[u8; 32]> {
        let entry = self.entries.get(task)?;
        self.hour.is_young(task, &entry).then_some(entry.unihash)
    }

    /// Tells the time; once an hour is enough.
    pub fn set_hour(&self, now: Timestamp) {
        let hours = now.0.div_euclid(HOUR_MICROS);
        let hour = hours.rem_euclid(1 << u16::BITS) as u16;
        // A line of memory that every look-up reads is written when it has to be.
        if self.hour.now() != hour {
            self.hour.0.0.store(hour, Ordering::Relaxed);
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Bytes that the entries take, going by [`ENTRY_BYTES`].
    pub fn bytes(&self) -> u64 {
        self.entries.len() as u64 * ENTRY_BYTES
    }

    /// Bytes that they may take.
    pub const fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Entries that had to leave for others since the start.
    pub fn evictions(&self) -> u64 {
        self.evictions.count.load(Ordering::Relaxed)
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
        let (hour, mut put) = (self.hour.now(), 0);
        for (task, unihash) in found {
            self.entries.insert(task, Remembered { unihash, hour });
            put += 1;
        }
        self.revision.fetch_add(put, Ordering::Relaxed);
    }

    /// As [`UnihashCache::fill`] with the hours of another cache, but leaves what is
    /// there already, and puts nothing out to make room. How many were put; `None` when rows were deleted meanwhile.
    /// Deletions wait for this: give it some hundred at a time.
    pub(crate) fn fill_missing(
        &self,
        fill: Fill,
        found: impl IntoIterator<Item = (CachedTask, Remembered)>,
    ) -> Option<u64> {
        let generation = self.generation.read();
        if *generation != fill.generation {
            return None;
        }
        let mut room = self.entries_max().saturating_sub(self.entries.len() as u64);
        let mut put = 0;
        for (task, entry) in found {
            if room == 0 {
                break;
            }
            if self.hour.is_young(&task, &entry) && !self.entries.contains_key(&task) {
                self.entries.insert(task, entry);
                room -= 1;
                put += 1;
            }
        }
        self.revision.fetch_add(put, Ordering::Relaxed);
        Some(put)
    }

    /// Makes room for this many entries more, as far as there may be so many: growing
    /// later, while others wait, would move what is there.
    pub(crate) fn reserve(&self, entries: u64) {
        let room = self.entries_max().saturating_sub(self.entries.len() as u64);
        let entries = usize::try_from(entries.min(room)).unwrap_or(usize::MAX);
        self.entries.reserve(entries);
    }

    /// Every entry that is there from now to the end, and perhaps some of those that
    /// come or go meanwhile. Holds no lock between two of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CachedTask, Remembered)> {
        let entries = self.entries.iter();
        entries.filter(|(task, entry)| self.hour.is_young(task, entry))
    }

    /// Entries that there may be.
    pub(crate) const fn entries_max(&self) -> u64 {
        self.bytes_max / ENTRY_BYTES
    }

    /// Another number whenever entries came or were forgotten.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// The methods that were met, in no order.
    pub(crate) fn methods(&self) -> Vec<(Box<[u8]>, MethodId)> {
        let methods = self.methods.read();
        methods
            .iter()
            .map(|(name, id)| (name.clone(), *id))
            .collect()
    }

    /// Forgets deleted rows. Returns before the deletion is answered.
    pub fn forget(&self, tasks: &[CachedTask]) {
        let mut generation = self.generation.write();
        *generation += 1;
        self.revision.fetch_add(1, Ordering::Relaxed);
        for task in tasks {
            self.entries.remove(task);
        }
    }

    /// Forgets everything: another process deleted rows.
    pub fn forget_all(&self) {
        let mut generation = self.generation.write();
        *generation += 1;
        self.revision.fetch_add(1, Ordering::Relaxed);
        self.entries.clear();
    }

    /// Forgets everything and the numbers of methods: the database begins another life.
    pub(crate) fn forget_life(&self) {
        self.methods.write().clear();
        self.forget_all();
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

/// Hours since 1970, as they fit. On a line of memory of its own: every look-up reads it.
#[derive(Debug, Default)]
struct Hour(Padded<AtomicU16>);

impl Hour {
    fn now(&self) -> u16 {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Whether an entry is still answered. Of those that came together not all go
    /// together.
    fn is_young(&self, task: &CachedTask, entry: &Remembered) -> bool {
        let life = LIFE_HOURS_MAX - u16::from(task.taskhash[0] % 8);
        self.now().wrapping_sub(entry.hour) < life
    }
}

/// Counts entries that leave for others, but not those that were too old anyway: they
/// are put here again.
#[derive(Clone, Default)]
struct Evictions {
    count: Arc<AtomicU64>,
    hour: Arc<Hour>,
}

impl Lifecycle<CachedTask, Remembered> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), task: CachedTask, entry: Remembered) {
        let is_young = self.hour.is_young(&task, &entry);
        self.count.fetch_add(u64::from(is_young), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
