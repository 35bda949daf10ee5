//! Counts that every thread adds to for every batch of look-ups.
//!
//! One word that two cores add to in turn travels between their caches each
//! time; with half a dozen of them that was a tenth of an unpipelined look-up.
//! So each thread has words of its own, which are added up when somebody asks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::{self, Atomic};

/// More shards than threads that count; beyond it threads share.
const SHARDS: usize = 16;

/// A value on cache lines of its own (two: processors fetch them in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// One `T` for each thread.
#[derive(Debug)]
pub(crate) struct Sharded<T>([Padded<T>; SHARDS]);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Padded::default()))
    }
}

impl<T> Sharded<T> {
    /// This thread's own.
    pub(crate) fn own(&self) -> &T {
        thread_local! {
            static SHARD: Cell<usize> = {
                static NEXT: AtomicUsize = AtomicUsize::new(0);
                Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS)
            };
        }
        &self.0[SHARD.get()].0
    }

    /// Everybody's.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

/// A counter for the hot path.
pub type HotCounter = counter::Counter<u64, Sum>;

/// The words of a [`HotCounter`].
#[derive(Debug, Default)]
pub struct Sum(Sharded<AtomicU64>);

impl Atomic<u64> for Sum {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// Returns this thread's part before; nobody asks for the sum here.
    fn inc_by(&self, count: u64) -> u64 {
        self.0.own().fetch_add(count, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.all().map(|part| part.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_threads_part_counts() {
        let counter = HotCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| counter.inc_by(3));
            }
        });
        counter.inc();
        assert_eq!(counter.get(), 121);
    }
}
