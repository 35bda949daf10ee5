//! The life cycle of an answer that may be remembered: found in a store, or made
//! once for all who ask at the same time, and put into the store when it is whole.
//!
//! What an answer is, and whether the caller may have it, was decided before: a
//! name stands for one answer, and for callers who may all see it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::{Cacher, Content, EntryName, Flight, Objects, SpoolOptions};

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
    counts: Counts,
}

/// How an answer comes to be.
#[derive(Clone)]
pub enum Answering {
    /// The store had it.
    Stored(Arc<dyn Content>),
    /// It is being made; by whom, makes no difference.
    Flying(Arc<Flight>),
}

/// How many answers came to be in which way, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Found in the store.
    pub hits: AtomicU64,
    /// Not found, and begun.
    pub misses: AtomicU64,
    /// Not found, and being made already.
    pub coalesced: AtomicU64,
    /// The store could not be asked.
    pub look_ups_failed: AtomicU64,
    /// Put into the store.
    pub stored: AtomicU64,
    /// Refused by the store, or failed on the way.
    pub stores_failed: AtomicU64,
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
            counts: Counts::default(),
        }
    }

    /// What was counted.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Finds the answer with this name, or takes part in making it. `maker` makes
    /// it if nobody does; else it is dropped, so it should not have begun.
    pub async fn begin(&self, name: &EntryName, maker: Box<dyn Objects>) -> Answering {
        if let Some(flight) = self.flying(name) {
            count(&self.counts.coalesced);
            return Answering::Flying(flight);
        }
        match self.store.look_up(name).await {
            Ok(Some(content)) => {
                count(&self.counts.hits);
                return Answering::Stored(content);
            }
            Ok(None) => {}
            Err(error) => {
                count(&self.counts.look_ups_failed);
                tracing::debug!(%error, "a content store cannot be asked: {error}");
            }
        }
        Answering::Flying(self.join_or_start(name, maker))
    }

    fn flying(&self, name: &EntryName) -> Option<Arc<Flight>> {
        let flight = self.flights.lock().get(name)?.upgrade()?;
        (!flight.has_failed()).then_some(flight)
    }

    fn join_or_start(&self, name: &EntryName, maker: Box<dyn Objects>) -> Arc<Flight> {
        let mut flights = self.flights.lock();
        let flying = flights.get(name).and_then(Weak::upgrade);
        if let Some(flight) = flying.filter(|flight| !flight.has_failed()) {
            count(&self.counts.coalesced);
            return flight;
        }
        count(&self.counts.misses);
        let flight = Arc::new(Flight::new(maker, self.options.spool.clone()));
        if flights.len() >= FLIGHTS_SWEPT_AT {
            flights.retain(|_, flight| flight.strong_count() > 0);
        }
        flights.insert(*name, Arc::downgrade(&flight));
        flight
    }

    /// Puts an answer that was just made into the store. Until it is there, who
    /// asks for it gets it from the flight.
    pub async fn keep(&self, name: &EntryName, flight: &Arc<Flight>, content: Arc<dyn Content>) {
        if content.len() >= self.options.store_bytes_min {
            match self.store.store(name, content).await {
                Ok(()) => count(&self.counts.stored),
                Err(error) => {
                    count(&self.counts.stores_failed);
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

/// With so many names, those of flights that are over are forgotten.
const FLIGHTS_SWEPT_AT: usize = 256;

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
