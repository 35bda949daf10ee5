//! The store on SQLite.
//!
//! One file per subject: `lookup` reads, `paging` reads page by page, `report` adds, `listing` keeps
//! siginfo, `collect` deletes and marks the rows
//! that `rows` finds, `epoch` tells caches about it.

mod collect;
mod epoch;
mod listing;
mod lookup;
mod paging;
mod report;
mod rows;
mod tasks;
mod value;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fingerpost_core::{Clock, Timestamp};
use fingerpost_db::{DbError, Migration, Poller, Sqlite};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Unihash};

pub(crate) use self::tasks::{find_task, insert_task, intern_metadata, intern_method};
pub(crate) use self::value::{Created, Hash};
use crate::cache::UnihashCache;
use crate::paging::{OutputFilter, OutputKey};
use crate::progress::Progress;
use crate::query::{Conditions, GcStatus, Usage};
use crate::store::{CopiedRow, Found, OutputRow, Report, Settled, Store, StoreError, Stored, Task};

/// The tables of hash equivalence, in the order of their versions.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "hash_equivalence",
        sql: include_str!("schema.sql"),
        min_reader: 1,
    },
    Migration {
        version: 2,
        name: "credentials",
        sql: fingerpost_accounts::CREDENTIALS_SQL,
        min_reader: 1,
    },
];

/// The namespace that every row belongs to until there are several.
const NAMESPACE: i64 = 1;

/// Deletions of other processes are looked for this often. The promise is
/// 100 ms; the rest is for a busy machine.
const EPOCH_POLL: Duration = Duration::from_millis(25);

/// A cache that was not compared with the database for this long is not used.
const EPOCH_AGE_MAX: Duration = Duration::from_millis(100);

/// Bytes of base listings that are kept for encoding further ones.
const BASES_BYTES: u64 = 32 << 20;

/// How the store decides where the reference leaves a choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreOptions {
    /// Unihashes that are not 64 lower-case hex digits may be matched.
    pub match_invalid_unihashes: bool,
    /// A repeated report marks an existing row for the running collection.
    pub remark_on_report: bool,
}

/// The tables of hash equivalence in one SQLite file.
pub struct SqliteStore {
    db: Sqlite,
    cache: Arc<UnihashCache>,
    epoch: Arc<epoch::Epoch>,
    bases: Arc<listing::Bases>,
    options: StoreOptions,
    poller: Poller,
    clock: Arc<dyn Clock>,
    /// Leases that were asked for, to tell their holders apart.
    leases: AtomicU64,
    progress: Progress,
}

impl SqliteStore {
    /// Builds the store over an opened database. Deletions, of whatever process,
    /// are removed from `cache`.
    pub async fn new(
        db: Sqlite,
        cache: Arc<UnihashCache>,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let epoch = Arc::new(epoch::Epoch::new(Arc::clone(&cache)));
        let initial = db.read(epoch::read).await.map_err(failed)?;
        epoch.start_at(initial);
        let watching = Arc::clone(&epoch);
        let poller = db.poll(EPOCH_POLL, move |conn| watching.compare(conn));
        Ok(Self {
            db,
            cache,
            epoch,
            bases: Arc::new(listing::Bases::new(BASES_BYTES)),
            options,
            poller,
            clock,
            leases: AtomicU64::new(0),
            progress: Progress::default(),
        })
    }

    /// The database below.
    pub const fn database(&self) -> &Sqlite {
        &self.db
    }
}

fn failed(error: DbError) -> StoreError {
    StoreError::database(error)
}

impl Store for SqliteStore {
    fn cache_is_fresh(&self) -> bool {
        self.poller.last_poll_age() < EPOCH_AGE_MAX
    }

