//! How many connections may be open at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// No more open files are asked for than this: some container runtimes set a
/// hard limit of a thousand million.
const OPEN_FILES_MAX: u64 = 1 << 20;

/// Raises the soft limit of open files to the hard limit (at most 1,048,576)
/// and returns what the soft limit is now. If it cannot be raised it stays.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(OPEN_FILES_MAX);
    let wanted = limit.maximum.unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX);
    if wanted <= soft {
        return soft;
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(_) => soft,
    }
}

/// The soft limit of open files; 1,048,576 when there is none.
pub fn open_files_limit() -> u64 {
    getrlimit(Resource::Nofile)
        .current
        .unwrap_or(OPEN_FILES_MAX)
}

/// The connections to allow when `open_files` may be open: all but a tenth
/// (and at least 128, at most 4096) that the database, logs and connections
/// to others need. At least 16.
pub fn default_connection_limit(open_files: u64) -> usize {
    let reserve = (open_files / 10).clamp(128, 4096);
    let limit = open_files
        .min(OPEN_FILES_MAX)
        .saturating_sub(reserve)
        .max(16);
    usize::try_from(limit).expect("at most 1,048,576")
}

/// A place under the connection limit; given back when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Arc<Held>);

#[derive(Debug)]
struct Held {
    open: Gauge,
    _place: OwnedSemaphorePermit,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// The places of one group of listeners.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit {
    places: Arc<Semaphore>,
    open: Gauge,
}

impl ConnectionLimit {
    /// `max` places; `open` shows how many are taken.
    pub(crate) fn new(max: usize, open: Gauge) -> Self {
        let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { places, open }
    }

    /// A place, unless all are taken. Never waits.
    pub(crate) fn try_acquire(&self) -> Option<Permit> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        self.open.inc();
        Some(Permit(Arc::new(Held {
            open: self.open.clone(),
            _place: place,
        })))
    }
}

/// Lets a log line that peers can provoke through at most once in a while, and
/// counts what it held back.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// Lets one line through in `every`.
    pub const fn new(every: Duration) -> Self {
        Self {
            every,
            state: Mutex::new((None, 0)),
        }
    }

    /// `Some(held_back)` if it is time to log again, with the number of lines
    /// that were held back since the last one.
    pub fn now(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state
            .0
            .is_some_and(|last| now.duration_since(last) < self.every)
        {
            state.1 += 1;
            return None;
        }
        let held_back = state.1;
        *state = (Some(now), 0);
        Some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_open_files_are_for_connections() {
        assert_eq!(default_connection_limit(20_000), 18_000);
        assert_eq!(default_connection_limit(1024), 896);
        assert_eq!(default_connection_limit(64), 16);
        assert_eq!(default_connection_limit(u64::MAX), (1 << 20) - 4096);
    }

    #[test]
    fn a_place_is_free_again_when_its_last_clone_is_gone() {
        let open = Gauge::default();
        let limit = ConnectionLimit::new(1, open.clone());
        let first = limit.try_acquire().expect("one place");
        let clone = first.clone();
        drop(first);
        assert!(limit.try_acquire().is_none());
        assert_eq!(open.get(), 1);
        drop(clone);
        assert_eq!(open.get(), 0);
        assert!(limit.try_acquire().is_some());
    }

    #[test]
    fn a_repeated_line_is_counted_and_not_logged() {
        let seldom = Seldom::new(Duration::from_secs(3600));
        assert_eq!(seldom.now(), Some(0));
        assert_eq!(seldom.now(), None);
        assert_eq!(seldom.now(), None);
        assert_eq!(seldom.state.lock().1, 2);
    }
}
