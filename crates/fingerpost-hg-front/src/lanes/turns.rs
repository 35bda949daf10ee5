//! Whose turn it is to make a piece of work.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Place;

/// Turns are had for one piece at a time, first come, first served. Some besides
/// are for first pieces alone: who comes anew waits for others who came anew, but
/// not for every answer that is under way, and these still get their share.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Shares>);

#[derive(Debug)]
struct Shares {
    all: Arc<Semaphore>,
    first: Arc<Semaphore>,
    /// First turns that were had so far.
    begun: AtomicUsize,
}

impl Turns {
    /// So many pieces at the same moment, and `first` of those that are first ones.
    pub(super) fn new(all: usize, first: usize) -> Self {
        Self(Arc::new(Shares {
            all: Arc::new(Semaphore::new(all)),
            first: Arc::new(Semaphore::new(first)),
            begun: AtomicUsize::new(0),
        }))
    }

    /// A turn for the first piece of an answer; `None` if nobody has got one for as
    /// long as `wait`. As long as others get theirs it only has to be waited for: so
    /// many are in front as there are places, and none more comes there.
    pub(super) async fn first(&self, wait: Duration) -> Option<Place> {
        let mut turn = std::pin::pin!(self.any());
        loop {
            let begun = self.0.begun.load(Ordering::Relaxed);
            match timeout(wait, &mut turn).await {
                Ok(turn) => {
                    self.0.begun.fetch_add(1, Ordering::Relaxed);
                    return turn.ok().map(Place);
                }
                Err(_) if self.0.begun.load(Ordering::Relaxed) == begun => return None,
                Err(_) => {}
            }
        }
    }

    async fn any(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        tokio::select! {
            biased;
            turn = Arc::clone(&self.0.first).acquire_owned() => turn,
            turn = Arc::clone(&self.0.all).acquire_owned() => turn,
        }
    }

    /// The next turn of an answer that was begun, however long it takes.
    pub(crate) async fn next(&self) -> io::Result<Place> {
        let turn = Arc::clone(&self.0.all).acquire_owned().await;
        turn.map(Place).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::{Instant, sleep};

    use super::*;

    const WAIT: Duration = Duration::from_secs(30);
    /// A turn takes so long: ten of them in a row are had within the wait.
    const TURN: Duration = Duration::from_secs(3);

    /// So many answers, of which each wants one turn after the other without end.
    fn go_on_for_ever(turns: &Turns, answers: usize) -> (JoinSet<()>, Arc<[AtomicUsize]>) {
        let had: Arc<[_]> = (0..answers).map(|_| AtomicUsize::new(0)).collect();
        let mut going_on = JoinSet::new();
        for at in 0..answers {
            let (turns, had) = (turns.clone(), Arc::clone(&had));
            going_on.spawn(async move {
                loop {
                    let _turn = turns.next().await.unwrap();
                    sleep(TURN).await;
                    had[at].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        (going_on, had)
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_turn_does_not_wait_behind_next_ones() {
        let turns = Turns::new(3, 1);
        let _going_on = go_on_for_ever(&turns, 64);
        sleep(WAIT).await;
        for _ in 0..10 {
            let began = Instant::now();
            let turn = turns.first(WAIT).await.expect("it is got");
            assert!(began.elapsed() < TURN);
            sleep(TURN).await;
            drop(turn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn next_turns_come_however_many_begin() {
        let turns = Turns::new(3, 1);
        let (_going_on, had) = go_on_for_ever(&turns, 8);
        let mut beginning = JoinSet::new();
        for _ in 0..64 {
            let turns = turns.clone();
            beginning.spawn(async move {
                while let Some(_turn) = turns.first(WAIT).await {
                    sleep(TURN).await;
                }
            });
        }
        sleep(WAIT * 10).await;
        assert_eq!(beginning.len(), 64);
        assert!(beginning.try_join_next().is_none(), "nobody is refused");
        let had: Vec<_> = had.iter().map(|had| had.load(Ordering::Relaxed)).collect();
        // A round of 72 over three turns takes 72 s.
        assert!(had.iter().all(|had| (4..=6).contains(had)), "{had:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn first_turns_are_refused_only_while_nobody_gets_one() {
        let turns = Turns::new(3, 1);
        let first = || {
            let turns = turns.clone();
            async move {
                let turn = turns.first(WAIT).await;
                sleep(TURN).await;
                turn.is_some()
            }
        };
        let began = Instant::now();
        let got: JoinSet<_> = (0..64).map(|_| first()).collect();
        assert!(got.join_all().await.iter().all(|got| *got));
        assert!(began.elapsed() > WAIT);

        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(turns.first(WAIT).await.unwrap());
        }
        let began = Instant::now();
        assert!(turns.first(WAIT).await.is_none());
        assert_eq!(began.elapsed(), WAIT);
    }
}
