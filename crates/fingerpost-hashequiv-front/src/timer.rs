//! One timer for all deadlines of a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer whose deadline may move with every message, at the cost of a
/// comparison: the runtime's own timer is only touched when there was none, or
/// when the new deadline is earlier. It may wake its task once too early.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready once `due` has passed; never without a deadline.
    pub(crate) fn poll_until(&mut self, due: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
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
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
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

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moves_both_ways() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let mut poll = async |due: Instant, within: Duration| {
            let wait = poll_fn(|cx| timer.poll_until(Some(due), cx));
            tokio::time::timeout(within, wait).await.is_ok()
        };
        assert!(!poll(start + 10 * SECOND, SECOND).await);
        assert!(!poll(start + 20 * SECOND, 10 * SECOND).await);
        assert!(poll(start + 12 * SECOND, 2 * SECOND).await);
        assert_eq!(start.elapsed(), 12 * SECOND);
        assert!(poll(start + 13 * SECOND, 2 * SECOND).await);
        assert_eq!(start.elapsed(), 13 * SECOND);
    }

    #[test]
    fn no_deadline_is_never() {
        let now = Instant::now();
        assert_eq!(earlier(None, Some(now)), Some(now));
        assert_eq!(earlier(Some(now), Some(now + SECOND)), Some(now));
        assert_eq!(earlier(None, None), None);
    }
}
