//! The cache's memory: a table of fixed size that readers never lock.
//!
//! A look-up in a large table costs what memory costs: nearly nothing but the
//! waits for lines that no processor's cache holds. So everything is laid out by
//! the line of 64 bytes. A set has eight places; one line says what is where,
//! and each entry is one line. A look-up reads two lines, and
//! [`Table::get_each`] asks for the lines of many look-ups before it waits for
//! the first.
//!
//! Readers take no lock. A writer makes the set's version odd while it changes
//! something; a reader who saw an odd version, or another one afterwards, knows
//! nothing, which is always a right answer of a cache.
//!
//! A key may lie in either of two sets. That fills a table to nine tenths before
//! anything is lost, where a single set would lose a fiftieth at a half.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize, fence};

use parking_lot::{Mutex, MutexGuard};

use super::{CachedTask, MethodId};

/// Bytes of one entry: its line and its share of the set's first line.
pub(super) const ENTRY_BYTES: u64 = (size_of::<Set>() / WAYS) as u64;

/// Places of a set.
const WAYS: usize = 8;

/// Words of a set's first line: the version in the low half of the first, with
/// the hand of the clock in the high half; two words of tags, 16 bits each;
/// four of methods; one of uses, a byte each.
const VERSION: usize = 0;
const TAGS: usize = 1;
const METHODS: usize = 3;
const USES: usize = 7;

const HAND: u64 = 1 << 32;
const LANES: u64 = 0x0001_0001_0001_0001;

/// An entry that was used this often is passed over as often by the hand.
const USES_MAX: u64 = 3;

/// Writers of different sets mostly take different locks.
const LOCKS: usize = 64;

/// Look-ups whose lines are asked for together; a processor has about as many
/// reads from memory on their way.
const TOGETHER: usize = 16;

/// Words of a hash of 32 bytes.
type Words = [u64; 4];

#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

#[derive(Default)]
struct Set {
    head: Line,
    /// Taskhash and unihash, four words each.
    entries: [Line; WAYS],
}

/// See the module.
pub(super) struct Table {
    sets: Box<[Set]>,
    len: AtomicUsize,
    locks: [Mutex<()>; LOCKS],
}

/// Where a key may lie, and what tells it from most others there.
#[derive(Clone, Copy)]
struct Place {
    sets: [usize; 2],
    tag: u64,
}

