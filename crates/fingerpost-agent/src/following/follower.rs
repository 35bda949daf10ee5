//! Reading what changes, and applying it.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::Clock;
use fingerpost_net::Seldom;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::FollowOptions;
use super::adopting::apply;
use super::keeping::Keeping;
use super::note::Note;
use super::options::{about, growing};
use super::overlay::Full;
use super::place::Place;
use super::reading::{self, Batch, CHANGES_MAX};
use super::shared::{Fallbacks, LOG_EVERY, Shared, Task};
use super::source::{FollowError, Heard, Source, Wanted};
use super::telling::Telling;
use super::view::View;
use crate::state::DeletionEpoch;

/// Changes that are applied between two moments at which others may run.
pub(super) const AT_ONCE: usize = 256;
/// How long an instance of the server may know of a deletion before another one.
const AHEAD_MAX: Duration = Duration::from_secs(10);
/// How long those who hear of changes may take to settle them.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// How far a request for changes came.
pub(super) enum Read {
    /// There is more already.
    More,
    /// Changes, and that was all.
    News,
    /// There was nothing.
    Nothing,
}

/// Whoever reads the changes of a namespace.
pub(super) struct Follower<S, H> {
    source: Arc<S>,
    heard: Arc<H>,
    pub(super) options: Arc<FollowOptions>,
    pub(super) shared: Arc<Shared>,
    pub(super) keeping: Keeping,
    /// Who is told what. None before it is known where to begin.
    pub(super) telling: Option<Telling<H>>,
    /// The namespace, as the server calls it.
    namespace: Option<String>,
    /// Up to where the view has changes.
    pub(super) view_position: u64,
    /// What the namespace falls back to, as far as others were told.
    fallbacks: Fallbacks,
    /// When everything was last asked for and came.
    current: Option<Instant>,
    /// How often it was begun anew.
    pub(super) generation: u64,
    failures: u32,
    /// How often in a row a snapshot could not be brought up to date, and when it is tried again.
    pub(super) adoption: (u32, Instant),
    /// An epoch that somebody saw and the changes do not have, and since when.
    ahead: Option<(u64, Instant)>,
    log_anew: Seldom,
}

