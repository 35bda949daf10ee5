//! What an agent keeps on disk: the reports that the server has not seen, what builds
//! were told of them, and what the server answered before.
//!
//! One SQLite file whose commits are durable: a report is answered here after it is on
//! the drive. `report` answers one, `spool` is where it waits, `provisional` is what
//! look-ups see of it, `replay` brings it to the server, `dead_letters` is for what
//! the server does not want. `known` is the server's answers, which local ones never
//! mix with. `directory` opens all of that, damaged or not.
//!
//! Whatever fails here is a [`StateError`], never a build's trouble: reports are
//! answered with what they propose then, and look-ups go to the server.

mod dead_letters;
mod directory;
mod error;
mod figures;
mod known;
mod options;
mod provisional;
mod replay;
mod report;
mod spool;
#[cfg(test)]
pub(crate) mod tests;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fingerpost_core::Clock;
use fingerpost_db::{DbError, Sqlite, Tx};
use fingerpost_hashequiv_proto::types::{Task, Unihash};
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::Notify;

pub use self::error::StateError;
pub use self::figures::StateFigures;
pub use self::known::Known;
pub use self::options::StateOptions;
pub use self::replay::{Deliver, Delivered, NotDelivered, Replay, Replayed, Word};
pub use self::report::{LocalAnswer, LocalReport, ReportKind};
pub use self::spool::Spooled;
pub(crate) use fingerpost_hashequiv_client::http::DeletionEpoch;

use self::dead_letters::DeadLetters;
use self::figures::Counters;
use self::known::Gathered;
use self::provisional::Index;

/// The state of the one agent that uses a directory.
pub struct State {
    options: StateOptions,
    clock: Arc<dyn Clock>,
    db: Sqlite,
    index: Arc<Index>,
    counters: Counters,
    dead_letters: Arc<DeadLetters>,
    /// Answers that are not written yet.
    gathered: Mutex<Gathered>,
    /// Told when there are enough of them to write.
    filled: Arc<Notify>,
    /// How often answers were forgotten: what was gathered before is not written any more.
    forgets: Arc<AtomicU64>,
    /// Held by whoever writes those, so that at the end all are written.
    storing: tokio::sync::Mutex<()>,
    /// Held by whoever brings reports to the server: they have an order.
    replaying: tokio::sync::Mutex<()>,
    /// Whether the last replay did not get rid of all reports.
    left_over: AtomicBool,
    /// Whether somebody has noted that the database is damaged.
    damaged: AtomicBool,
    _lock: directory::Lock,
}

impl State {
    /// Opens the state, and makes what is missing. A database that is damaged or is
    /// none of ours is moved aside with a warning.
    ///
    /// # Errors
    ///
    /// [`StateError::InUse`] when another agent has the directory. With all others an
    /// agent can go on without a state.
    pub async fn open(options: StateOptions, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        let opening = options.clone();
        let opened = tokio::task::spawn_blocking(move || directory::open(&opening)).await;
        let opened = opened.map_err(|_| StateError::Closed)??;
        let dead_letters = DeadLetters::new(&options.directory, options.dead_letter_bytes_max);
        Ok(Self {
            clock,
            db: opened.db,
            index: Arc::new(opened.index),
            counters: Counters::default(),
            dead_letters: Arc::new(dead_letters),
            gathered: Mutex::default(),
            filled: Arc::default(),
            forgets: Arc::default(),
            storing: tokio::sync::Mutex::default(),
            replaying: tokio::sync::Mutex::default(),
            left_over: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            _lock: opened.lock,
            options,
        })
    }

