//! Which revisions were verified against their nodes already.
//!
//! A revision that is sent as a stored delta is not otherwise made into a text,
//! so verifying it costs more than sending it. Doing that once for as long as
//! its file stays the same is enough, and this is where it is remembered: a bit
//! for each revision, under the identity of the file.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::revlog::{Rev, Revlog};
use crate::store::FileStamp;

/// Revisions of one file that need no memory outside its record.
const BITS_INSIDE: usize = u64::BITS as usize;
/// The memory is split, so that threads rarely wait for one another.
const SHARDS: usize = 16;
/// What a file costs beside the bits of its revisions, in bytes: its record,
/// its key, and the room that a hash table leaves free.
const FILE_BYTES: usize = 128;

/// The process's memory of verified revisions.
///
/// A file is known by device and inode. What was verified of it holds while it
/// is unchanged, or has only grown: then its old entries are still the same
/// bytes. After any other change everything about it is forgotten; who still
/// reads it as it was before remembers for himself. Over its
/// budget the memory forgets files by chance.
#[derive(Debug)]
pub struct Verified {
    shards: [Mutex<Shard>; SHARDS],
    shard_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    files: HashMap<(u64, u64), Known, FixedState>,
    bytes: usize,
}

/// What is known of one file.
#[derive(Debug)]
struct Known {
    /// Number of revisions that the file had.
    len: u32,
    /// When it had changed last, in seconds.
    changed: u32,
    /// Digest of the stamps that it had.
    stamps: u64,
    /// Digest of its entries.
    entries: u64,
    /// Another number whenever everything was forgotten.
    generation: u64,
    bits: Bits,
}

/// A bit for each revision.
#[derive(Clone, Debug)]
enum Bits {
    Inside(u64),
    Shared(Arc<[AtomicU64]>),
}

/// The verified revisions of one opened revlog. Looking one up costs as much as
/// reading a number.
#[derive(Debug)]
pub(crate) struct VerifiedRevs {
    /// The file and its generation, if it is one that is remembered.
    file: Option<((u64, u64), u64)>,
    inside: AtomicU64,
    shared: Option<Arc<[AtomicU64]>>,
}

impl Default for Verified {
    /// A memory of 16 MiB, which holds a hundred thousand small files.
    fn default() -> Self {
        Self::new(16 << 20)
    }
}

impl Verified {
    /// A memory of about this many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            shards: Default::default(),
            shard_bytes_max: bytes_max / SHARDS,
        }
    }

    /// About how many bytes are in use.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }

    /// How many files are known.
    pub fn files(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().files.len())
            .sum()
    }

    fn shard(&self, key: (u64, u64)) -> &Mutex<Shard> {
        let hash = FixedState::default().hash_one(key);
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// What is known of an opened revlog.
    pub(crate) fn of(&self, revlog: &Revlog) -> VerifiedRevs {
        let len = revlog.len();
        let Some(stamps) = revlog.stamps() else {
            return VerifiedRevs::alone(len);
        };
        let key = (stamps[0].dev, stamps[0].ino);
        let stamps_digest = FixedState::default().hash_one(stamps);
        let mut shard = self.shard(key).lock();
        let known = shard.files.get(&key);
        let kept = known.filter(|known| known.holds_for(revlog, &stamps, stamps_digest));
        let (bits, generation) = match kept {
            // Nothing changed, which is what nearly always happened.
            Some(known) if known.stamps == stamps_digest => {
                return VerifiedRevs::new(Some((key, known.generation)), known.bits.clone());
            }
            Some(known) => (known.bits.grown(len), known.generation),
            // Somebody opened the file before it changed and asks only now. What
            // is known of the file as it is by now is not for its sake forgotten.
            None if known.is_some_and(|known| known.changed > changed(&stamps)) => {
                return VerifiedRevs::alone(len);
            }
            None => (Bits::none(len), next_generation()),
        };
        let revs = VerifiedRevs::new(Some((key, generation)), bits.clone());
        let known = Known {
            len: len as u32,
            changed: changed(&stamps),
            stamps: stamps_digest,
            entries: entries_digest(revlog, &stamps, len),
            generation,
            bits,
        };
        shard.put(key, known, self.shard_bytes_max);
        revs
    }

    /// Remembers that a revision was verified.
    pub(crate) fn add(&self, revs: &VerifiedRevs, rev: Rev) {
        revs.set(rev);
        let (Some((key, generation)), None) = (revs.file, &revs.shared) else {
            return;
        };
        if let Some(known) = self.shard(key).lock().files.get_mut(&key)
            && known.generation == generation
            && let Bits::Inside(bits) = &mut known.bits
        {
            *bits |= bit(rev);
        }
    }
}

