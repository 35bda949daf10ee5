//! The life cycle of an answer that may be remembered: found in a store, or made
//! once for all who ask at the same time, and put into the store when it is whole.
//!
//! What an answer is, and whether the caller may have it, was decided before: a
//! name stands for one answer, and for callers who may all see it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::counts::AllCounts;
use crate::{Cacher, CacherError, Content, Counts, EntryName, Flight, Objects, SpoolOptions};

/// What [`Dispatch`] is given.
#[derive(Clone, Debug, Default)]
pub struct DispatchOptions {
    /// How answers are held while they are made.
    pub spool: SpoolOptions,
    /// Shorter ones are not stored, in bytes of the form in which they are sent.
    pub store_bytes_min: u64,
}

/// Finds answers or has them made.
pub struct Dispatch {
    store: Arc<dyn Cacher>,
    options: DispatchOptions,
    flights: Mutex<HashMap<EntryName, Weak<Flight>>>,
    counts: AllCounts,
    /// Answers on their way into the store.
    keeping: AtomicUsize,
}

/// How an answer comes to be.
#[derive(Clone)]
pub enum Answering {
    /// The store had it.
    Stored(Arc<dyn Content>),
    /// It is being made; by whom, makes no difference.
    Flying(Arc<Flight>),
}

impl Answering {
    /// Counts that an answer that was found is used.
    pub fn count(&self, counts: &Counts) {
        match self {
            Self::Stored(content) => {
                Counts::count(&counts.hits);
                counts.count_saved(counts.work(content.len()));
            }
            Self::Flying(_) => Counts::count(&counts.coalesced),
        }
    }
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch")
            .field("store", &self.store.name())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Dispatch {
    /// A life cycle over this store.
    pub fn new(store: Arc<dyn Cacher>, options: DispatchOptions) -> Self {
        Self {
            store,
            options,
            flights: Mutex::default(),
            counts: AllCounts::default(),
            keeping: AtomicUsize::new(0),
        }
    }

    /// What is counted of a command's answers.
    pub fn counts(&self, command: &'static str) -> Arc<Counts> {
        self.counts.of(command)
    }

    /// What was counted of each command that was asked for.
    pub fn all_counts(&self) -> Vec<(&'static str, Arc<Counts>)> {
        self.counts.all()
    }

    /// Bytes of answers that lie in files while they are made and stored.
    pub fn spooled_bytes(&self) -> u64 {
        self.options.spool.room.taken()
    }

    /// Bytes that they may take there.
    pub const fn spool_limit_bytes(&self) -> u64 {
        self.options.spool.room.bytes_max
    }

    /// What the store has under a name. A store that fails has nothing.
    pub async fn look_up(&self, name: &EntryName) -> Option<Arc<dyn Content>> {
        self.store.look_up(name).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "a content store cannot be asked: {error}");
            None
        })
    }

    /// Puts something into the store, if it takes it.
    pub async fn store(&self, name: &EntryName, content: Arc<dyn Content>) {
        if let Err(error) = self.store.store(name, content).await {
            tracing::debug!(%error, "an entry is not stored: {error}");
        }
    }

    /// Finds the answer with this name, or takes part in making it. `maker` makes
    /// it if nobody does; else it is dropped, so it should not have begun.
    pub async fn begin(
        &self,
        counts: &Counts,
        name: &EntryName,
        maker: Box<dyn Objects>,
    ) -> Answering {
        match self.find(counts, name).await {
            Some(answering) => {
                answering.count(counts);
                answering
            }
            None => Answering::Flying(self.begin_anew(counts, name, maker)),
        }
    }

    /// Finds the answer with this name, in the store or on its way. Whoever uses it
    /// [counts](Answering::count) that.
    pub async fn find(&self, counts: &Counts, name: &EntryName) -> Option<Answering> {
        if let Some(flight) = self.flying(name) {
            return Some(Answering::Flying(flight));
        }
        match self.store.look_up(name).await {
            Ok(found) => found.map(Answering::Stored),
            Err(error) => {
                Counts::count(&counts.look_ups_failed);
                tracing::debug!(%error, "a content store cannot be asked: {error}");
                None
            }
        }
    }

    fn flying(&self, name: &EntryName) -> Option<Arc<Flight>> {
        let flight = self.flights.lock().get(name)?.upgrade()?;
        (!flight.has_failed()).then_some(flight)
    }

    /// Takes part in making the answer whatever the store has under this name: what
    /// was found there could not be read.
    pub fn begin_anew(
        &self,
        counts: &Counts,
        name: &EntryName,
        maker: Box<dyn Objects>,
    ) -> Arc<Flight> {
        let mut flights = self.flights.lock();
        let flying = flights.get(name).and_then(Weak::upgrade);
        if let Some(flight) = flying.filter(|flight| !flight.has_failed()) {
            Counts::count(&counts.coalesced);
            return flight;
        }
        Counts::count(&counts.misses);
        let flight = Arc::new(Flight::new(maker, self.options.spool.clone()));
        if flights.len() >= FLIGHTS_SWEPT_AT {
            flights.retain(|_, flight| flight.strong_count() > 0);
        }
        flights.insert(*name, Arc::downgrade(&flight));
        flight
    }

    /// Puts an answer that was just made into the store. Until it is there, who
    /// asks for it gets it from the flight.
    pub async fn keep(
        &self,
        counts: &Counts,
        name: &EntryName,
        flight: &Arc<Flight>,
        content: Arc<dyn Content>,
    ) {
        counts.count_made(content.len(), flight.made_in());
        if content.len() >= self.options.store_bytes_min {
            // A store that is slow shall not hold ever more answers.
            let others = self.keeping.fetch_add(1, Ordering::Relaxed);
            let stored = match others < KEEPING_MAX {
                true => self.store.store(name, content).await,
                false => Err(CacherError::Suspended),
            };
            self.keeping.fetch_sub(1, Ordering::Relaxed);
            match stored {
                Ok(()) => {
                    flight.note_stored();
                    Counts::count(&counts.stored);
                }
                Err(error) => {
                    Counts::count(&counts.stores_failed);
                    tracing::debug!(%error, "an answer is not stored: {error}");
                }
            }
        }
        let mut flights = self.flights.lock();
        let is_this = |other: &Weak<Flight>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(flight));
        if flights.get(name).is_some_and(is_this) {
            flights.remove(name);
        }
    }
}

/// Answers that are put into the store at once.
const KEEPING_MAX: usize = 64;
/// With so many names, those of flights that are over are forgotten.
const FLIGHTS_SWEPT_AT: usize = 256;

#[cfg(test)]
mod tests;
