//! Calls that block, a bounded number at once.

use std::sync::Arc;

use fingerpost_core::CacherError;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Lets through so many blocking calls. One that hangs, as on a disk that
/// died, keeps its place although the caller has left, so that a dead disk
/// holds no more threads than these.
#[derive(Clone)]
pub(crate) struct Pool {
    places: Arc<Semaphore>,
    /// Where tests make every call hang.
    #[cfg(test)]
    pub(crate) gate: Arc<gate::Gate>,
}

impl Pool {
    pub(crate) fn new(calls: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(calls)),
            #[cfg(test)]
            gate: Arc::default(),
        }
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CacherError> + Send + 'static,
    ) -> Result<T, CacherError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("it is never closed");
        #[cfg(test)]
        let gate = Arc::clone(&self.gate);
        let call = tokio::task::spawn_blocking(move || {
            #[cfg(test)]
            gate.pass();
            let result = work();
            drop(place);
            result
        });
        // The runtime stops, or the call panicked.
        call.await
            .unwrap_or_else(|error| Err(CacherError::Other(error.to_string())))
    }

    /// Runs what nobody waits for when there is a place for it; not at all if the
    /// runtime stops before.
    pub(crate) fn run_behind(&self, work: impl FnOnce() + Send + 'static) {
        let pool = self.clone();
        let run = async move {
            let work = || {
                work();
                Ok(())
            };
            if let Err(error) = pool.run(work).await {
                tracing::debug!(%error, "not done behind a caller");
            }
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(run);
        }
    }
}

#[cfg(test)]
pub(crate) mod gate {
    use parking_lot::{Condvar, Mutex};

    /// Stands before every call, on its thread.
    #[derive(Default)]
    pub(crate) struct Gate {
        state: Mutex<State>,
        opened: Condvar,
    }

    #[derive(Default)]
    struct State {
        is_shut: bool,
        held: usize,
        came: usize,
    }

    impl Gate {
        pub(super) fn pass(&self) {
            let mut state = self.state.lock();
            state.came += 1;
            state.held += 1;
            self.opened.wait_while(&mut state, |state| state.is_shut);
            state.held -= 1;
        }

        /// Holds every call from now on, or lets all of them go on.
        pub(crate) fn shut(&self, is_shut: bool) {
            self.state.lock().is_shut = is_shut;
            self.opened.notify_all();
        }

        /// Threads that are held now.
        pub(crate) fn held(&self) -> usize {
            self.state.lock().held
        }

        /// Calls that came here so far.
        pub(crate) fn came(&self) -> usize {
            self.state.lock().came
        }
    }
}