    /// Answers a report in the server's place and spools it, durably. `known` is what
    /// the server last said of the task.
    ///
    /// With a full spool the answer is what the report proposes, and the server will
    /// not hear of it.
    ///
    /// # Errors
    ///
    /// The report may be spooled or not. What it proposes is a fitting answer.
    pub async fn settle(
        &self,
        report: LocalReport,
        known: Option<Unihash>,
    ) -> Result<LocalAnswer, StateError> {
        let (index, now) = (Arc::clone(&self.index), self.clock.now());
        let bytes_max = self.options.spool_bytes_max;
        let job = move |tx: &mut Tx<'_>| {
            report::settle(tx, &index, &report, known.as_ref(), now, bytes_max)
        };
        let answer = self.write(job).await?;
        if !answer.spooled && self.counters.spool_refused.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                bytes_max,
                "the spool is full: further reports are answered with what they propose, \
                 and the server will not hear of them"
            );
        }
        Ok(answer)
    }

    /// Whether a report of the task waits for the server: another one has to come
    /// after it, through [`State::settle`].
    pub fn has_spooled(&self, namespace: &str, task: &Task) -> bool {
        self.index.has(namespace, task)
    }

    /// What builds were told of tasks whose reports the server has not seen, in order.
    pub fn provisional(&self, namespace: &str, tasks: &[Task]) -> Vec<Option<Unihash>> {
        self.index.find(namespace, tasks)
    }

    /// Whether [`State::provisional`] has anything to say.
    pub fn is_provisional(&self) -> bool {
        self.index.len() > 0
    }

    /// Takes the server's answers, as of `of`, to be written by [`State::store`] or
    /// [`State::tend`]. They may be lost, and are not stored when something was deleted meanwhile.
    pub fn remember(
        &self,
        namespace: &str,
        of: DeletionEpoch,
        answers: impl IntoIterator<Item = (Task, Unihash)>,
    ) {
        let now = self.clock.now();
        if self.gathered.lock().add(namespace, of, answers, now) {
            self.filled.notify_one();
        }
    }

    /// What the server answered, as far as it was written, in order.
    pub async fn recall(
        &self,
        namespace: &str,
        tasks: Vec<Task>,
    ) -> Result<Vec<Option<Known>>, StateError> {
        let namespace = namespace.to_owned();
        self.read(move |conn| known::recall(conn, &namespace, &tasks))
            .await
    }

    /// Forgets all that the server answered in a namespace, written or not. What is being
    /// written of others may go with it.
    pub async fn forget_all(&self, namespace: &str) -> Result<(), StateError> {
        {
            let mut gathered = self.gathered.lock();
            self.forgets.fetch_add(1, Ordering::SeqCst);
            gathered.forget_all(namespace);
        }
        let namespace = namespace.to_owned();
        self.write(move |tx| known::forget_all(tx.conn(), &namespace))
            .await
    }

    /// Says by what the answers of a namespace are judged before they come here, empty for
    /// nothing. Those that were judged by something else are forgotten.
    pub async fn judge(&self, namespace: &str, judge: &str) -> Result<(), StateError> {
        let (namespace, judge) = (namespace.to_owned(), judge.to_owned());
        self.write(move |tx| known::judge(tx.conn(), &namespace, &judge))
            .await
    }

    /// Up to which deletion the stored answers of a namespace are good; `None` before
    /// [`State::set_epoch`].
    pub async fn epoch(&self, namespace: &str) -> Result<Option<DeletionEpoch>, StateError> {
        let namespace = namespace.to_owned();
        self.read(move |conn| known::epoch(conn, &namespace)).await
    }

    /// Moves a namespace on to `epoch` in one step with forgetting what was `deleted`
    /// up to there. Answers of before that come late are not stored. In another
    /// history everything is forgotten.
    pub async fn set_epoch(
        &self,
        namespace: &str,
        epoch: DeletionEpoch,
        deleted: Vec<Task>,
    ) -> Result<(), StateError> {
        let namespace = namespace.to_owned();
        self.write(move |tx| known::set_epoch(tx.conn(), &namespace, epoch, &deleted))
            .await
    }

    /// Who is told when what was remembered is enough for a transaction.
    pub fn filled(&self) -> Arc<Notify> {
        Arc::clone(&self.filled)
    }

    /// What has to be done every few seconds: writes what was remembered, and gives up
    /// reports that are too old.
    pub async fn tend(&self) -> Result<(), StateError> {
        let stored = self.store().await;
        self.expire().await?;
        stored
    }

    /// Figures for the status and for metrics.
    pub fn figures(&self) -> StateFigures {
        let tally = self.index.tally();
        let age = |at: fingerpost_core::Timestamp| {
            let micros = self.clock.now().0.saturating_sub(at.0);
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        };
        StateFigures {
            spooled_reports: tally.reports,
            spooled_bytes: tally.bytes,
            spooled_age: tally.oldest.map(age),
            provisional: self.index.len() as u64,
            delivered_total: self.counters.delivered.load(Ordering::Relaxed),
            spool_refused_total: self.counters.spool_refused.load(Ordering::Relaxed),
            dead_total: self.counters.dead.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    /// Writes what was remembered and closes the database. Returns `false` when that
    /// took too long.
    pub async fn close(&self) -> bool {
        let stored = self.store().await.is_ok();
        self.db.clone().close().await && stored
    }

    /// Writes what was remembered up to now.
    pub async fn store(&self) -> Result<(), StateError> {
        let _alone = self.storing.lock().await;
        let rows_max = self.options.known_rows_max;
        // What comes meanwhile waits for others: on a slow drive there is always something.
        let mut left = self.gathered.lock().len();
        while left > 0 {
            let (before, part) = {
                let mut gathered = self.gathered.lock();
                (self.forgets.load(Ordering::SeqCst), gathered.take())
            };
            if part.is_empty() {
                break;
            }
            left = left.saturating_sub(known::count(&part));
            let forgets = Arc::clone(&self.forgets);
            // A slow drive may come to it after what was forgotten since.
            let stored = self.db.write_background(move |tx| {
                match forgets.load(Ordering::SeqCst) == before {
                    true => known::store(tx.conn(), &part, rows_max),
                    false => Ok(()),
                }
            });
            self.within(stored).await?;
        }
        Ok(())
    }

    async fn write<T, F>(&self, job: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.within(self.db.write(job)).await
    }

    async fn read<T, F>(&self, job: F) -> Result<T, StateError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.within(self.db.read(job)).await
    }

    /// A drive that hangs must not hang a build.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, StateError> {
        let done = tokio::time::timeout(self.options.patience, work).await;
        let outcome = done.map_err(|_| StateError::Slow)?;
        outcome.map_err(|error| {
            if is_damage(&error) && !self.damaged.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "the agent's state is damaged; the next start moves it aside");
                directory::mark_damaged(&self.options.directory);
            }
            StateError::Database(error)
        })
    }
}

/// Whether the file has what nobody wrote.
fn is_damage(error: &DbError) -> bool {
    let DbError::Sqlite(error) = error else {
        return false;
    };
    let is_unreadable = matches!(
        **error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    );
    is_unreadable
        || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
}
