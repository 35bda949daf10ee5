//! Calls that block, a bounded number at once.

use std::sync::Arc;

use fingerpost_core::CacherError;
use tokio::sync::Semaphore;

/// Lets through so many blocking calls. One that hangs, as on a disk that
/// died, keeps its place although the caller has left, so that a dead disk
/// holds no more threads than these.
pub(crate) struct Pool(Arc<Semaphore>);

impl Pool {
    pub(crate) fn new(calls: usize) -> Self {
        Self(Arc::new(Semaphore::new(calls)))
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CacherError> + Send + 'static,
    ) -> Result<T, CacherError> {
        let place = Arc::clone(&self.0).acquire_owned().await;
        let place = place.expect("it is never closed");
        let call = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        // The runtime stops, or the call panicked.
        call.await
            .unwrap_or_else(|error| Err(CacherError::Other(error.to_string())))
    }
}
