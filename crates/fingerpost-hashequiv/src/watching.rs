//! Waiting for changes: one look at a namespace for all who wait.
//!
//! Thousands of hosts follow the same namespace. While one of them waits a task looks every
//! 200 ms where the namespace is, reads what was deleted since the look before, and wakes
//! those who are concerned. What was deleted lately they find in memory, so that neither
//! waiting nor being woken costs the database more the more there are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_snapshot::Change;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::changes::{ChangeFilter, Changes, ChangesSince, Cut};
use crate::namespace::NamespaceId;
use crate::service::HashEquiv;
use crate::store::{Store, StoreError};

/// How often it is looked for changes, which other processes may make.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Deletions and epochs of a namespace that are kept in memory, some 200 bytes each.
const RECENT_MAX: usize = 1000;

/// Where a namespace was when it was looked at, and what was deleted before.
#[derive(Clone, Debug)]
struct Look {
    cut: Cut,
    recent: Arc<Recent>,
}

/// Every deletion and epoch after a position, in order.
#[derive(Clone, Debug)]
struct Recent {
    after: u64,
    changes: VecDeque<Change>,
}

impl Look {
    fn first(cut: Cut) -> Self {
        let recent = Recent {
            after: cut.position,
            changes: VecDeque::new(),
        };
        Self {
            cut,
            recent: Arc::new(recent),
        }
    }

    /// The next look, which found no other epoch: nothing was deleted between.
    fn quiet(&self, cut: Cut) -> Self {
        let recent = Arc::clone(&self.recent);
        Self { cut, recent }
    }

    /// The next look, after which these deletions were read.
    fn followed_by(&self, told: Changes) -> Self {
        let mut recent = (*self.recent).clone();
        recent.changes.extend(told.changes);
        while recent.changes.len() > RECENT_MAX {
            if let Some(oldest) = recent.changes.pop_front() {
                recent.after = oldest.position();
            }
        }
        let epochs = recent.changes.iter().rev().find_map(epoch_of);
        let cut = Cut {
            position: told.position,
            epoch: epochs.unwrap_or(told.epoch),
        };
        let recent = Arc::new(recent);
        Self { cut, recent }
    }

    /// What came after a position, if that is known without the database.
    fn changes(&self, since: u64, limit: usize, filter: ChangeFilter) -> Option<Changes> {
        let first_known = match filter {
            ChangeFilter::All => self.cut.position,
            ChangeFilter::Deletions => self.recent.after,
        };
        if !(first_known..=self.cut.position).contains(&since) {
            return None;
        }
        let recent = &self.recent.changes;
        let seen = recent.partition_point(|change| change.position() <= since);
        let later = recent.range(seen..);
        // Each raise is there, and raises by one.
        let next = later.clone().find_map(epoch_of);
        let epoch = next.map_or(self.cut.epoch, |next| next.saturating_sub(1));
        let changes: Vec<Change> = later.take(limit).cloned().collect();
        let is_all = seen + changes.len() == recent.len();
        let told = changes.last().map_or(since, Change::position);
        Some(Changes {
            epoch,
            changes,
            position: if is_all { self.cut.position } else { told },
            is_all,
        })
    }
}

const fn epoch_of(change: &Change) -> Option<u64> {
    match change {
        Change::Epoch { epoch, .. } => Some(*epoch),
        Change::Adopted { .. } | Change::Deleted { .. } => None,
    }
}

/// The looks at one namespace, for who waits.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Wakes at every other position.
    positions: watch::Sender<Option<Look>>,
    /// Wakes at every other epoch. Has the newest look as well.
    epochs: watch::Sender<Option<Look>>,
    looking: Mutex<Option<JoinHandle<()>>>,
}

/// Somebody who waits.
#[derive(Debug)]
pub struct Watching {
    looks: watch::Receiver<Option<Look>>,
    filter: ChangeFilter,
}