impl Table {
    /// A table of at least `entries`, and of one set.
    pub(super) fn new(entries: usize) -> Self {
        let sets = entries.div_ceil(WAYS).max(1);
        Self {
            sets: (0..sets).map(|_| Set::default()).collect(),
            len: AtomicUsize::new(0),
            locks: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    /// Entries that fit.
    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// Entries that are there.
    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// The remembered unihash. `hash` is that of the whole task.
    pub(super) fn get(&self, hash: u64, task: &CachedTask) -> Option<[u8; 32]> {
        let place = self.place(hash);
        let key = words(&task.taskhash);
        let [first, second] = place.sets;
        self.sets[first]
            .get(place.tag, task.method.0, &key)
            .or_else(|| self.sets[second].get(place.tag, task.method.0, &key))
    }

    /// The remembered unihashes of many tasks, in order.
    pub(super) fn get_each<'a>(
        &self,
        tasks: impl IntoIterator<Item = (u64, &'a CachedTask)>,
        mut found: impl FnMut(Option<[u8; 32]>),
    ) {
        let mut tasks = tasks.into_iter();
        let mut together: [Option<(u64, &CachedTask)>; TOGETHER] = [None; TOGETHER];
        loop {
            let mut count = 0;
            for (slot, task) in together.iter_mut().zip(&mut tasks) {
                *slot = Some(task);
                count += 1;
            }
            if count == 0 {
                return;
            }
            let batch = || together[..count].iter().flatten();
            self.ask_for_lines(batch().map(|(hash, _)| *hash));
            batch().for_each(|(hash, task)| found(self.get(*hash, task)));
        }
    }

    /// Reads a word of each line that look-ups will want. The reads do not
    /// depend on each other, so that the processor waits for all of them at once.
    fn ask_for_lines(&self, hashes: impl Iterator<Item = u64> + Clone) {
        let mut sum = 0;
        for hash in hashes.clone() {
            let set = &self.sets[self.place(hash).sets[0]];
            sum ^= set.head.0[TAGS].load(Relaxed);
        }
        for hash in hashes {
            let place = self.place(hash);
            let set = &self.sets[place.sets[0]];
            if let Some(way) = set.tagged(place.tag).next() {
                sum ^= set.entries[way].0[0].load(Relaxed);
            }
        }
        // Without a use the reads would be left out.
        std::hint::black_box(sum);
    }

    /// Remembers an entry; when both of its sets are full, one that was not used
    /// lately is forgotten for it.
    pub(super) fn insert(&self, hash: u64, task: &CachedTask, unihash: &[u8; 32]) {
        let place = self.place(hash);
        let entry = Entry {
            tag: place.tag,
            method: task.method.0,
            key: words(&task.taskhash),
            value: words(unihash),
        };
        // Another thread may put the same entry into the other set meanwhile:
        // then it is there twice, and both are right.
        for set in place.sets {
            let set = self.write(set);
            if set.replace(&entry) || set.add(&entry) {
                return;
            }
        }
        self.write(place.sets[0]).displace(&entry);
    }

    /// Forgets an entry.
    pub(super) fn remove(&self, hash: u64, task: &CachedTask) {
        let place = self.place(hash);
        for set in place.sets {
            self.write(set)
                .remove(place.tag, task.method.0, &words(&task.taskhash));
        }
    }

    /// Hands every entry to `each`.
    pub(super) fn for_each(&self, mut each: impl FnMut(CachedTask, [u8; 32])) {
        for index in 0..self.sets.len() {
            let writing = self.write(index);
            let set = writing.set;
            for way in (0..WAYS).filter(|way| set.tag(*way) != 0) {
                let line = &set.entries[way].0;
                let method = MethodId(set.method(way));
                let taskhash = bytes(&read(&line[..4]));
                each(CachedTask { method, taskhash }, bytes(&read(&line[4..])));
            }
        }
    }

    fn place(&self, hash: u64) -> Place {
        let scaled = |hash: u64| ((u128::from(hash) * self.sets.len() as u128) >> 64) as usize;
        // The tag comes from bits that hardly decide about the sets.
        let second = hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Place {
            sets: [scaled(hash), scaled(second)],
            tag: (hash & 0xffff).max(1),
        }
    }

    fn write(&self, index: usize) -> Writing<'_> {
        let guard = self.locks[index % LOCKS].lock();
        Writing {
            set: &self.sets[index],
            len: &self.len,
            _guard: guard,
        }
    }
}

impl Set {
    #[inline]
    fn get(&self, tag: u64, method: u32, key: &Words) -> Option<[u8; 32]> {
        let version = self.head.0[VERSION].load(Acquire);
        if version & 1 == 1 {
            return None;
        }
        let way = self.find(tag, method, key)?;
        let value = read(&self.entries[way].0[4..]);
        // Everything above was read before the version is read again.
        fence(Acquire);
        if self.head.0[VERSION].load(Relaxed) != version {
            return None;
        }
        self.note_use(way);
        Some(bytes(&value))
    }

    #[inline]
    fn find(&self, tag: u64, method: u32, key: &Words) -> Option<usize> {
        self.tagged(tag).find(|&way| {
            self.tag(way) == tag
                && self.method(way) == method
                && read::<4>(&self.entries[way].0[..4]) == *key
        })
    }

    /// The places that may have this tag; those that have it are among them.
    #[inline]
    fn tagged(&self, tag: u64) -> impl Iterator<Item = usize> {
        let matches = |word: u64| {
            let differing = word ^ (tag * LANES);
            differing.wrapping_sub(LANES) & !differing & (LANES << 15)
        };
        let low = matches(self.head.0[TAGS].load(Relaxed));
        let high = matches(self.head.0[TAGS + 1].load(Relaxed));
        // A bit for each lane, at its top: together sixteen bits apart.
        let mut lanes = (low >> 1) | high;
        std::iter::from_fn(move || {
            let bit = lanes.trailing_zeros();
            lanes &= lanes.wrapping_sub(1);
            match bit {
                64 => None,
                bit if bit % 16 == 14 => Some(bit as usize / 16),
                bit => Some(bit as usize / 16 + 4),
            }
        })
    }

    fn tag(&self, way: usize) -> u64 {
        self.head.0[TAGS + way / 4].load(Relaxed) >> (way % 4 * 16) & 0xffff
    }

    fn method(&self, way: usize) -> u32 {
        (self.head.0[METHODS + way / 2].load(Relaxed) >> (way % 2 * 32)) as u32
    }

