//! A follower, and who hears of changes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use fingerpost_core::{ManualClock, Timestamp};
use fingerpost_snapshot::Hash;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::server::{METHOD, Server, hash, unihash};
use crate::following::note::Note;
use crate::following::options::Pace;
use crate::following::place::Place;
use crate::following::shared::Shared;
use crate::following::{FollowOptions, Followed, Found, Heard};
use crate::state::DeletionEpoch;

/// A memory of answers.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) epoch: Mutex<Option<DeletionEpoch>>,
    pub(super) deleted: Mutex<HashSet<Hash>>,
    pub(super) added: Mutex<HashSet<Hash>>,
    pub(super) all_gone: AtomicUsize,
    /// Who answers look-ups.
    shared: OnceLock<Weak<Shared>>,
}

impl Heard for Memory {
    fn moved(&self, epoch: DeletionEpoch) {
        let before = self.epoch.lock().replace(epoch);
        let goes_back =
            |before: DeletionEpoch| before.history == epoch.history && before.epoch > epoch.epoch;
        assert!(!before.is_some_and(goes_back), "{before:?}, {epoch:?}");
    }

    fn changed(&self, method: &str, taskhash: &Hash, unihash: Option<Hash>) {
        match unihash {
            Some(_) => self.added.lock().insert(*taskhash),
            None => self.deleted.lock().insert(*taskhash),
        };
        let shared = self.shared.get().and_then(Weak::upgrade);
        if let Some(shared) = shared.filter(|_| unihash.is_none()) {
            let found = shared.lookup(method, taskhash, Instant::now());
            assert!(!matches!(found, Found::Unihash(_)), "told too early");
        }
    }

    fn all_gone(&self) {
        self.all_gone.fetch_add(1, Ordering::Relaxed);
    }

    async fn settle(&self) -> bool {
        true
    }
}

impl Memory {
    pub(super) fn all_gone(&self) -> usize {
        self.all_gone.load(Ordering::Relaxed)
    }

    pub(super) fn is_deleted(&self, number: u32) -> bool {
        self.deleted.lock().contains(&hash(number))
    }
}

/// A host with a follower. What is on disk stays over its restarts.
pub(super) struct World {
    pub(super) directory: TempDir,
    pub(super) server: Server,
    pub(super) memory: Arc<Memory>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) options: FollowOptions,
    followed: Option<Followed>,
}

impl World {
    /// One whose follower does not run yet.
    pub(super) fn new(server: Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = FollowOptions::in_directory(directory.path().to_owned());
        options.namespace = Some("main".to_owned());
        let short = Duration::from_millis(5);
        options.pace = Pace {
            look_every: 4 * short,
            wait: 10 * short,
            poll_every: short,
            retry: (short, 4 * short),
            fetch_again: short,
            save_every: Duration::ZERO,
        };
        Self {
            directory,
            server,
            memory: Arc::default(),
            clock: Arc::new(ManualClock::new(Timestamp(1_795_100_000_000_000))),
            options,
            followed: None,
        }
    }

    pub(super) async fn start(&mut self) {
        let followed = Followed::start(
            self.server.clone(),
            Arc::clone(&self.memory),
            self.options.clone(),
            Arc::clone(&self.clock) as Arc<_>,
        );
        let followed = followed.await;
        let shared = Arc::downgrade(&followed.shared);
        self.memory.shared.set(shared).unwrap();
        self.followed = Some(followed);
    }

    /// Ends the follower, and waits until it has.
    pub(super) async fn stop(&mut self) {
        let followed = self.followed.take().unwrap();
        let shared = Arc::downgrade(&followed.shared);
        drop(followed);
        eventually("the tasks end", || shared.upgrade().is_none()).await;
        self.memory = Arc::default();
    }

    pub(super) fn followed(&self) -> &Followed {
        self.followed.as_ref().unwrap()
    }

    pub(super) fn found(&self, number: u32) -> Found {
        self.followed().lookup(METHOD, &hash(number))
    }

    /// What is found a while from now, if nothing is heard of the server until then.
    pub(super) fn found_in(&self, number: u32, seconds: u64) -> Found {
        let then = Instant::now() + Duration::from_secs(seconds);
        let shared = &self.followed().shared;
        shared.lookup(METHOD, &hash(number), then)
    }

    pub(super) async fn finds(&self, number: u32) {
        let expected = Found::Unihash(unihash(number));
        self.says(number, expected).await;
    }

    pub(super) async fn says(&self, number: u32, expected: Found) {
        let what = format!("{number} is {expected:?}");
        eventually(&what, || self.found(number) == expected).await;
    }

    pub(super) async fn answers_from(&self, name: &str) {
        eventually(name, || self.snapshot().as_deref() == Some(name)).await;
    }

    pub(super) fn snapshot(&self) -> Option<String> {
        let status = self.followed().status();
        status.snapshot.map(|snapshot| snapshot.name)
    }

    /// Everything of now was read and noted.
    pub(super) async fn settled(&self) {
        let position = self.server.inner(|inner| inner.position);
        let place = self.place();
        eventually("it is noted", || {
            Note::load(&place).is_some_and(|note| note.position >= position)
        })
        .await;
    }

    pub(super) fn place(&self) -> Place {
        Place::make(self.directory.path(), Some("main")).unwrap()
    }
}

/// Waits until something is so, for some seconds on a busy machine.
pub(super) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "not in time: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