    fn unihashes(&self, tasks: Vec<Task>) -> Stored<'_, Vec<Option<Found>>> {
        let cache = Arc::clone(&self.cache);
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| lookup::unihashes(conn, &cache, &tasks);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn exist(&self, unihashes: Vec<Unihash>) -> Stored<'_, Vec<bool>> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| lookup::exist(conn, &unihashes);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn output_of_task(&self, task: Task) -> Stored<'_, Option<OutputRow>> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| lookup::output_of_task(conn, &task);
            lookup::finish(self.db.read(job).await.map_err(failed)?)
        })
    }

    fn output(
        &self,
        method: Method,
        outhash: Outhash,
        with_unihash: bool,
        valid_only: bool,
    ) -> Stored<'_, Option<OutputRow>> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| {
                lookup::output(conn, &method, &outhash, with_unihash, valid_only)
            };
            lookup::finish(self.db.read(job).await.map_err(failed)?)
        })
    }

    fn is_unknown(&self, task: Task, outhash: Option<Outhash>) -> Stored<'_, bool> {
        let valid_only = !self.options.match_invalid_unihashes;
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| {
                lookup::is_unknown(conn, &task, outhash.as_ref(), valid_only)
            };
            self.db.read(job).await.map_err(failed)
        })
    }

    fn report(&self, report: Report) -> Stored<'_, Settled> {
        Box::pin(async move {
            let listing = self.prepare_listing(&report).await?;
            let (report, bases, options) =
                (Arc::new(report), Arc::clone(&self.bases), self.options);
            let cache = Arc::clone(&self.cache);
            let job = move |tx: &mut fingerpost_db::Tx<'_>| {
                report::store(tx, &report, listing.as_ref(), &bases, &cache, options)
            };
            self.db.write(job).await.map_err(failed)
        })
    }

    fn report_equiv(&self, task: Task, proposed: Unihash, now: Timestamp) -> Stored<'_, Unihash> {
        Box::pin(async move {
            let job = move |tx: &mut fingerpost_db::Tx<'_>| {
                report::store_equiv(tx.conn(), &task, &proposed, now)
            };
            self.db.write(job).await.map_err(failed)
        })
    }

    fn copy_rows(&self, rows: Vec<CopiedRow>, now: Timestamp) -> Stored<'_, ()> {
        Box::pin(async move {
            let job = move |tx: &mut fingerpost_db::Tx<'_>| {
                rows.iter()
                    .try_for_each(|row| report::copy(tx.conn(), row, now))
            };
            self.db.write(job).await.map_err(failed)
        })
    }

    fn remove(&self, conditions: Conditions) -> Stored<'_, u64> {
        Box::pin(collect::remove(self, conditions))
    }

    fn gc_mark(&self, mark: String, conditions: Conditions, now: Timestamp) -> Stored<'_, u64> {
        Box::pin(collect::mark(self, mark, conditions, now))
    }

    fn gc_sweep(&self, mark: String) -> Stored<'_, u64> {
        Box::pin(collect::sweep(self, mark))
    }

    fn gc_status(&self) -> Stored<'_, GcStatus> {
        Box::pin(async { self.db.read(collect::status).await.map_err(failed) })
    }

    fn clean_unused(&self, before: Timestamp) -> Stored<'_, u64> {
        Box::pin(collect::clean_unused(self, before))
    }

    fn usage(&self) -> Stored<'_, Usage> {
        Box::pin(async { self.db.read(lookup::usage).await.map_err(failed) })
    }

    fn output_rows(
        &self,
        filter: OutputFilter,
        after: i64,
        limit: usize,
    ) -> Stored<'_, Vec<OutputRow>> {
        Box::pin(async move {
            let job =
                move |conn: &rusqlite::Connection| paging::output_rows(conn, &filter, after, limit);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn siginfo(&self, key: OutputKey) -> Stored<'_, Option<String>> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| paging::siginfo(conn, &key);
            paging::decoded(self.db.read(job).await.map_err(failed)?)
        })
    }

    fn deletion_epoch(&self) -> i64 {
        self.epoch.known()
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