    fn uses(&self, way: usize) -> u64 {
        self.head.0[USES].load(Relaxed) >> (way * 8) & 0xff
    }

    #[inline]
    fn note_use(&self, way: usize) {
        // Threads that look at the same time may add one too many each; a byte
        // has room for more threads than there are.
        if self.uses(way) < USES_MAX {
            self.head.0[USES].fetch_add(1 << (way * 8), Relaxed);
        }
    }
}

struct Entry {
    tag: u64,
    method: u32,
    key: Words,
    value: Words,
}

/// A set while its lock is held.
struct Writing<'a> {
    set: &'a Set,
    len: &'a AtomicUsize,
    _guard: MutexGuard<'a, ()>,
}

impl Writing<'_> {
    /// Gives a known key its value.
    fn replace(&self, entry: &Entry) -> bool {
        let Some(way) = self.set.find(entry.tag, entry.method, &entry.key) else {
            return false;
        };
        self.change(|| store(&self.set.entries[way].0[4..], &entry.value));
        true
    }

    /// Puts an entry into an empty place.
    fn add(&self, entry: &Entry) -> bool {
        let Some(way) = (0..WAYS).find(|way| self.set.tag(*way) == 0) else {
            return false;
        };
        self.len.fetch_add(1, Relaxed);
        self.change(|| self.put(way, entry));
        true
    }

    /// Puts an entry into the first place from the hand on that was not used
    /// since the hand came by last.
    fn displace(&self, entry: &Entry) {
        // Another thread may have come first and made room, or put it here.
        if self.replace(entry) || self.add(entry) {
            return;
        }
        let head = &self.set.head.0;
        let mut way = (head[VERSION].load(Relaxed) / HAND) as usize % WAYS;
        for _ in 0..WAYS * USES_MAX as usize {
            if self.set.uses(way) == 0 {
                break;
            }
            head[USES].fetch_sub(1 << (way * 8), Relaxed);
            way = (way + 1) % WAYS;
        }
        self.change(|| self.put(way, entry));
        let hand = (way as u64 + 1) % WAYS as u64 * HAND;
        let version = head[VERSION].load(Relaxed) % HAND;
        head[VERSION].store(hand | version, Release);
    }

    fn remove(&self, tag: u64, method: u32, key: &Words) {
        let Some(way) = self.set.find(tag, method, key) else {
            return;
        };
        self.len.fetch_sub(1, Relaxed);
        self.change(|| self.set_tag(way, 0));
    }

    /// Keeps readers from believing what they read meanwhile.
    fn change(&self, change: impl FnOnce()) {
        let version = &self.set.head.0[VERSION];
        let before = version.load(Relaxed);
        let (hand, count) = (before & !(HAND - 1), before & (HAND - 1));
        version.store(before | 1, Relaxed);
        // Nothing below is seen before the odd version.
        fence(Release);
        change();
        version.store(hand | (count + 2) & (HAND - 1), Release);
    }

    fn put(&self, way: usize, entry: &Entry) {
        store(&self.set.entries[way].0[..4], &entry.key);
        store(&self.set.entries[way].0[4..], &entry.value);
        let (word, shift) = (&self.set.head.0[METHODS + way / 2], way % 2 * 32);
        let others = word.load(Relaxed) & !(0xffff_ffff << shift);
        word.store(others | u64::from(entry.method) << shift, Relaxed);
        self.set.head.0[USES].fetch_and(!(0xff << (way * 8)), Relaxed);
        self.set_tag(way, entry.tag);
    }

    fn set_tag(&self, way: usize, tag: u64) {
        let (word, shift) = (&self.set.head.0[TAGS + way / 4], way % 4 * 16);
        let others = word.load(Relaxed) & !(0xffff << shift);
        word.store(others | tag << shift, Relaxed);
    }
}

fn read<const N: usize>(words: &[AtomicU64]) -> [u64; N] {
    std::array::from_fn(|place| words[place].load(Relaxed))
}

fn store(words: &[AtomicU64], values: &Words) {
    for (word, value) in words.iter().zip(values) {
        word.store(*value, Relaxed);
    }
}

fn words(bytes: &[u8; 32]) -> Words {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|place| u64::from_ne_bytes(words[place]))
}

