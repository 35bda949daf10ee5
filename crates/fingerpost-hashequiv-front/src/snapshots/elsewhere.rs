//! Shards that clients fetch from another place: found there, and put there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::EntryName;
use fingerpost_core::{
    Audience, EntryForm, EntryNames, Follower, Following, KeyHasher, Redirect, Redirects,
};
use fingerpost_snapshot::Digest;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::Shard;

/// Shards that are put to targets at once.
const PLACES: usize = 2;
/// A shard that was put, or could not be, is left alone for so long.
const PAUSE: Duration = Duration::from_secs(120);
/// So many are remembered for that; with more, none is put for a while.
const TRIED_MAX: usize = 10_000;

/// Knows the places, and the names of shards there.
pub(crate) struct Elsewhere {
    targets: Arc<dyn Redirects>,
    names: EntryNames,
    places: Arc<Semaphore>,
    tried: Mutex<HashMap<EntryName, Instant>>,
}

/// A shard and who asks for it.
pub(crate) struct Wanted {
    following: Following,
    form: EntryForm,
}

impl Elsewhere {
    pub(crate) fn new(targets: Arc<dyn Redirects>, names: EntryNames) -> Self {
        Self {
            targets,
            names,
            places: Arc::new(Semaphore::new(PLACES)),
            tried: Mutex::default(),
        }
    }

    /// A shard as `client` would fetch it from elsewhere; `None` if no target is for
    /// it. A client of plain HTTP goes wherever it is sent, and fails for good when
    /// the target does.
    pub(crate) fn wanted(
        &self,
        client: Follower,
        audience: Audience,
        digest: &Digest,
        bytes: u64,
    ) -> Option<Wanted> {
        let targets = self.targets.advertised(&client).into_iter();
        let following = Following {
            targets: targets.map(|target| target.name.into_bytes()).collect(),
            client,
            audience,
        };
        // Without the server's secret nobody can tell the name from the digest.
        let mut key = KeyHasher::new("snapshot-shard", 1);
        key.part(digest.as_bytes());
        let form = EntryForm {
            name: self.names.name(&key.finish(), "identity"),
            coding: None,
            plain_len: bytes,
        };
        let takes = self.targets.would_take(&following, None, Some(bytes));
        takes.then_some(Wanted { following, form })
    }

    /// Where it lies.
    pub(crate) async fn find(&self, wanted: &Wanted) -> Option<Redirect> {
        self.targets.find(&wanted.following, &wanted.form).await
    }

    /// Puts it to a target behind the back of who asked for it, unless there is too
    /// much to do or that was tried lately.
    pub(crate) fn put(self: &Arc<Self>, wanted: Wanted, shard: Shard) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return;
        };
        if !self.may_try(wanted.form.name) {
            return;
        }
        let targets = Arc::clone(&self.targets);
        tokio::spawn(async move {
            let _place = place;
            let put = targets.publish(&wanted.following, &wanted.form, Arc::new(shard));
            if let Err(why) = put.await {
                tracing::debug!(%why, "a shard is not put to a redirect target: {why}");
            }
        });
    }

    fn may_try(&self, name: EntryName) -> bool {
        let mut tried = self.tried.lock();
        if tried.len() >= TRIED_MAX {
            tried.retain(|_, at| at.elapsed() < PAUSE);
        }
        let is_new = tried.get(&name).is_none_or(|at| at.elapsed() >= PAUSE);
        let may = is_new && tried.len() < TRIED_MAX;
        if may {
            tried.insert(name, Instant::now());
        }
        may
    }
}
