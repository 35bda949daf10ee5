//! Reading on one thread while another writes.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::ImportError;

/// Batches that may wait for the writer.
const DEPTH: usize = 3;

/// Where a producer puts its batches.
pub(super) struct Outlet<B>(SyncSender<B>);

/// The other side has failed and takes nothing more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed;

impl<B> Outlet<B> {
    pub(super) fn send(&self, batch: B) -> Result<(), Closed> {
        self.0.send(batch).map_err(|_| Closed)
    }
}

/// Runs `produce` over `source` on a thread of its own and `consume` on this
/// one. The first error, of whichever side, ends both; a consumer's error is the
/// one returned.
pub(super) fn pipe<S: Send, B: Send>(
    source: &mut S,
    produce: impl FnOnce(&S, Outlet<B>) -> Result<(), ImportError> + Send,
    mut consume: impl FnMut(B) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(DEPTH);
        let producer = scope.spawn(move || produce(source, Outlet(sender)));
        let consumed = receiver.iter().try_for_each(&mut consume);
        // A producer that waits for room has to hear that nobody listens.
        drop(receiver);
        let produced = producer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        consumed.and(produced)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_consumer_stops_the_producer() {
        let result = pipe(
            &mut (),
            |(), outlet| {
                while outlet.send(1).is_ok() {}
                Ok(())
            },
            |_| Err(ImportError::Interrupted),
        );
        assert!(matches!(result, Err(ImportError::Interrupted)));
    }

    #[test]
    fn a_failing_producer_is_heard_after_its_last_batch() {
        let mut sum = 0;
        let result = pipe(
            &mut (),
            |(), outlet| {
                let _ = outlet.send(5);
                Err(ImportError::Interrupted)
            },
            |batch| {
                sum += batch;
                Ok(())
            },
        );
        assert!(matches!(result, Err(ImportError::Interrupted)));
        assert_eq!(sum, 5);
    }
}