fn bytes(words: &Words) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_ne_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn task(number: u64) -> CachedTask {
        let mut taskhash = [0; 32];
        taskhash[..8].copy_from_slice(&number.to_ne_bytes());
        let method = MethodId(number as u32 % 3);
        CachedTask { method, taskhash }
    }

    /// Scatters like the hashes that real tables are given.
    const fn hash(number: u64) -> u64 {
        let word = number.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (word ^ (word >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    fn unihash(number: u64, round: u64) -> [u8; 32] {
        bytes(&[number, round, number ^ round, !number])
    }

    fn insert(table: &Table, number: u64) {
        table.insert(hash(number), &task(number), &unihash(number, 0));
    }

    fn get(table: &Table, number: u64) -> Option<[u8; 32]> {
        table.get(hash(number), &task(number))
    }

    #[test]
    fn a_table_at_three_quarters_keeps_nearly_everything() {
        let table = Table::new(80_000);
        (0..60_000).for_each(|number| insert(&table, number));
        let known = (0..60_000).filter(|number| get(&table, *number) == Some(unihash(*number, 0)));
        let known = known.count();
        assert!(known > 59_000, "{known}");
        assert_eq!(table.len(), known);
        assert_eq!(get(&table, 60_001), None);
    }

    #[test]
    fn tasks_of_equal_hash_are_told_apart() {
        let table = Table::new(64);
        let (one, other) = (
            task(3),
            CachedTask {
                method: MethodId(9),
                ..task(3)
            },
        );
        table.insert(77, &one, &[1; 32]);
        table.insert(77, &other, &[2; 32]);
        table.insert(77, &task(6), &[3; 32]);
        assert_eq!(table.get(77, &one), Some([1; 32]));
        assert_eq!(table.get(77, &other), Some([2; 32]));
        assert_eq!(table.get(77, &task(6)), Some([3; 32]));
        table.remove(77, &other);
        assert_eq!(table.get(77, &other), None);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn removed_entries_do_not_come_back_by_any_tag() {
        let table = Table::new(8);
        for low in 0..=3 {
            table.insert(low, &task(low), &[1; 32]);
            table.remove(low, &task(low));
            assert_eq!(table.get(low, &task(low)), None, "{low}");
        }
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn what_is_used_stays() {
        let table = Table::new(800);
        (0..100).for_each(|number| insert(&table, number));
        for number in 1000..20_000 {
            insert(&table, number);
            get(&table, number % 100);
        }
        let known = (0..100)
            .filter(|number| get(&table, *number).is_some())
            .count();
        assert!(known > 90, "{known}");
        assert!(table.len() <= table.capacity());
    }

    #[test]
    fn many_at_once_are_answered_in_order() {
        let table = Table::new(4_000);
        (0..1_000).for_each(|number| insert(&table, number));
        for count in [0, 1, 15, 16, 17, 1_500] {
            let tasks: Vec<(u64, CachedTask)> = (0..count)
                .map(|number| (hash(number), task(number)))
                .collect();
            let mut found = Vec::new();
            table.get_each(tasks.iter().map(|(hash, task)| (*hash, task)), |known| {
                found.push(known);
            });
            let one_by_one: Vec<_> = (0..count).map(|number| get(&table, number)).collect();
            assert_eq!(found, one_by_one);
        }
    }

    #[test]
    fn every_entry_is_handed_out() {
        let table = Table::new(4_000);
        (0..1_000).for_each(|number| insert(&table, number));
        let mut seen = 0;
        table.for_each(|task, unihash| {
            let number = words(&task.taskhash)[0];
            assert_eq!(
                (task, unihash),
                (self::task(number), self::unihash(number, 0))
            );
            seen += 1;
        });
        assert_eq!(seen, 1_000);
    }

    #[test]
    fn readers_never_see_half_a_change() {
        // One small table, so that writers displace each other all the time.
        let table = Table::new(64);
        let whole = |number: u64, found: [u8; 32]| {
            let [key, round, both, not] = words(&found);
            key == number && both == number ^ round && not == !number
        };
        thread::scope(|scope| {
            for writer in 0..2 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..60_000 {
                        let number = (round * 7 + writer) % 200;
                        table.insert(hash(number), &task(number), &unihash(number, round));
                        if round % 3 == 0 {
                            table.remove(hash(number), &task(number));
                        }
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    for round in 0..200_000 {
                        let number = round % 200;
                        if let Some(found) = get(&table, number) {
                            assert!(whole(number, found), "{number}: {found:?}");
                        }
                    }
                });
            }
        });
        assert!(table.len() <= table.capacity());
    }
}