impl<S: Source, H: Heard> Follower<S, H> {
    pub(super) fn new(
        source: Arc<S>,
        heard: Arc<H>,
        options: Arc<FollowOptions>,
        shared: Arc<Shared>,
        place: Option<Place>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source,
            heard,
            keeping: Keeping::new(place, clock, &options),
            options,
            shared,
            telling: None,
            namespace: None,
            view_position: 0,
            fallbacks: Fallbacks::NotKnown,
            current: None,
            generation: 0,
            failures: 0,
            adoption: (0, Instant::now()),
            ahead: None,
            log_anew: Seldom::new(LOG_EVERY),
        }
    }

    /// Follows until the agent ends.
    pub(super) async fn run(mut self, mut ends: watch::Receiver<()>) {
        tokio::select! {
            () = self.follow() => {}
            _ = ends.changed() => {}
        }
        self.save().await;
    }

    async fn follow(&mut self) {
        loop {
            let begun = Instant::now();
            let read = self.step().await;
            self.tend().await;
            let pace = &self.options.pace;
            let pause = match read {
                Ok(Read::More) => Duration::ZERO,
                Ok(Read::News) => about(pace.poll_every).saturating_sub(begun.elapsed()),
                // A server may not wait, if there are many who want it to.
                Ok(Read::Nothing) => pace.wait.saturating_sub(begun.elapsed()),
                Err(error) => {
                    let pause = growing(pace.retry.0, self.failures, pace.retry.1);
                    self.failures = self.failures.saturating_add(1);
                    self.say(&error);
                    pause
                }
            };
            // Who saw a new epoch does not wait, but not much is asked for that.
            let least = pause.min(pace.poll_every / 4);
            sleep(least).await;
            _ = timeout(pause - least, self.shared.poke.notified()).await;
        }
    }

    fn say(&self, error: &FollowError) {
        let why = error.to_string();
        if self.shared.is_in_trouble(Task::Changes, why) {
            tracing::warn!(%error, "the server's changes are not heard of");
        }
    }

    /// Takes up what is on disk. Nobody else may be there yet.
    pub(super) async fn resume(&mut self) {
        let (note, opened) = self.keeping.load(&self.options).await;
        if let Some(note) = note
            && let Some(epoch) = note.epoch()
        {
            let heard = Arc::clone(&self.heard);
            self.telling = Some(Telling::resume(heard, epoch, note.position));
            self.namespace = Some(note.namespace);
            self.shared.set_fallbacks(note.fallbacks);
            self.fallbacks = note.fallbacks;
            self.shared.standing.stands(epoch, None);
        }
        *self.shared.pending.lock() = opened.map(Arc::new);
    }

    async fn step(&mut self) -> Result<Read, FollowError> {
        self.give_up_damaged().await;
        let pending = self.shared.pending.lock().clone();
        if let Some(opened) = pending {
            self.try_to_adopt(&opened).await;
        }
        let wait = match self.failures == 0 && self.current.is_some() {
            true => self.options.pace.wait,
            false => Duration::ZERO,
        };
        self.poll(wait).await
    }

    /// Reads what is next, and tells and applies it.
    pub(super) async fn poll(&mut self, wait: Duration) -> Result<Read, FollowError> {
        let view = self.shared.view.load_full();
        let follows_additions = view.as_ref().is_some_and(|view| view.follows_additions);
        let seen = self.shared.standing.seen();
        let since = self.telling.as_ref().map(Telling::position);
        let batch = match self.read(since, !follows_additions, wait).await {
            Ok(batch) if self.goes_on(&batch) => batch,
            Ok(_) | Err(FollowError::Gone) => {
                self.begin_anew().await;
                return Err(FollowError::Gone);
            }
            Err(error) => return Err(error),
        };
        self.namespace = Some(batch.since.namespace.clone());
        let (history, epoch) = (batch.history, batch.epoch);
        let epoch = DeletionEpoch { history, epoch };
        // What the view answers is remembered like what the server answers. So it is behind until
        // it has all that goes with the epoch, and has what others are told before they are.
        self.shared.standing.see(epoch);
        if let Some(view) = view {
            self.apply(&view, &batch).await;
        }
        self.tell(&batch).await;
        if batch.is_all {
            self.current = Some(batch.asked);
            self.shared.freshness.set(batch.asked);
            let settled = self.settles(seen.max(epoch.epoch), &batch);
            self.shared.standing.stands(epoch, settled);
        }
        self.failures = 0;
        self.shared.reached(batch.position);
        self.shared.is_well(Task::Changes);
        Ok(match (batch.is_all, batch.changes.is_empty()) {
            (false, _) => Read::More,
            (true, false) => Read::News,
            (true, true) => Read::Nothing,
        })
    }

    /// What was `seen` before a batch was asked for and is settled by it. One that is ahead of it may be known
    /// to another instance of the server sooner; if it stays so there is no such epoch.
    fn settles(&mut self, seen: u64, batch: &Batch) -> Option<u64> {
        if seen <= batch.epoch {
            self.ahead = None;
            return Some(seen);
        }
        let since = match self.ahead {
            Some((ahead, since)) if ahead == seen => since,
            _ => batch.asked,
        };
        self.ahead = Some((seen, since));
        (batch.asked.duration_since(since) >= AHEAD_MAX).then_some(seen)
    }

    pub(super) async fn read(
        &self,
        since: Option<u64>,
        deletions_only: bool,
        wait: Duration,
    ) -> Result<Batch, FollowError> {
        let wanted = Wanted {
            since,
            deletions_only,
            limit: CHANGES_MAX,
            wait,
        };
        let batch = reading::read(&*self.source, wanted, |epoch| {
            self.shared.standing.see(epoch);
        })
        .await?;
        let namespace = &batch.since.namespace;
        let wanted = self.options.namespace.as_ref();
        match wanted.filter(|wanted| *wanted != namespace) {
            None => Ok(batch),
            Some(wanted) => {
                let why = format!("the server tells changes of {namespace}, and not of {wanted}");
                Err(FollowError::Failed(why))
            }
        }
    }

    /// Whether a batch belongs to what was told before.
    pub(super) fn goes_on(&self, batch: &Batch) -> bool {
        let telling = self.telling.as_ref();
        let namespace = self.namespace.as_ref();
        telling.is_none_or(|telling| telling.history() == batch.history)
            && namespace.is_none_or(|namespace| *namespace == batch.since.namespace)
    }

    async fn tell(&mut self, batch: &Batch) {
        let heard = &self.heard;
        let telling = self.telling.get_or_insert_with(|| {
            let epoch = DeletionEpoch {
                history: batch.history,
                epoch: batch.since.epoch,
            };
            Telling::begin(Arc::clone(heard), epoch, batch.since.position)
        });
        let fallbacks = self.shared.fallbacks();
        if fallbacks != self.fallbacks {
            // What was deleted there until now was not told as that.
            if fallbacks == Fallbacks::Some {
                telling.all_gone();
            }
            self.fallbacks = fallbacks;
        }
        for changes in batch.changes.chunks(AT_ONCE) {
            for change in changes {
                telling.tell(change, fallbacks != Fallbacks::None);
            }
            tokio::task::yield_now().await;
        }
        telling.reach(batch.position);
    }

    /// Applies to a view what it does not have.
    async fn apply(&mut self, view: &View, batch: &Batch) {
        let from = self.view_position;
        match apply(view, batch, from).await {
            Ok(deletions) => self.keeping.log(deletions).await,
            Err(Full) => {
                tracing::warn!(
                    snapshot = &*view.opened.name,
                    "more was deleted since a snapshot than is kept in memory: it is given up"
                );
                self.give_up().await;
            }
        }
        self.view_position = from.max(batch.position);
    }

    /// Nothing holds that was known: changes are not known any more, or the server's data is other data.
    pub(super) async fn begin_anew(&mut self) {
        if let Some(held_back) = self.log_anew.now() {
            tracing::warn!(
                held_back,
                "what changed at the server is not known: everything is begun anew"
            );
        }
        self.generation += 1;
        self.shared.stands_nowhere();
        self.heard.all_gone();
        self.telling = None;
        self.namespace = None;
        self.current = None;
        self.give_up().await;
        let pending = self.shared.pending.lock().clone();
        if let Some(pending) = pending {
            self.keeping.retire(&pending).await;
            self.shared.no_longer_pending(&pending);
        }
        self.keeping.forget().await;
    }

    /// What is done now and then.
    async fn tend(&mut self) {
        if self.keeping.is_due() {
            self.save().await;
        }
        let answers = self.shared.view.load().is_some();
        self.keeping.sweep(answers).await;
    }

    /// Notes where everything is, once others will not forget what they were told.
    pub(super) async fn save(&mut self) {
        let (Some(telling), Some(namespace), Some(epoch)) =
            (&self.telling, &self.namespace, self.shared.standing.epoch())
        else {
            return;
        };
        let mut note = Note::new(namespace.clone(), epoch, telling.covered());
        note.fallbacks = self.fallbacks;
        let settled = timeout(SETTLE_PATIENCE, self.heard.settle()).await;
        if settled == Ok(true) {
            let age = self.shared.freshness.age(Instant::now());
            self.keeping.save(note, age).await;
        }
    }
}