impl Shard {
    fn put(&mut self, key: (u64, u64), known: Known, bytes_max: usize) {
        let replaced = self.files.remove(&key);
        self.bytes -= replaced.as_ref().map_or(0, Known::bytes);
        self.bytes += known.bytes();
        if self.bytes > bytes_max {
            // Every second file, which are any: keys are hashed.
            let mut keep = false;
            self.files.retain(|_, _| {
                keep = !keep;
                keep
            });
            self.bytes = known.bytes() + self.files.values().map(Known::bytes).sum::<usize>();
        }
        self.files.insert(key, known);
    }
}

impl Known {
    fn bytes(&self) -> usize {
        FILE_BYTES
            + match &self.bits {
                Bits::Inside(_) => 0,
                Bits::Shared(words) => size_of_val(&**words),
            }
    }

    /// Whether what was verified of the file holds for this state of it: the
    /// same, or one with more revisions after the same ones.
    fn holds_for(&self, revlog: &Revlog, stamps: &[FileStamp; 2], stamps_digest: u64) -> bool {
        let len = self.len as usize;
        let same = revlog.len() == len && self.stamps == stamps_digest;
        (same || revlog.len() > len) && self.entries == entries_digest(revlog, stamps, len)
    }
}

impl Bits {
    fn none(len: usize) -> Self {
        match len <= BITS_INSIDE {
            true => Self::Inside(0),
            false => Self::Shared(
                (0..len.div_ceil(BITS_INSIDE))
                    .map(|_| AtomicU64::new(0))
                    .collect(),
            ),
        }
    }

    /// The same bits with room for those of more revisions.
    fn grown(&self, len: usize) -> Self {
        let words = len.div_ceil(BITS_INSIDE);
        let word = |index: usize| match self {
            Self::Inside(bits) if index == 0 => *bits,
            Self::Inside(_) => 0,
            Self::Shared(words) => words
                .get(index)
                .map_or(0, |word| word.load(Ordering::Relaxed)),
        };
        match self {
            _ if len <= BITS_INSIDE => Self::Inside(word(0)),
            Self::Shared(old) if old.len() == words => self.clone(),
            _ => Self::Shared(
                (0..words)
                    .map(|index| AtomicU64::new(word(index)))
                    .collect(),
            ),
        }
    }
}

impl VerifiedRevs {
    fn new(file: Option<((u64, u64), u64)>, bits: Bits) -> Self {
        let (inside, shared) = match bits {
            Bits::Inside(bits) => (bits, None),
            Bits::Shared(words) => (0, Some(words)),
        };
        Self {
            file,
            inside: AtomicU64::new(inside),
            shared,
        }
    }

    /// The memory of a revlog that is no file.
    pub(crate) fn alone(len: usize) -> Self {
        Self::new(None, Bits::none(len))
    }

    /// Whether a revision was verified.
    pub(crate) fn contains(&self, rev: Rev) -> bool {
        let word = self.word(rev);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & bit(rev) != 0)
    }

    /// Remembers that a revision was verified, here only.
    pub(crate) fn set(&self, rev: Rev) {
        if let Some(word) = self.word(rev) {
            word.fetch_or(bit(rev), Ordering::Relaxed);
        }
    }

    fn word(&self, rev: Rev) -> Option<&AtomicU64> {
        let index = rev.index() / BITS_INSIDE;
        match &self.shared {
            Some(words) => words.get(index),
            None => (index == 0).then_some(&self.inside),
        }
    }
}

fn bit(rev: Rev) -> u64 {
    1 << (rev.0 % u64::BITS)
}

fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// When the index or the data changed last, in seconds. The system sets it, so
/// nobody who writes a file makes it older.
fn changed(stamps: &[FileStamp; 2]) -> u32 {
    let seconds = stamps[0].ctime.0.max(stamps[1].ctime.0);
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

/// Digest of the first entries of a revlog, and of which file has their data.
fn entries_digest(revlog: &Revlog, stamps: &[FileStamp; 2], len: usize) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    (stamps[1].dev, stamps[1].ino).hash(&mut hasher);
    for entry in revlog.entries(len) {
        hasher.write(entry);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
