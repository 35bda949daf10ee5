//! What the agent remembers: (method, taskhash) → unihash, and what is not known.
//!
//! A unihash that the server once gave changes only when rows are deleted there. Where the
//! agent hears of deletions, an answer is good without asking until its own is heard of, as
//! long as the agent is [told the time](Knowledge::tick) as current. Else it is for as long
//! as it cannot be older than [`STALE_MAX`]. While the server is silent older ones are better
//! than none, for a day or what is set.
//!
//! An answer may have been on its way while its row was deleted. Each says the deletion epoch
//! that it was of, and one from before the epoch up to which the agent has heard is not
//! remembered: the epoch [moves](Knowledge::moved) before what was deleted is
//! [forgotten](Knowledge::forget), and who remembers looks at it before and after.
//!
//! What a user is answered need not be what others are: each has answers of their own
//! ([`Whose`]), unless it is known that everybody is answered the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_hashequiv_client::http::DeletionEpoch;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use tokio::time::Instant;

/// How old an answer may be while the server can be asked.
pub(crate) const STALE_MAX: Duration = Duration::from_secs(10);
/// How long it is remembered that the server knows nothing.
const MISS_MAX: Duration = Duration::from_secs(5);
/// Bytes that an entry takes with the cache's own books.
const ENTRY_BYTES: u64 = 128;
/// Names of methods that are remembered; what has another one is asked for each time.
const METHODS_MAX: usize = 65_536;

/// A method's number in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MethodId(u32);

/// Whose answers they are. Those of one user are told to nobody else; nobody hears of their
/// deletions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Whose(pub(crate) u32);

impl Whose {
    /// Those that the agent itself gets, and everybody may know.
    pub(crate) const EVERYBODYS: Self = Self(0);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    whose: Whose,
    method: MethodId,
    taskhash: [u8; 32],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// `None`: the server knows nothing.
    unihash: Option<[u8; 32]>,
    /// Seconds since the start, when the server said so.
    said: u32,
    /// Whether it is forgotten when the row is deleted.
    is_followed: bool,
    /// In which era the server said so.
    era: u32,
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
    /// How old an answer may be while the server cannot be asked.
    offline_max: Duration,
    origin: Instant,
    /// Seconds since the origin, kept so that a look-up reads no clock.
    now: AtomicU32,
    /// When deletions were last known to be heard of.
    current: AtomicU32,
    /// Up to which deletion was heard; None where nobody listens.
    heard: RwLock<Option<DeletionEpoch>>,
    /// Goes up with each of those.
    moves: AtomicU64,
    /// Goes up when nothing that is remembered holds any more.
    era: AtomicU32,
}

