//! How much is under way at once. Short questions have places of their own, so
//! that they do not wait behind clones.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::refusal::Refusal;

mod room;
mod turns;

pub(crate) use room::Room;
pub(crate) use turns::Turns;

use room::Rooms;

/// The places of both lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    /// Pieces of work that are made at the same moment: more threads than
    /// cores would only take memory from one another.
    working: Turns,
    /// Writes wait for programs of others, and nobody shall wait with them.
    writing: Turns,
    /// The place of the one index that is made at a time.
    index: Arc<Semaphore>,
    requests: Rooms,
    long_max: usize,
    wait: Duration,
}

/// A place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Lanes {
    /// `long` places for long answers and as many for short ones; `wait` is
    /// how long a request may wait for one.
    pub(crate) fn new(long: usize, wait: Duration) -> Self {
        let long_max = long.clamp(1, Semaphore::MAX_PERMITS);
        let places = || Arc::new(Semaphore::new(long_max));
        Self {
            long_max,
            short: places(),
            long: places(),
            working: Turns::new(workers(), FIRST_WORKERS),
            writing: Turns::new(WRITERS, 0),
            index: Arc::new(Semaphore::new(1)),
            requests: Rooms::new(REQUESTS_KIB),
            wait,
        }
    }

    /// Who makes pieces of work takes turns by this.
    pub(crate) fn turns(&self, writes: bool) -> Turns {
        if writes { &self.writing } else { &self.working }.clone()
    }

    /// Room for so many bytes more of a request, decoded and not.
    pub(crate) async fn extend(&self, room: &mut Room, bytes: usize) -> Result<(), Refusal> {
        self.within(self.requests.extend(room, bytes)).await
    }

    /// How many long answers are under way.
    pub(crate) fn long_under_way(&self) -> usize {
        self.long_max - self.long.available_permits()
    }

    /// A place in the lane, or a refusal that tells the client to come again.
    pub(crate) async fn enter(&self, is_short: bool) -> Result<Place, Refusal> {
        let lane = if is_short { &self.short } else { &self.long };
        self.place_in(lane).await
    }

    /// The place of who makes an index, or the same refusal.
    pub(crate) async fn enter_index(&self) -> Result<Place, Refusal> {
        self.place_in(&self.index).await
    }

    async fn place_in(&self, lane: &Arc<Semaphore>) -> Result<Place, Refusal> {
        self.within(lane.clone().acquire_owned()).await.map(Place)
    }

    /// A turn for a first piece of work, or the same refusal.
    pub(crate) async fn first_turn(&self, turns: &Turns) -> Result<Place, Refusal> {
        let turn = turns.first(self.wait).await;
        turn.ok_or_else(|| Refusal::busy(self.wait))
    }

    async fn within<T>(
        &self,
        waiting: impl Future<Output = Result<T, AcquireError>>,
    ) -> Result<T, Refusal> {
        match timeout(self.wait, waiting).await {
            Ok(Ok(got)) => Ok(got),
            Ok(Err(_)) | Err(_) => Err(Refusal::busy(self.wait)),
        }
    }
}

/// Requests of all clients together, and one besides: room for 38 pulls of 10,000
/// changesets that come at the same moment.
const REQUESTS_KIB: usize = 256 << 10;

const WRITERS: usize = 4;

/// First pieces that are made besides.
const FIRST_WORKERS: usize = 1;

/// One for each core; with [`FIRST_WORKERS`] there is one that may wait for the disk.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, NonZero::get)
}

/// Whether a command answers a few bytes for the work of a moment.
pub(crate) fn is_short(command: &[u8]) -> bool {
    matches!(
        command,
        b"branchmap" | b"capabilities" | b"heads" | b"known" | b"listkeys" | b"lookup"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn short_questions_do_not_wait_behind_clones() {
        let lanes = Lanes::new(1, Duration::from_millis(1));
        let _clone = lanes.enter(false).await.unwrap();
        assert!(lanes.enter(true).await.is_ok());
        let refusal = lanes.enter(false).await.unwrap_err();
        assert_eq!(refusal.status, 503);
    }
}
