//! One hash at a time, and few that wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PasswordError;

pub(super) struct Turns {
    /// Places for who computes and who waits.
    places: Arc<Semaphore>,
    one: Arc<Semaphore>,
    wait_max: Duration,
}

/// The right to compute one hash.
pub(super) struct Turn {
    _place: OwnedSemaphorePermit,
    _one: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new(waiting_max: usize, wait_max: Duration) -> Self {
        let places = waiting_max.saturating_add(1).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            one: Arc::new(Semaphore::new(1)),
            wait_max,
        }
    }

    /// Waits for a turn; `None` when too many do, or for too long.
    pub(super) async fn wait(&self) -> Option<Turn> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let turn = self.one.clone().acquire_owned();
        let one = tokio::time::timeout(self.wait_max, turn).await.ok()?.ok()?;
        Some(Turn {
            _place: place,
            _one: one,
        })
    }
}

impl Turn {
    /// Computes on a blocking thread. The turn lasts until that ends, whether
    /// anybody waits for the result or not.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let work = move || {
            let _turn = self;
            work()
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| PasswordError::Hash(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_is_refused() {
        let turns = Turns::new(1, Duration::from_millis(20));
        let first = turns.wait().await.unwrap();
        let (second, third) = tokio::join!(turns.wait(), turns.wait());
        assert!(second.is_none(), "it waited for too long");
        assert!(third.is_none(), "there was no place");
        drop(first);
        assert!(turns.wait().await.is_some());
    }

    #[tokio::test]
    async fn a_turn_lasts_as_long_as_its_work() {
        let turns = Turns::new(8, Duration::from_millis(20));
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(1);
        let turn = turns.wait().await.unwrap();
        let work = tokio::spawn(turn.run(move || ended.recv()));
        tokio::task::yield_now().await;
        work.abort();
        assert!(turns.wait().await.is_none());
        end.send(()).unwrap();
        let turns = Turns {
            wait_max: Duration::from_secs(10),
            ..turns
        };
        assert!(turns.wait().await.is_some());
    }
}