impl Watching {
    /// At most `limit` of the changes after a position, or that there are none, if the
    /// newest look knows. `None`: the database has to be asked.
    pub fn changes(&self, since: u64, limit: usize) -> Option<Changes> {
        let look = self.looks.borrow();
        look.as_ref()?.changes(since, limit, self.filter)
    }

    /// Waits until a look found something of what is waited for, or did so since the last
    /// call.
    pub async fn changed(&mut self) {
        if self.looks.changed().await.is_err() {
            // The service has gone, and with it whoever would look.
            std::future::pending().await
        }
    }
}

impl Watch {
    fn join(
        self: &Arc<Self>,
        filter: ChangeFilter,
        start: impl FnOnce() -> JoinHandle<()>,
    ) -> Watching {
        let mut looking = self.looking.lock();
        let looks = match filter {
            ChangeFilter::All => self.positions.subscribe(),
            ChangeFilter::Deletions => self.epochs.subscribe(),
        };
        if looking.as_ref().is_none_or(JoinHandle::is_finished) {
            *looking = Some(start());
        }
        Watching { looks, filter }
    }

    /// Whether nobody waits any more. Then whoever comes next has another task started.
    fn is_left(&self) -> bool {
        let mut looking = self.looking.lock();
        let is_left = self.positions.receiver_count() + self.epochs.receiver_count() == 0;
        if is_left {
            *looking = None;
        }
        is_left
    }

    fn tell(&self, look: Look) {
        let put = |by: fn(&Cut) -> u64| {
            let look = look.clone();
            move |known: &mut Option<Look>| {
                let before = known.replace(look);
                let now = known.as_ref();
                before.is_none_or(|before| now.is_some_and(|now| by(&before.cut) != by(&now.cut)))
            }
        };
        self.positions.send_if_modified(put(|cut| cut.position));
        self.epochs.send_if_modified(put(|cut| cut.epoch));
    }

