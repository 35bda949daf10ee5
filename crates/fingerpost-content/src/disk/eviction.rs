//! Who goes when room is needed: about the entries used longest ago.
//!
//! One directory after the other is listed until there are enough entries to
//! judge by, and the oldest sixteenth of them goes. Names are spread evenly,
//! so that what is old in one directory is old in all; a store of few entries
//! is looked at as a whole, and its order is exact.

use std::io;

use fingerpost_core::{EntryName, Timestamp};

use super::layout::{DIRECTORIES, modified};
use super::listing::Found;
use super::room::{Hand, PIN_MICROS_MAX, Room};

/// What became of an entry that was to go unless it is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It was not there.
    Absent,
    /// It stays: clients are sent to it.
    Pinned,
}

/// Entries to judge by.
const SAMPLE: usize = 1024;
/// The part of a sample that goes.
const OLDEST: usize = 16;
/// The part of the limit that is kept free, so that stores seldom wait.
const HEADROOM: u64 = 64;

impl Room {
    /// Evicts at least so many bytes, if it can; gives how many it could.
    pub(super) fn free(&self, wanted: u64) -> u64 {
        self.free_with(&mut self.hand.lock(), wanted)
    }

    /// The bytes that are kept free ahead of stores.
    pub(super) const fn headroom(&self) -> u64 {
        self.bytes_max / HEADROOM
    }

    /// Whether the keeper should make headroom.
    pub(super) fn is_tight(&self) -> bool {
        self.totals().taken() > self.bytes_max - self.headroom()
    }

    /// Frees twice the headroom if it is [tight](Self::is_tight).
    pub(super) fn make_headroom(&self) {
        // Whoever had the hand before may have made it.
        let mut hand = self.hand.lock();
        if self.is_tight() {
            let kept = self.bytes_max - 2 * self.headroom();
            let wanted = self.totals().taken().saturating_sub(kept);
            self.free_with(&mut hand, wanted);
        }
    }

    pub(super) fn free_with(&self, hand: &mut Hand, wanted: u64) -> u64 {
        let (mut freed, mut seen_in_vain) = (0, 0);
        while freed < wanted && seen_in_vain < DIRECTORIES {
            let (sample, directories) = self.sample(hand);
            let went = self.evict(sample, directories, wanted - freed);
            seen_in_vain = if went == 0 {
                seen_in_vain + directories
            } else {
                0
            };
            freed += went;
        }
        freed
    }

    /// Entries to judge by, and how many directories they are from.
    fn sample(&self, hand: &mut Hand) -> (Vec<Found>, usize) {
        let (mut sample, mut directories) = (Vec::new(), 0);
        while sample.len() < SAMPLE && directories < DIRECTORIES {
            let number = hand.directory;
            hand.directory = (number + 1) % DIRECTORIES;
            directories += 1;
            match self.recount(hand, number) {
                Ok(found) => sample.extend(found),
                Err(error) => tracing::debug!(number, %error, "cannot list"),
            }
        }
        (sample, directories)
    }

    fn evict(&self, mut sample: Vec<Found>, directories: usize, wanted: u64) -> u64 {
        let now = self.clock.now();
        let most = if directories == DIRECTORIES {
            sample.len()
        } else {
            (sample.len() / OLDEST).max(1)
        };
        sample.retain(|found| !is_pinned(found.used, now));
        sample.sort_unstable_by_key(|found| {
            // Used in a far future: the clock was wrong, it tells nothing.
            if found.used > now {
                Timestamp(i64::MIN)
            } else {
                found.used
            }
        });
        let mut freed = 0;
        for found in sample.iter().take(most) {
            // It may have been pinned since it was listed.
            let result = self.take_out(&found.name, |file| !is_pinned(modified(file), now));
            match result {
                Ok(bytes) => freed += bytes.unwrap_or(0),
                Err(error) => tracing::debug!(entry = ?found.name, %error, "cannot evict"),
            }
            if freed >= wanted {
                break;
            }
        }
        freed
    }

    /// Removes an entry that is not pinned.
    pub(super) fn take_out_unpinned(&self, name: &EntryName) -> io::Result<Removal> {
        let now = self.clock.now();
        let mut pinned = false;
        let freed = self.take_out(name, |file| {
            pinned = is_pinned(modified(file), now);
            !pinned
        })?;
        Ok(match freed {
            Some(_) => Removal::Removed,
            None if pinned => Removal::Pinned,
            None => Removal::Absent,
        })
    }
}

fn is_pinned(used: Timestamp, now: Timestamp) -> bool {
    used > now && used.0 <= now.0.saturating_add(PIN_MICROS_MAX)
}
