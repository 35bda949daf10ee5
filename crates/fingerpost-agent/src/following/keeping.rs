//! What the follower keeps on disk: where it is, what was deleted, and snapshots that nobody
//! needs any more until they are removed. All of it may fail, and then a start begins anew.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::{Clock, Timestamp};
use fingerpost_snapshot::{Change, ChangeError, Manifest};
use tokio::time::Instant;

use super::log::{self, DeletionLog};
use super::note::Note;
use super::place::Place;
use super::shared::UNKNOWN_MAX;
use super::view::Opened;
use super::{FollowOptions, blocking};

/// How far a clock may have been set back since the note.
const CLOCK_BACK_MAX: u64 = 3600;

pub(super) struct Keeping {
    /// None: nothing is kept.
    place: Option<Place>,
    clock: Arc<dyn Clock>,
    /// What was deleted since the snapshot that answers, and that one.
    log: Option<(DeletionLog, Arc<Opened>)>,
    /// And since the one that will.
    new_log: Option<DeletionLog>,
    lines_max: usize,
    /// Snapshots that are given up, and where they are now.
    retired: Vec<(Arc<Opened>, PathBuf)>,
    /// When it was last noted where everything is.
    saved: Option<Instant>,
    save_every: Duration,
    /// The note of the last time, as long as it says more than another one would: until the
    /// server told what changed since the snapshot that it names.
    before: Option<Note>,
    was_offline: bool,
    max_offline_age: Duration,
}

impl Keeping {
    pub(super) fn new(
        place: Option<Place>,
        clock: Arc<dyn Clock>,
        options: &FollowOptions,
    ) -> Self {
        Self {
            place,
            clock,
            log: None,
            new_log: None,
            lines_max: options.overlay_and_deletions_max,
            retired: Vec::new(),
            saved: None,
            save_every: options.pace.save_every,
            before: None,
            was_offline: false,
            max_offline_age: options.max_offline_age,
        }
    }

    /// The note of the last time and a snapshot that can be gone on with. Everything else is removed.
    pub(super) async fn load(&mut self, options: &FollowOptions) -> (Option<Note>, Option<Opened>) {
        let Some(place) = self.place.clone() else {
            return (None, None);
        };
        let options = options.clone();
        let load = move || {
            let note = Note::load(&place);
            let opened = match options.snapshots {
                true => open(&place, note.as_ref(), &options)?,
                false => None,
            };
            place.tidy(opened.as_ref().map(|opened| &*opened.name))?;
            Ok::<_, io::Error>((note, opened))
        };
        let (note, opened) = blocking(load).await.flatten().unwrap_or_else(|error| {
            tracing::warn!(%error, "what is kept of the server's mappings cannot be read");
            (None, None)
        });
        self.before = note.clone().filter(|note| {
            let name = opened.as_ref().map(|opened| &opened.name);
            name.is_some() && name == note.snapshot.as_ref()
        });
        (note, opened)
    }

    /// How old a snapshot of the last time is, and what was deleted since, if it may answer without the server.
    pub(super) async fn offline(&mut self, opened: &Opened) -> Option<(Duration, Vec<Change>)> {
        // Once is enough: then it answers already, or never may.
        if std::mem::replace(&mut self.was_offline, true) {
            return None;
        }
        let (note, place) = (self.before.as_ref()?, self.place.clone()?);
        let age = age(note.current?, self.clock.now())?;
        let is_it = note.snapshot.as_ref() == Some(&opened.name)
            && note.namespace == opened.manifest().namespace;
        if !is_it || age > self.max_offline_age {
            return None;
        }
        let (manifest, logged) = (opened.manifest().clone(), note.logged);
        let deletions = blocking(move || log::load(&place, &manifest, logged)).await;
        // Nobody knows what was added since, however short it was.
        Some((age.max(UNKNOWN_MAX), deletions.ok().flatten()?))
    }

    /// Begins to log what is deleted since a snapshot, beside the log of the one that answers.
    pub(super) async fn begin_log(&mut self, manifest: &Manifest) {
        let Some(place) = self.place.clone() else {
            return;
        };
        let (manifest, lines_max) = (manifest.clone(), self.lines_max);
        let begin = move || DeletionLog::begin(&place, &manifest, lines_max);
        self.new_log = logged(blocking(begin).await);
    }

    /// Logs deletions for the snapshot that will answer.
    pub(super) async fn log_new(&mut self, deletions: Vec<Change>) {
        if let Some(log) = self.new_log.take() {
            self.new_log = append(log, deletions).await;
        }
    }

    /// Now it does.
    pub(super) async fn commit_log(&mut self, opened: &Arc<Opened>) {
        self.before = None;
        self.log = None;
        let (Some(mut log), Some(place)) = (self.new_log.take(), self.place.clone()) else {
            return;
        };
        let commit = move || log.commit(&place).map(|()| log);
        let log = logged(blocking(commit).await);
        self.log = log.map(|log| (log, Arc::clone(opened)));
    }

