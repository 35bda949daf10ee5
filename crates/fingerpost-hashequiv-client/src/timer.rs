//! One timer for all deadlines of a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer whose deadline may move with every message, at the cost of a
/// comparison: the runtime's own timer is only touched when there was none, or
/// when the new deadline is earlier. It may wake its task once too early.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `due` has passed; never without a deadline.
    pub fn poll_until(&mut self, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = due else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if due < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

/// The earlier of two deadlines, where `None` is never.
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const STEP: Duration = Duration::from_millis(20);

    /// Waits for `due`, but no longer than until `limit`.
    async fn wait(timer: &mut Timer, due: Instant, limit: Instant) -> bool {
        let wait = poll_fn(|cx| timer.poll_until(Some(due), cx));
        tokio::time::timeout_at(limit, wait).await.is_ok()
    }

    #[tokio::test]
    async fn a_deadline_moves_both_ways() {
        let start = Instant::now();
        let mut timer = Timer::default();
        assert!(!wait(&mut timer, start + 5 * STEP, start + STEP).await);
        assert!(!wait(&mut timer, start + 50 * STEP, start + 7 * STEP).await);
        let due = start + 9 * STEP;
        assert!(wait(&mut timer, due, start + 50 * STEP).await);
        assert!(Instant::now() >= due);
        let due = start + 11 * STEP;
        assert!(wait(&mut timer, due, start + 50 * STEP).await);
        assert!(Instant::now() >= due);
    }

    #[test]
    fn no_deadline_is_never() {
        let now = Instant::now();
        assert_eq!(earlier(None, Some(now)), Some(now));
        assert_eq!(earlier(Some(now), Some(now + STEP)), Some(now));
        assert_eq!(earlier(None, None), None);
    }
}
