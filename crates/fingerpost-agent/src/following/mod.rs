//! Following a namespace: a snapshot of its mappings on this host, and what changed since.
//!
//! One task, the [`Follower`], reads the server's changes without end: it tells those who
//! remember answers ([`Heard`]) and keeps an overlay over the snapshot. Another one, the
//! [`Refresher`], looks for newer snapshots and fetches them. Look-ups see a [`view::View`], a snapshot with its
//! overlay, which is replaced in one step. Without a snapshot only deletions are heard of.
//!
//! What is answered here is no older than what the last whole answer of the server told. [`FollowOptions`]
//! say how long that may be ago.

mod adopting;
mod fetch;
mod follower;
mod freshness;
mod keeping;
mod log;
mod note;
mod options;
mod overlay;
mod place;
mod reading;
mod refresher;
mod shared;
mod source;
mod standing;
mod status;
mod telling;
#[cfg(test)]
mod tests;
mod view;
mod warming;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::Clock;
use fingerpost_signatures::KeyRing;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub(crate) use self::options::{FollowOptions, Publishers};
pub(crate) use self::source::{Changes, FollowError, Listed, Listing, Wanted};
pub(crate) use self::source::{Heard, Source};
pub(crate) use self::status::FollowStatus;

use self::follower::Follower;
use self::place::Place;
use self::refresher::Refresher;
use self::shared::Shared;
use crate::state::DeletionEpoch;

/// Longest wait for what is noted in the end.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// What is known of a task on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its unihash.
    Unihash([u8; 32]),
    /// The server had nothing for it a moment ago.
    Unknown,
    /// The server must be asked.
    Nothing,
}

/// A namespace that is followed, until the last clone is gone.
#[derive(Clone)]
pub(crate) struct Followed {
    shared: Arc<Shared>,
    publishers: Publishers,
    /// Whoever follows ends with the last of these, or when it is told so.
    ends: Arc<watch::Sender<()>>,
    /// Ends with whoever follows.
    is_over: watch::Receiver<()>,
}

impl Followed {
    /// Begins to follow. What the host has already is used once the server told what changed since, or is
    /// found not to answer. Without a directory to write in only deletions are heard of.
    pub(crate) async fn start<S: Source, H: Heard>(
        source: S,
        heard: Arc<H>,
        mut options: FollowOptions,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (directory, namespace) = (options.directory.clone(), options.namespace.clone());
        let made = blocking(move || Place::make(&directory, namespace.as_deref())).await;
        let place = match made.flatten() {
            Ok(place) => Some(place),
            Err(error) => {
                let directory = options.directory.display();
                tracing::warn!(%error, "no snapshots can be kept in {directory}");
                options.snapshots = false;
                None
            }
        };
        let shared = Arc::new(Shared::new(&options));
        let publishers = options.publishers.clone();
        let (source, options) = (Arc::new(source), Arc::new(options));
        let (sender, ends) = watch::channel(());
        let mut follower = Follower::new(
            Arc::clone(&source),
            heard,
            Arc::clone(&options),
            Arc::clone(&shared),
            place.clone(),
            clock,
        );
        follower.resume().await;
        let (over, is_over) = watch::channel(());
        let following = follower.run(ends.clone());
        tokio::spawn(async move {
            following.await;
            drop(over);
        });
        let refresher = Refresher::new(source, options, Arc::clone(&shared), place);
        tokio::spawn(refresher.run(ends));
        Self {
            shared,
            publishers,
            ends: Arc::new(sender),
            is_over,
        }
    }

    /// What is known of a task. The first look-up in a part of a snapshot reads that part, some
    /// milliseconds, unless that was done behind the back already; others read 4 KiB at most.
    ///
    /// It need not be remembered: it is as good the next time, or better. [`Heard`] says of which epoch it is.
    #[inline]
    pub(crate) fn lookup(&self, method: &str, taskhash: &[u8; 32]) -> Found {
        self.shared.lookup(method, taskhash, Instant::now())
    }

    /// Whether all deletions were heard of that the server knew 10 s ago.
    pub(crate) fn is_current(&self) -> bool {
        self.shared.is_current(Instant::now())
    }

    /// Whether the server answered when it was asked last what changed; nothing before that.
    pub(crate) fn was_answered(&self) -> Option<bool> {
        self.shared.was_answered()
    }

    /// How long ago the server had told of all that it deleted, if it is known.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.shared.freshness.age(Instant::now())
    }

    /// An answer of the server had this epoch. With a later one than was heard of nothing is
    /// answered here until what was deleted is known, which is asked for at once.
    pub(crate) fn saw(&self, epoch: DeletionEpoch) {
        self.shared.saw(epoch);
    }

    /// From now on snapshots are believed that one of these has signed; `None`: whoever made
    /// them. When this returns nothing is answered from another one.
    pub(crate) async fn believe(&self, publishers: Option<KeyRing>) {
        self.publishers.set(publishers);
        let (shared, publishers) = (Arc::clone(&self.shared), self.publishers.now());
        let judge = move || {
            let view = shared.view.load_full();
            let shown = view.map(|view| Arc::clone(&view.opened));
            let pending = shared.pending.lock().clone();
            for opened in shown.into_iter().chain(pending) {
                opened.judge_again(publishers.as_deref());
            }
        };
        // It goes on to its end, whoever waits for it.
        _ = blocking(judge).await;
        self.shared.refuse_nothing();
        self.shared.poke.notify_one();
        self.shared.look.notify_one();
    }

    /// Ends it, and waits until it is noted where it was, so that the next start goes on there.
    pub(crate) async fn close(&self) {
        _ = self.ends.send(());
        // It ends without a word.
        _ = timeout(CLOSE_MAX, self.is_over.clone().changed()).await;
    }

    /// How it is.
    pub(crate) fn status(&self) -> FollowStatus {
        self.shared.status(Instant::now())
    }
}

/// Does what blocks. Once it began it goes on to its end, whoever stops waiting.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(job).await;
    done.map_err(io::Error::other)
}
