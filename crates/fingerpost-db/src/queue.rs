//! A bounded queue between tasks, which wait for room, and threads, which wait
//! for work.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, TryAcquireError};

use crate::DbError;
use crate::metrics::{Metrics, count};

/// The two kinds of work. Readers know the first one only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Foreground,
    Background,
}

/// See the module. `J` is a boxed job.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    room: [Semaphore; 2],
    timeout: Duration,
    metrics: Arc<Metrics>,
    depth: fn(&Metrics) -> &AtomicU64,
}

struct State<J> {
    lanes: [VecDeque<J>; 2],
    closed: bool,
}

impl<J> Queue<J> {
    /// `capacity` counts for each lane.
    pub(crate) fn new(
        capacity: usize,
        timeout: Duration,
        metrics: Arc<Metrics>,
        depth: fn(&Metrics) -> &AtomicU64,
    ) -> Self {
        let room = || Semaphore::new(capacity.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            state: Mutex::new(State {
                lanes: [VecDeque::new(), VecDeque::new()],
                closed: false,
            }),
            wake: Condvar::new(),
            room: [room(), room()],
            timeout,
            metrics,
            depth,
        }
    }

    /// Appends a job, after waiting for room for at most the queue's timeout.
    pub(crate) async fn push(&self, lane: Lane, job: J) -> Result<(), DbError> {
        self.wait_for_room(lane).await?;
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(DbError::Closed);
            }
            (self.depth)(&self.metrics).fetch_add(1, Ordering::Relaxed);
            state.lanes[lane as usize].push_back(job);
        }
        self.wake.notify_one();
        Ok(())
    }

    async fn wait_for_room(&self, lane: Lane) -> Result<(), DbError> {
        let room = &self.room[lane as usize];
        match room.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::Closed) => return Err(DbError::Closed),
            Err(TryAcquireError::NoPermits) => {
                match tokio::time::timeout(self.timeout, room.acquire()).await {
                    Ok(Ok(permit)) => permit.forget(),
                    Ok(Err(_)) => return Err(DbError::Closed),
                    Err(_) => {
                        count(&self.metrics.queue_timeouts);
                        return Err(DbError::QueueFull);
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for a job. `preferred` says which lane goes first when both have
    /// work. `None` once the queue is closed and empty.
    pub(crate) fn next(&self, preferred: Lane) -> Option<(Lane, J)> {
        let other = match preferred {
            Lane::Foreground => Lane::Background,
            Lane::Background => Lane::Foreground,
        };
        let mut state = self.state.lock();
        loop {
            for lane in [preferred, other] {
                if let Some(job) = state.lanes[lane as usize].pop_front() {
                    drop(state);
                    self.taken(lane, 1);
                    return Some((lane, job));
                }
            }
            if state.closed {
                return None;
            }
            self.wake.wait(&mut state);
        }
    }

    /// Takes a foreground job when there is one.
    pub(crate) fn try_next(&self) -> Option<J> {
        let job = self.state.lock().lanes[Lane::Foreground as usize].pop_front()?;
        self.taken(Lane::Foreground, 1);
        Some(job)
    }

    /// Takes every job that waits in `lane`.
    pub(crate) fn drain(&self, lane: Lane) -> VecDeque<J> {
        let jobs = std::mem::take(&mut self.state.lock().lanes[lane as usize]);
        self.taken(lane, jobs.len());
        jobs
    }

    /// Takes no more jobs. Those that wait are still handed out.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.room.iter().for_each(Semaphore::close);
        self.wake.notify_all();
    }

    fn taken(&self, lane: Lane, jobs: usize) {
        self.room[lane as usize].add_permits(jobs);
        (self.depth)(&self.metrics).fetch_sub(jobs as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(capacity: usize) -> Queue<u32> {
        let metrics = Arc::new(Metrics::default());
        Queue::new(capacity, Duration::from_millis(20), metrics, |metrics| {
            &metrics.write_queue_depth
        })
    }

    #[tokio::test]
    async fn a_full_queue_refuses_after_its_timeout() {
        let queue = queue(1);
        queue.push(Lane::Foreground, 1).await.unwrap();
        let refused = queue.push(Lane::Foreground, 2).await;
        assert!(matches!(refused, Err(DbError::QueueFull)));
        queue.push(Lane::Background, 3).await.unwrap();
        assert_eq!(queue.try_next(), Some(1));
        queue.push(Lane::Foreground, 4).await.unwrap();
        assert_eq!(queue.metrics.queue_timeouts.load(Ordering::Relaxed), 1);
        assert_eq!(queue.metrics.write_queue_depth.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn the_preferred_lane_goes_first() {
        let queue = queue(4);
        queue.push(Lane::Foreground, 1).await.unwrap();
        queue.push(Lane::Background, 2).await.unwrap();
        assert_eq!(queue.next(Lane::Background), Some((Lane::Background, 2)));
        assert_eq!(queue.next(Lane::Background), Some((Lane::Foreground, 1)));
    }

    #[tokio::test]
    async fn a_closed_queue_hands_out_what_it_has() {
        let queue = queue(4);
        queue.push(Lane::Foreground, 1).await.unwrap();
        queue.close();
        assert!(matches!(
            queue.push(Lane::Foreground, 2).await,
            Err(DbError::Closed)
        ));
        assert_eq!(queue.next(Lane::Foreground), Some((Lane::Foreground, 1)));
        assert_eq!(queue.next(Lane::Foreground), None);
    }
}