    /// Logs deletions since the snapshot that answers.
    pub(super) async fn log(&mut self, deletions: Vec<Change>) {
        if let Some((log, opened)) = self.log.take() {
            self.log = append(log, deletions).await.map(|log| (log, opened));
            if self.log.is_none() {
                // It says that the log has all.
                self.forget().await;
            }
        } else if !deletions.is_empty() {
            // The log of the last time has not all of them any more.
            self.before = None;
        }
    }

    pub(super) fn is_due(&self) -> bool {
        let saved = self.saved.as_ref();
        saved.is_none_or(|saved| saved.elapsed() >= self.save_every)
    }

    /// Notes where the follower is; `age` is how old what it knows is.
    pub(super) async fn save(&mut self, mut note: Note, age: Option<Duration>) {
        self.saved = Some(Instant::now());
        let Some(place) = self.place.clone() else {
            return;
        };
        if self.before.is_some() {
            return;
        }
        let now = u64::try_from(self.clock.now().0 / 1_000_000).unwrap_or(0);
        note.current = age.map(|age| now.saturating_sub(age.as_secs()));
        if let Some((log, opened)) = &self.log {
            note.snapshot = Some(opened.name.clone());
            note.logged = log.position();
        }
        let saved = blocking(move || note.save(&place)).await.flatten();
        if let Err(error) = saved {
            tracing::debug!(%error, "the place in the server's changes cannot be noted");
        }
    }

    /// Moves a snapshot out of the way until it is removed.
    pub(super) async fn retire(&mut self, opened: &Arc<Opened>) {
        let Some(place) = self.place.clone() else {
            return;
        };
        self.log.take_if(|(_, of)| Arc::ptr_eq(of, opened));
        self.before = None;
        let retired = Arc::clone(opened);
        match blocking(move || retired.retire(&place)).await.flatten() {
            Ok(path) => self.retired.push((Arc::clone(opened), path)),
            Err(error) => {
                tracing::debug!(%error, snapshot = &*opened.name, "a snapshot cannot be moved");
            }
        }
    }

    /// Removes what is given up and nobody reads any more. Until another snapshot answers,
    /// its files may be what that one has as well.
    pub(super) async fn sweep(&mut self, answers: bool) {
        if !answers {
            return;
        }
        let is_read = |(opened, _): &mut (Arc<Opened>, PathBuf)| Arc::strong_count(opened) > 1;
        let unread: Vec<_> = self.retired.extract_if(.., |one| !is_read(one)).collect();
        for (opened, path) in unread {
            drop(opened);
            if let Ok(Err(error)) = blocking(move || fs::remove_dir_all(path)).await {
                tracing::debug!(%error, "an old snapshot cannot be removed");
            }
        }
    }

    /// Forgets where the follower was.
    pub(super) async fn forget(&mut self) {
        (self.log, self.new_log, self.before) = (None, None, None);
        if let Some(place) = self.place.clone()
            && let Ok(Err(error)) = blocking(move || Note::remove(&place)).await
        {
            tracing::warn!(%error, "the place in the server's changes cannot be forgotten");
        }
    }
}

/// Opens the snapshot of the note, or else the one with the greatest name that can be opened.
fn open(place: &Place, note: Option<&Note>, options: &FollowOptions) -> io::Result<Option<Opened>> {
    let noted = note.and_then(|note| note.snapshot.clone());
    let there = place.snapshots()?;
    let noted = noted.filter(|name| there.contains(name));
    let publishers = options.publishers.now();
    for name in noted.into_iter().chain(there) {
        match Opened::open(&place.snapshot(&name), &name, publishers.as_deref()) {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => {
                tracing::warn!(%error, snapshot = &*name, "a snapshot on this host is not used");
            }
        }
    }
    Ok(None)
}

/// How long ago `then` was, in seconds since 1970; `None` if the clock is wrong now or was then.
fn age(then: u64, now: Timestamp) -> Option<Duration> {
    let now = u64::try_from(now.0 / 1_000_000).ok()?;
    if then > now.saturating_add(CLOCK_BACK_MAX) {
        return None;
    }
    Some(Duration::from_secs(now.saturating_sub(then)))
}

/// A log to which this was appended, unless that failed: then it is none any more.
async fn append(mut log: DeletionLog, deletions: Vec<Change>) -> Option<DeletionLog> {
    if deletions.is_empty() {
        return Some(log);
    }
    let append = move || log.append(&deletions).map(|()| log);
    logged(blocking(append).await)
}

fn logged(done: io::Result<Result<DeletionLog, ChangeError>>) -> Option<DeletionLog> {
    match done.map_err(ChangeError::from).flatten() {
        Ok(log) => Some(log),
        Err(error) => {
            tracing::warn!(%error, "deletions are not noted: a start needs the server");
            None
        }
    }
}
