//! Looking for newer snapshots.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::FollowOptions;
use super::fetch::{Fetch, FetchError};
use super::options::{about, growing};
use super::place::{Place, is_name};
use super::shared::{Fallbacks, Shared, Task};
use super::source::{Listed, Listing, Source};
use super::view::Opened;

/// How long a listing may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever fetches snapshots, and leaves them for the follower.
pub(super) struct Refresher<S> {
    source: Arc<S>,
    options: Arc<FollowOptions>,
    shared: Arc<Shared>,
    place: Option<Place>,
    /// Times in a row that a look ended without anything to answer from.
    troubles: u32,
}

impl<S: Source> Refresher<S> {
    pub(super) const fn new(
        source: Arc<S>,
        options: Arc<FollowOptions>,
        shared: Arc<Shared>,
        place: Option<Place>,
    ) -> Self {
        Self {
            source,
            options,
            shared,
            place,
            troubles: 0,
        }
    }

    /// Looks now and then, until the agent ends.
    pub(super) async fn run(mut self, mut ends: watch::Receiver<()>) {
        tokio::select! {
            () = self.look_now_and_then() => {}
            _ = ends.changed() => {}
        }
    }

    async fn look_now_and_then(&mut self) {
        loop {
            let looked = self.look().await;
            let failed = looked.is_err();
            if let Err(error) = &looked {
                self.shared.counts.failures.fetch_add(1, Ordering::Relaxed);
                let why = error.to_string();
                if self.shared.is_in_trouble(Task::Snapshots, why) {
                    tracing::warn!(%error, "no snapshot could be fetched");
                }
            } else {
                self.shared.is_well(Task::Snapshots);
            }
            let answers = self.shared.view.load().is_some();
            self.troubles = match answers && !failed {
                true => 0,
                false => self.troubles.saturating_add(1),
            };
            self.rest(failed).await;
        }
    }

    /// Until the next look. Who is woken rests as well, the longer the more often in a row that is.
    async fn rest(&self, failed: bool) {
        let pace = &self.options.pace;
        let troubles = self.troubles.saturating_sub(1);
        let least = growing(pace.fetch_again, troubles, pace.look_every);
        let until = Instant::now() + about(pace.look_every);
        sleep(least).await;
        if !failed {
            let left = until.saturating_duration_since(Instant::now());
            _ = timeout(left, self.shared.look.notified()).await;
        }
    }

    /// Takes the newest snapshot that will do, if it is worth while.
    async fn look(&self) -> Result<(), FetchError> {
        let listing = timeout(PATIENCE, self.source.snapshots()).await;
        let listing = listing.map_err(|_| failed("the server does not list its snapshots"))??;
        self.shared.set_fallbacks(fallbacks(&listing));
        let is_one_waiting = self.shared.pending.lock().is_some();
        let Some(place) = self.place.as_ref().filter(|_| self.options.snapshots) else {
            return Ok(());
        };
        if is_one_waiting {
            return Ok(());
        }
        let here = self.here();
        for listed in &listing.snapshots {
            if !self.is_wanted(listed, here.as_deref()) {
                continue;
            }
            let fetch = Fetch {
                source: &*self.source,
                place,
                options: &self.options,
                here: here.clone(),
            };
            match fetch.fetch(listed).await {
                Ok(opened) => {
                    self.shared.counts.fetched.fetch_add(1, Ordering::Relaxed);
                    *self.shared.pending.lock() = Some(Arc::new(opened));
                    self.shared.poke.notify_one();
                    return Ok(());
                }
                Err(error @ FetchError::Failed(_)) => return Err(error),
                Err(error) => self.refuse(&listed.name, &error),
            }
        }
        Ok(())
    }

    /// What answers on this host.
    fn here(&self) -> Option<Arc<Opened>> {
        let view = self.shared.view.load();
        view.as_deref().map(|view| Arc::clone(&view.opened))
    }

    /// Whether a snapshot is worth its bytes.
    fn is_wanted(&self, listed: &Listed, here: Option<&Opened>) -> bool {
        if !is_name(&listed.name) || self.shared.is_refused(&listed.name) {
            return false;
        }
        let Some(here) = here.map(Opened::manifest) else {
            return true;
        };
        let age = listed.created.seconds();
        let newer = age.saturating_sub(here.created.seconds());
        let view = self.shared.view.load();
        let changes = view.as_deref().map_or(0, |view| view.overlay.len());
        let is_worth_while =
            newer >= self.options.newer_by.as_secs() || changes > self.options.overlay_max / 5;
        listed.position > here.position && is_worth_while
    }

    fn refuse(&self, name: &str, error: &FetchError) {
        let counter = match error {
            FetchError::Untrusted(_) => &self.shared.counts.untrusted,
            FetchError::Unfit(_) | FetchError::Failed(_) => &self.shared.counts.failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if self.shared.refuse(name) {
            tracing::warn!(snapshot = name, %error, "a snapshot is not used");
        }
    }
}

fn fallbacks(listing: &Listing) -> Fallbacks {
    match &listing.fallbacks {
        None => Fallbacks::NotKnown,
        Some(names) if names.is_empty() => Fallbacks::None,
        Some(_) => Fallbacks::Some,
    }
}

fn failed(why: &str) -> FetchError {
    FetchError::Failed(why.to_owned())
}