    /// Looks again and again, as long as somebody waits.
    async fn keep_looking(self: Arc<Self>, store: Arc<dyn Store>, at: NamespaceId) {
        while !self.is_left() {
            let before = self.epochs.borrow().clone();
            match look(&*store, at, before).await {
                Ok(look) => self.tell(look),
                // Who waits for long asks the database, and is told.
                Err(error) => tracing::debug!(%error, "cannot look for changes"),
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn look(
    store: &dyn Store,
    at: NamespaceId,
    before: Option<Look>,
) -> Result<Look, StoreError> {
    let cut = store.cut(at).await?;
    let Some(before) = before else {
        return Ok(Look::first(cut));
    };
    if cut.position < before.cut.position {
        return Ok(Look::first(cut));
    }
    if cut.epoch == before.cut.epoch {
        return Ok(before.quiet(cut));
    }
    let since = before.cut.position;
    let told = store.changes(at, since, RECENT_MAX, ChangeFilter::Deletions);
    Ok(match told.await? {
        ChangesSince::Told(told) if told.is_all => before.followed_by(told),
        // Too much, or another life: who follows reads it for themselves.
        ChangesSince::Told(_) | ChangesSince::Gone { .. } => Look::first(cut),
    })
}

impl HashEquiv {
    /// Waits for changes of this namespace, as long as the result is kept. Must be called
    /// within a runtime.
    pub fn watch_changes(&self, filter: ChangeFilter) -> Watching {
        let (watch, store) = (&self.watch, &self.store);
        let own = self.at.own();
        watch.join(filter, || {
            tokio::spawn(Arc::clone(watch).keep_looking(Arc::clone(store), own))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const HASH: [u8; 32] = [1; 32];

    fn deleted(position: u64) -> Change {
        Change::Deleted {
            position,
            method: "m".to_owned(),
            taskhash: HASH,
        }
    }

    const fn epoch(position: u64, epoch: u64) -> Change {
        Change::Epoch { position, epoch }
    }

    const fn cut(position: u64, epoch: u64) -> Cut {
        Cut { position, epoch }
    }

    fn told(changes: Vec<Change>, position: u64) -> Changes {
        Changes {
            epoch: 0,
            changes,
            position,
            is_all: true,
        }
    }

    /// (epoch, positions, up to where, whether that is all)
    fn words(look: &Look, since: u64, limit: usize) -> Option<(u64, Vec<u64>, u64, bool)> {
        let changes = look.changes(since, limit, ChangeFilter::Deletions)?;
        let positions = changes.changes.iter().map(Change::position).collect();
        Some((changes.epoch, positions, changes.position, changes.is_all))
    }

    #[test]
    fn what_was_deleted_between_looks_is_known_from_the_first_one_on() {
        let first = Look::first(cut(10, 4));
        assert_eq!(words(&first, 10, 9), Some((4, vec![], 10, true)));
        let look = first.quiet(cut(20, 4));
        assert_eq!(words(&look, 9, 9), None);
        assert_eq!(words(&look, 12, 9), Some((4, vec![], 20, true)));
        assert_eq!(words(&look, 21, 9), None, "a position ahead");
        let changes = vec![deleted(22), epoch(23, 5), deleted(24), epoch(26, 6)];
        let look = look.followed_by(told(changes, 30));
        assert_eq!(look.cut, cut(30, 6));
        assert_eq!(
            words(&look, 10, 9),
            Some((4, vec![22, 23, 24, 26], 30, true))
        );
        assert_eq!(words(&look, 10, 2), Some((4, vec![22, 23], 23, false)));
        assert_eq!(words(&look, 23, 2), Some((5, vec![24, 26], 30, true)));
        assert_eq!(words(&look, 26, 2), Some((6, vec![], 30, true)));
        // Additions are not kept.
        let all = |since| look.changes(since, 9, ChangeFilter::All);
        assert_eq!((all(29), all(30).unwrap().is_all), (None, true));
    }

    #[test]
    fn the_oldest_deletions_are_dropped() {
        let first = Look::first(cut(0, 0));
        let changes = (1..=RECENT_MAX as u64).map(|position| epoch(position, position));
        let look = first.followed_by(told(changes.collect(), 5000));
        assert!(words(&look, 0, 1).is_some());
        let changes = vec![deleted(5001), epoch(5002, 1001)];
        let look = look.followed_by(told(changes, 5002));
        assert_eq!(words(&look, 1, 1), None);
        assert_eq!(words(&look, 2, 1), Some((2, vec![3], 3, false)));
        assert_eq!(look.recent.changes.len(), RECENT_MAX);
    }

    #[tokio::test]
    async fn only_who_is_concerned_is_woken_and_the_last_who_leaves_ends_it() {
        let watch = Arc::new(Watch::default());
        let started = std::cell::Cell::new(0);
        let join = |filter| {
            watch.join(filter, || {
                started.set(started.get() + 1);
                tokio::spawn(std::future::pending())
            })
        };
        let (mut all, mut deletions) = (join(ChangeFilter::All), join(ChangeFilter::Deletions));
        let is_woken = |watching: &mut Watching| watching.changed().now_or_never().is_some();
        watch.tell(Look::first(cut(1, 1)));
        assert!(is_woken(&mut all) && is_woken(&mut deletions));
        watch.tell(Look::first(cut(2, 1)));
        assert!(is_woken(&mut all) && !is_woken(&mut deletions));
        let known = deletions.changes(2, 1);
        assert_eq!(known.unwrap().position, 2, "all the same");
        watch.tell(Look::first(cut(3, 2)));
        assert!(is_woken(&mut all) && is_woken(&mut deletions));
        watch.tell(Look::first(cut(3, 2)));
        assert!(!is_woken(&mut all) && !is_woken(&mut deletions));
        drop(all);
        assert!(!watch.is_left());
        drop(deletions);
        assert!(watch.is_left());
        drop(join(ChangeFilter::All));
        assert_eq!(started.get(), 2);
    }
}