impl Knowledge {
    /// A memory of at most so many bytes, whose answers are good for so long while the server
    /// cannot be asked.
    pub(crate) fn new(bytes: u64, offline_max: Duration) -> Self {
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
            offline_max,
            origin: Instant::now(),
            now: AtomicU32::new(0),
            current: AtomicU32::new(0),
            heard: RwLock::default(),
            moves: AtomicU64::new(0),
            era: AtomicU32::new(0),
        }
    }

    /// Tells the time, and whether all deletions up to now were heard of. To be called about
    /// once a second.
    pub(crate) fn tick(&self, is_current: bool) {
        let seconds = self.origin.elapsed().as_secs();
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        if is_current {
            self.current.store(seconds, Ordering::Relaxed);
        }
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
    pub(crate) fn get(&self, whose: Whose, method: MethodId, taskhash: &[u8; 32]) -> Known {
        let key = Key {
            whose,
            method,
            taskhash: *taskhash,
        };
        let Some(entry) = self.entries.get(&key) else {
            return Known::Nothing;
        };
        if entry.era != self.era.load(Ordering::Relaxed) {
            return Known::Nothing;
        }
        let now = self.now.load(Ordering::Relaxed);
        let age = now.saturating_sub(entry.said);
        let is_within = |age: u32, limit: Duration| u64::from(age) < limit.as_secs();
        let current = match entry.is_followed {
            true => self.current.load(Ordering::Relaxed),
            false => 0,
        };
        match entry.unihash {
            Some(_) if current >= now || is_within(age, STALE_MAX) => Known::Fresh(entry.unihash),
            Some(unihash) if is_within(age.min(now - current), self.offline_max) => {
                Known::Old(unihash)
            }
            None if is_within(age, MISS_MAX) => Known::Fresh(None),
            _ => Known::Nothing,
        }
    }

    /// Remembers what the server says of tasks now, as of a deletion epoch if it said one.
    pub(crate) fn put<'a>(
        &self,
        whose: Whose,
        of: Option<DeletionEpoch>,
        answers: impl IntoIterator<Item = (&'a str, [u8; 32], Option<[u8; 32]>)>,
    ) {
        let moves = self.moves.load(Ordering::SeqCst);
        let era = self.era.load(Ordering::SeqCst);
        let heard = *self.heard.read();
        let is_followed = match (heard, of) {
            _ if whose != Whose::EVERYBODYS => false,
            (Some(heard), Some(of)) if of.holds(heard) => true,
            (Some(_), Some(_)) => return,
            _ => false,
        };
        for (method, taskhash, unihash) in answers {
            let Some(method) = self.intern(method) else {
                continue;
            };
            let key = Key {
                whose,
                method,
                taskhash,
            };
            let entry = Entry {
                unihash,
                said: self.now.load(Ordering::Relaxed),
                is_followed,
                era,
            };
            self.entries.insert(key, entry);
            // Its deletion may have been heard of meanwhile, and found nothing to forget.
            if self.moves.load(Ordering::SeqCst) != moves {
                self.entries.remove(&key);
                return;
            }
        }
    }

    /// Up to here deletions are heard of: what the server said before is not remembered from
    /// now on.
    pub(crate) fn moved(&self, epoch: DeletionEpoch) {
        *self.heard.write() = Some(epoch);
        self.moves.fetch_add(1, Ordering::SeqCst);
    }

    /// Up to where that was.
    pub(crate) fn heard(&self) -> Option<DeletionEpoch> {
        *self.heard.read()
    }

    /// Forgets what everybody is answered of a task.
    pub(crate) fn forget(&self, method: &str, taskhash: &[u8; 32]) {
        if let Some(method) = self.method(method) {
            self.entries.remove(&Key {
                whose: Whose::EVERYBODYS,
                method,
                taskhash: *taskhash,
            });
        }
    }

    /// Forgets everything.
    pub(crate) fn forget_all(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
        self.moves.fetch_add(1, Ordering::SeqCst);
    }

    /// Forgets that nothing is known of a task: it is being reported here.
    pub(crate) fn forget_miss(&self, whose: Whose, method: &str, taskhash: &[u8; 32]) {
        let Some(method) = self.method(method) else {
            return;
        };
        let key = Key {
            whose,
            method,
            taskhash: *taskhash,
        };
        self.entries
            .remove_if(&key, |entry| entry.unihash.is_none());
    }

    /// How old an answer may be while the server cannot be asked.
    pub(crate) const fn offline_max(&self) -> Duration {
        self.offline_max
    }

    /// Answers that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFLINE_MAX: Duration = Duration::from_secs(24 * 3600);
    const TASK: [u8; 32] = [1; 32];
    const UNIHASH: [u8; 32] = [2; 32];
    const ALL: Whose = Whose::EVERYBODYS;

    fn later(knowledge: &Knowledge, by: Duration) {
        let seconds = u32::try_from(by.as_secs()).unwrap();
        knowledge.now.fetch_add(seconds, Ordering::Relaxed);
    }

    #[test]
    fn an_answer_grows_old_and_is_forgotten_at_last() {
        let knowledge = Knowledge::new(1 << 20, OFFLINE_MAX);
        assert!(knowledge.method("m").is_none());
        knowledge.put(ALL, None, [("m", TASK, Some(UNIHASH))]);
        let method = knowledge.method("m").unwrap();
        assert_eq!(
            knowledge.get(ALL, method, &TASK),
            Known::Fresh(Some(UNIHASH))
        );
        later(&knowledge, STALE_MAX);
        assert_eq!(knowledge.get(ALL, method, &TASK), Known::Old(UNIHASH));
        later(&knowledge, OFFLINE_MAX);
        assert_eq!(knowledge.get(ALL, method, &TASK), Known::Nothing);
    }

    #[test]
    fn a_miss_is_remembered_briefly_and_forgotten_with_a_report() {
        let knowledge = Knowledge::new(1 << 20, OFFLINE_MAX);
        knowledge.put(ALL, None, [("m", TASK, None)]);
        let method = knowledge.method("m").unwrap();
        assert_eq!(knowledge.get(ALL, method, &TASK), Known::Fresh(None));
        later(&knowledge, MISS_MAX);
        assert_eq!(knowledge.get(ALL, method, &TASK), Known::Nothing);
        knowledge.put(ALL, None, [("m", TASK, None)]);
        knowledge.forget_miss(ALL, "m", &TASK);
        assert_eq!(knowledge.get(ALL, method, &TASK), Known::Nothing);
    }

    fn epoch(epoch: u64) -> DeletionEpoch {
        let history = [7; 16];
        DeletionEpoch { history, epoch }
    }

    /// As a tick that says that all deletions were heard of.
    fn current(knowledge: &Knowledge) {
        let now = knowledge.now.load(Ordering::Relaxed);
        knowledge.current.store(now, Ordering::Relaxed);
    }

    #[test]
    fn an_answer_is_good_until_its_deletion_is_heard_of() {
        let knowledge = Knowledge::new(1 << 20, OFFLINE_MAX);
        knowledge.moved(epoch(1));
        knowledge.put(ALL, Some(epoch(1)), [("m", TASK, Some(UNIHASH))]);
        let method = knowledge.method("m").unwrap();
        let get = || knowledge.get(ALL, method, &TASK);
        later(&knowledge, 10 * OFFLINE_MAX);
        current(&knowledge);
        assert_eq!(get(), Known::Fresh(Some(UNIHASH)));
        // Nobody hears of deletions any more.
        later(&knowledge, Duration::from_secs(1));
        assert_eq!(get(), Known::Old(UNIHASH));
        later(&knowledge, OFFLINE_MAX);
        assert_eq!(get(), Known::Nothing);
        current(&knowledge);
        assert_eq!(get(), Known::Fresh(Some(UNIHASH)));
        knowledge.moved(epoch(2));
        knowledge.forget("m", &TASK);
        assert_eq!(get(), Known::Nothing);
    }

    #[test]
    fn an_answer_from_before_a_deletion_is_not_remembered_after_it() {
        let knowledge = Knowledge::new(1 << 20, OFFLINE_MAX);
        knowledge.moved(epoch(2));
        let put = |of| {
            knowledge.put(ALL, Some(of), [("m", TASK, Some(UNIHASH))]);
            let method = knowledge.method("m");
            let known = method.map(|method| knowledge.get(ALL, method, &TASK));
            knowledge.forget("m", &TASK);
            known
        };
        let fresh = Some(Known::Fresh(Some(UNIHASH)));
        assert_eq!(put(epoch(1)), None);
        assert_eq!(put(epoch(2)), fresh);
        assert_eq!(put(epoch(3)), fresh);
        let other = DeletionEpoch {
            history: [8; 16],
            epoch: 9,
        };
        assert_eq!(put(other), Some(Known::Nothing));
    }

    #[test]
    fn what_one_is_answered_is_nobody_elses() {
        let knowledge = Knowledge::new(1 << 20, OFFLINE_MAX);
        knowledge.moved(epoch(1));
        let (one, other) = (Whose(1), Whose(2));
        // Another namespace's deletions are not those that are heard of.
        let elsewhere = DeletionEpoch {
            history: [8; 16],
            epoch: 9,
        };
        knowledge.put(one, Some(elsewhere), [("m", TASK, Some(UNIHASH))]);
        let method = knowledge.method("m").unwrap();
        let get = |whose| knowledge.get(whose, method, &TASK);
        assert_eq!(get(one), Known::Fresh(Some(UNIHASH)));
        assert_eq!((get(ALL), get(other)), (Known::Nothing, Known::Nothing));
        later(&knowledge, STALE_MAX);
        current(&knowledge);
        assert_eq!(get(one), Known::Old(UNIHASH));
    }

    #[test]
    fn everything_is_forgotten_at_once() {
        let knowledge = Knowledge::new(1 << 20, OFFLINE_MAX);
        knowledge.put(ALL, None, [("m", TASK, Some(UNIHASH))]);
        knowledge.forget_all();
        let method = knowledge.method("m").unwrap();
        assert_eq!(knowledge.get(ALL, method, &TASK), Known::Nothing);
        knowledge.put(ALL, None, [("m", TASK, Some(UNIHASH))]);
        assert_eq!(
            knowledge.get(ALL, method, &TASK),
            Known::Fresh(Some(UNIHASH))
        );
    }

    #[test]
    fn memory_is_bounded() {
        let knowledge = Knowledge::new(ENTRY_BYTES * 100, OFFLINE_MAX);
        for number in 0..1000_u64 {
            let mut taskhash = TASK;
            taskhash[..8].copy_from_slice(&number.to_le_bytes());
            knowledge.put(ALL, None, [("m", taskhash, Some(UNIHASH))]);
        }
        assert!(knowledge.len() <= 100);
    }
}
