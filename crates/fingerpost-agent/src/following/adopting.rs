//! Bringing snapshots up to date, and giving them up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fingerpost_snapshot::Change;
use tokio::time::Instant;

use super::follower::{AT_ONCE, Follower};
use super::options::growing;
use super::overlay::{Full, Overlay};
use super::reading::Batch;
use super::source::{FollowError, Heard, Source};
use super::telling::Telling;
use super::view::{Opened, View};
use super::warming;

/// While a view catches up others hear of deletions at least as often as this.
const POLL_MEANWHILE: Duration = Duration::from_secs(2);

impl<S: Source, H: Heard> Follower<S, H> {
    /// Brings the snapshot that waits up to date, unless that failed a moment ago.
    pub(super) async fn try_to_adopt(&mut self, opened: &Arc<Opened>) {
        let (failures, not_before) = self.adoption;
        if Instant::now() < not_before {
            return;
        }
        self.adoption = (0, Instant::now());
        let generation = self.generation;
        match self.adopt(opened).await {
            Ok(()) => self.shared.look.notify_one(),
            // It went with all the rest.
            Err(FollowError::Gone) if self.generation != generation => {}
            Err(FollowError::Gone) => {
                tracing::warn!(
                    snapshot = &*opened.name,
                    "a snapshot cannot be followed: too much was deleted since, or too long ago"
                );
                self.refuse(opened).await;
            }
            Err(FollowError::Failed(_)) => {
                let (first, longest) = self.options.pace.retry;
                let pause = growing(first, failures, longest);
                self.adoption = (failures.saturating_add(1), Instant::now() + pause);
                self.show_offline(opened).await;
            }
        }
    }

    /// Makes a view of a snapshot and what changed since, and shows it in the place of the one before.
    async fn adopt(&mut self, opened: &Arc<Opened>) -> Result<(), FollowError> {
        if self.telling.is_none() {
            // First it is known of which history the changes must be.
            self.poll(Duration::ZERO).await?;
        }
        let manifest = opened.manifest();
        let view = self.view(opened, true);
        self.keeping.begin_log(manifest).await;
        let (mut position, generation) = (manifest.position, self.generation);
        let mut polled = Instant::now();
        loop {
            let batch = self.read(Some(position), false, Duration::ZERO).await?;
            if batch.since.namespace != manifest.namespace {
                return Err(FollowError::Gone);
            }
            if !self.goes_on(&batch) {
                self.begin_anew().await;
                return Err(FollowError::Gone);
            }
            let deletions = apply(&view, &batch, position).await;
            let deletions = deletions.map_err(|Full| FollowError::Gone)?;
            self.keeping.log_new(deletions).await;
            position = batch.position;
            let told = self.telling.as_ref().map_or(0, Telling::position);
            if batch.is_all && position >= told {
                break;
            }
            if polled.elapsed() >= POLL_MEANWHILE || self.shared.standing.is_behind() {
                self.poll(Duration::ZERO).await?;
                polled = Instant::now();
            }
            if generation != self.generation {
                return Err(FollowError::Gone);
            }
        }
        self.keeping.commit_log(opened).await;
        self.view_position = position;
        self.show(Arc::new(view)).await;
        self.shared.no_longer_pending(opened);
        let manifest = opened.manifest();
        tracing::info!(
            snapshot = &*opened.name,
            rows = manifest.rows(),
            position,
            "look-ups are answered from a snapshot"
        );
        self.save().await;
        Ok(())
    }

    fn view(&self, opened: &Arc<Opened>, follows_additions: bool) -> View {
        let (most, entries) = (
            self.options.overlay_max,
            self.options.overlay_and_deletions_max,
        );
        View {
            opened: Arc::clone(opened),
            overlay: Overlay::new(most, entries),
            follows_additions,
        }
    }

    async fn show(&mut self, view: Arc<View>) {
        warming::warm(&view.opened);
        let opened = Arc::clone(&view.opened);
        let before = self.shared.view.swap(Some(view));
        if let Some(before) = before
            && !Arc::ptr_eq(&before.opened, &opened)
        {
            self.keeping.retire(&before.opened).await;
        }
    }

    /// Answers from what is on disk while the server does not answer.
    async fn show_offline(&mut self, opened: &Arc<Opened>) {
        let Some((age, deletions)) = self.keeping.offline(opened).await else {
            return;
        };
        let view = self.view(opened, false);
        for change in &deletions {
            if view.overlay.apply(change) == Err(Full) {
                return;
            }
        }
        let last = deletions.last().map_or(0, Change::position);
        self.view_position = last.max(opened.manifest().position);
        self.shared.freshness.set_age(age);
        self.show(Arc::new(view)).await;
        tracing::info!(
            snapshot = &*opened.name,
            "the server does not answer: look-ups are answered from the snapshot of the last time"
        );
    }

    pub(super) async fn give_up_damaged(&mut self) {
        let view = self.shared.view.load_full();
        if view.is_some_and(|view| view.opened.is_damaged()) {
            self.shared.counts.failures.fetch_add(1, Ordering::Relaxed);
            self.give_up().await;
        }
    }

    /// Answers nothing any more, and has another snapshot fetched.
    pub(super) async fn give_up(&mut self) {
        if let Some(view) = self.shared.view.load_full() {
            // First it is moved out of the way of the one that comes.
            self.keeping.retire(&view.opened).await;
            self.shared.no_longer_pending(&view.opened);
            self.shared.view.store(None);
        }
        self.shared.look.notify_one();
    }

    /// Does without a snapshot that nobody is answered from, or only while the server is away.
    async fn refuse(&mut self, opened: &Arc<Opened>) {
        self.shared.refuse(&opened.name);
        let view = self.shared.view.load_full();
        if view.is_some_and(|view| Arc::ptr_eq(&view.opened, opened)) {
            self.give_up().await;
            return;
        }
        self.keeping.retire(opened).await;
        self.shared.no_longer_pending(opened);
        self.shared.look.notify_one();
    }
}

/// Applies what is behind a position, and returns what was deleted.
pub(super) async fn apply(view: &View, batch: &Batch, from: u64) -> Result<Vec<Change>, Full> {
    let mut deletions = Vec::new();
    for changes in batch.changes.chunks(AT_ONCE) {
        for change in changes.iter().filter(|change| change.position() > from) {
            view.overlay.apply(change)?;
            if matches!(change, Change::Deleted { .. }) {
                deletions.push(change.clone());
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(deletions)
}
