//! The store on SQLite.
//!
//! One file per subject: `lookup` reads, `paging` reads page by page, `report` adds, `listing` keeps
//! siginfo, `signed` has signatures, `changes` tells what changed, `collect` deletes and marks the rows
//! that `rows` finds, `retained` and `retaining` those that retention judges, `epoch` tells caches about
//! it, `leases` say who does what goes one at a time.

mod changes;
mod collect;
mod copying;
mod epoch;
mod leases;
mod listing;
mod lookup;
mod namespaces;
mod offline;
mod paging;
mod report;
mod retained;
mod retaining;
mod rows;
mod signed;
mod signing;
mod tasks;
mod value;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use fingerpost_core::{Clock, Timestamp};
use fingerpost_db::{DbError, Migration, Poller, Sqlite};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Unihash};

pub(crate) use self::collect::{remove_mapping, remove_output};
pub(crate) use self::epoch::{raise_all, random_author};
pub(crate) use self::namespaces::namespace_number;
pub use self::offline::{FileError, NamespaceFile};
pub(crate) use self::signing::revocation;
pub(crate) use self::tasks::{find_task, insert_task, intern_metadata, intern_method};
pub(crate) use self::value::Hash;
use crate::cache::UnihashCache;
use crate::changes::{ChangeFilter, ChangesSince, ChoreLease, Cut, MappingPage};
use crate::listings::Bases;
use crate::namespace::{Chain, DEFAULT_NAMESPACE, NameChain, NamespaceId};
use crate::paging::{OutputFilter, OutputKey};
use crate::progress::Progress;
use crate::query::{Conditions, GcStatus, Usage};
use crate::signed::{Offered, Put, SignedRow};
use crate::store::{
    CopiedRow, Found, OutputRow, Report, Settled, Store, StoreError, StoreOptions, Stored, Task,
};
use crate::uses::Uses;

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
    Migration {
        version: 3,
        name: "signatures",
        sql: include_str!("signatures.sql"),
        min_reader: 1,
    },
    Migration {
        version: 4,
        name: "changes",
        sql: include_str!("changes.sql"),
        min_reader: 1,
    },
    Migration {
        version: 5,
        name: "retention",
        sql: include_str!("retention.sql"),
        min_reader: 1,
    },
];

/// Deletions of other processes are looked for this often. The promise is
/// 100 ms; the rest is for a busy machine.
const EPOCH_POLL: Duration = Duration::from_millis(25);

/// A cache that was not compared with the database for this long is not used.
const EPOCH_AGE_MAX: Duration = Duration::from_millis(100);

/// The tables of hash equivalence in one SQLite file.
pub struct SqliteStore {
    db: Sqlite,
    cache: Arc<UnihashCache>,
    epoch: Arc<epoch::Epoch>,
    bases: Arc<Bases>,
    options: StoreOptions,
    poller: Poller,
    clock: Arc<dyn Clock>,
    /// Leases that were asked for, to tell their holders apart.
    leases: AtomicU64,
    progress: Progress,
    uses: Uses,
}

impl SqliteStore {
    /// Builds the store over an opened database, with the default namespace alone.
    /// Deletions, of whatever process, are removed from `cache`.
    pub async fn new(
        db: Sqlite,
        cache: Arc<UnihashCache>,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let names = [vec![DEFAULT_NAMESPACE.to_owned()]];
        let (store, _) = Self::with_namespaces(db, cache, options, clock, &names).await?;
        Ok(store)
    }

    /// As [`SqliteStore::new`], with the namespaces that begin `names`, which are
    /// added to the database if they are new. Gives their chains, in order.
    pub(crate) async fn with_namespaces(
        db: Sqlite,
        cache: Arc<UnihashCache>,
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        names: &[NameChain],
    ) -> Result<(Self, Vec<Chain>), StoreError> {
        changes::settle_history(&db).await.map_err(failed)?;
        let chains = namespaces::chains(&db, names).await.map_err(failed)?;
        let (of, known) = (Arc::clone(&cache), chains.clone());
        let epoch = db.read(move |conn| epoch::Epoch::new(conn, of, &known));
        let epoch = Arc::new(epoch.await.map_err(failed)?);
        let watching = Arc::clone(&epoch);
        let poller = db.poll(EPOCH_POLL, move |conn| watching.compare(conn));
        let store = Self {
            db,
            cache,
            epoch,
            bases: Arc::default(),
            options,
            poller,
            clock,
            leases: AtomicU64::new(0),
            progress: Progress::default(),
            uses: Uses::default(),
        };
        Ok((store, chains))
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

    fn deletion_epoch(&self, at: NamespaceId) -> u64 {
        self.epoch.of(at).unsigned_abs()
    }

    fn history(&self) -> [u8; 16] {
        self.db.incarnation()
    }

    fn unihashes(&self, at: &Chain, tasks: Vec<Task>) -> Stored<'_, Vec<Option<Found>>> {
        let (at, cache) = (at.clone(), Arc::clone(&self.cache));
        Box::pin(async move {
            let today = self.clock.now().day();
            let job = move |conn: &rusqlite::Connection| {
                lookup::unihashes(conn, &at, &cache, &tasks, today)
            };
            let looked_up = self.db.read(job).await.map_err(failed)?;
            if self.options.note_uses {
                self.uses.note(&looked_up.used);
            }
            Ok(looked_up.found)
        })
    }

    fn exist(&self, at: &Chain, unihashes: Vec<Unihash>) -> Stored<'_, Vec<bool>> {
        let at = at.clone();
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| lookup::exist(conn, &at, &unihashes);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn output_of_task(&self, at: &Chain, task: Task) -> Stored<'_, Option<OutputRow>> {
        let at = at.clone();
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| lookup::output_of_task(conn, &at, &task);
            lookup::finish(self.db.read(job).await.map_err(failed)?)
        })
    }

    fn output(
        &self,
        at: &Chain,
        method: Method,
        outhash: Outhash,
        with_unihash: bool,
        valid_only: bool,
    ) -> Stored<'_, Option<OutputRow>> {
        let at = at.clone();
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| {
                lookup::output(conn, &at, &method, &outhash, with_unihash, valid_only)
            };
            lookup::finish(self.db.read(job).await.map_err(failed)?)
        })
    }

    fn is_unknown(&self, at: &Chain, task: Task, outhash: Option<Outhash>) -> Stored<'_, bool> {
        let (at, valid_only) = (at.clone(), !self.options.match_invalid_unihashes);
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| {
                lookup::is_unknown(conn, &at, &task, outhash.as_ref(), valid_only)
            };
            self.db.read(job).await.map_err(failed)
        })
    }

    fn report(&self, at: &Chain, report: Report) -> Stored<'_, Settled> {
        let at = at.clone();
        Box::pin(async move {
            let listing = self.prepare_listing(&report).await?;
            let (report, bases, options) =
                (Arc::new(report), Arc::clone(&self.bases), self.options);
            let cache = Arc::clone(&self.cache);
            let job = move |tx: &mut fingerpost_db::Tx<'_>| {
                report::store(tx, &at, &report, listing.as_ref(), &bases, &cache, options)
            };
            self.db.write(job).await.map_err(failed)
        })
    }

    fn report_equiv(
        &self,
        at: &Chain,
        task: Task,
        proposed: Unihash,
        now: Timestamp,
    ) -> Stored<'_, Unihash> {
        let (at, options) = (at.clone(), self.options);
        Box::pin(async move {
            let job = move |tx: &mut fingerpost_db::Tx<'_>| {
                report::store_equiv(tx.conn(), &at, &task, &proposed, now, options)
            };
            self.db.write(job).await.map_err(failed)
        })
    }

    fn copy_rows(&self, at: NamespaceId, rows: Vec<CopiedRow>, now: Timestamp) -> Stored<'_, ()> {
        Box::pin(async move {
            let job = move |tx: &mut fingerpost_db::Tx<'_>| {
                rows.iter()
                    .try_for_each(|row| report::copy(tx.conn(), at, row, now))
            };
            self.db.write(job).await.map_err(failed)
        })
    }

    fn remove(&self, at: NamespaceId, conditions: Conditions) -> Stored<'_, u64> {
        Box::pin(collect::remove(self, at, conditions))
    }

    fn gc_mark(
        &self,
        at: NamespaceId,
        mark: String,
        conditions: Conditions,
        now: Timestamp,
    ) -> Stored<'_, u64> {
        Box::pin(collect::mark(self, at, mark, conditions, now))
    }

    fn gc_sweep(&self, at: NamespaceId, mark: String) -> Stored<'_, u64> {
        Box::pin(collect::sweep(self, at, mark))
    }

    fn gc_status(&self, at: NamespaceId) -> Stored<'_, GcStatus> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| collect::status(conn, at);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn clean_unused(&self, at: NamespaceId, before: Timestamp) -> Stored<'_, u64> {
        Box::pin(collect::clean_unused(self, at, before))
    }

    fn usage(&self) -> Stored<'_, Usage> {
        Box::pin(async { self.db.read(lookup::usage).await.map_err(failed) })
    }

    fn output_rows(
        &self,
        at: NamespaceId,
        filter: OutputFilter,
        after: i64,
        limit: usize,
    ) -> Stored<'_, Vec<OutputRow>> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| {
                paging::output_rows(conn, at, &filter, after, limit)
            };
            self.db.read(job).await.map_err(failed)
        })
    }

    fn siginfo(&self, at: &Chain, key: OutputKey) -> Stored<'_, Option<String>> {
        let at = at.clone();
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| paging::siginfo(conn, &at, &key);
            paging::decoded(self.db.read(job).await.map_err(failed)?)
        })
    }

    fn signed_rows(&self, at: &Chain, tasks: Vec<Task>) -> Stored<'_, Vec<Option<SignedRow>>> {
        let at = at.clone();
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| signed::rows(conn, &at, &tasks);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn cut(&self, at: NamespaceId) -> Stored<'_, Cut> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| changes::cut(conn, at);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn evidence(
        &self,
        at: &Chain,
        task: Task,
        outhash: Outhash,
        unihash: Unihash,
    ) -> Stored<'_, Option<SignedRow>> {
        let at = at.clone();
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| {
                signed::evidence(conn, &at, &task, &outhash, &unihash)
            };
            self.db.read(job).await.map_err(failed)
        })
    }

    fn mappings(&self, at: NamespaceId, after: i64, limit: usize) -> Stored<'_, MappingPage> {
        Box::pin(async move {
            let job = move |conn: &rusqlite::Connection| changes::mappings(conn, at, after, limit);
            self.db.read(job).await.map_err(failed)
        })
    }

    fn put_signatures(&self, at: NamespaceId, offered: Vec<Offered>) -> Stored<'_, Vec<Put>> {
        Box::pin(async move {
            let job = move |tx: &mut fingerpost_db::Tx<'_>| signed::put(tx.conn(), at, &offered);
            self.db.write(job).await.map_err(failed)
        })
    }

    fn changes(
        &self,
        at: NamespaceId,
        since: u64,
        limit: usize,
        filter: ChangeFilter,
    ) -> Stored<'_, ChangesSince> {
        Box::pin(async move {
            let job =
                move |conn: &rusqlite::Connection| changes::since(conn, at, since, limit, filter);
            self.db.read_snapshot(job).await.map_err(failed)
        })
    }

    fn forget_changes(&self, before: Timestamp, now: Timestamp) -> Stored<'_, u64> {
        Box::pin(async move { changes::forget(&self.db, before, now).await.map_err(failed) })
    }

    fn hold_lease(&self, lease: ChoreLease, now: Timestamp) -> Stored<'_, bool> {
        Box::pin(leases::hold(self, lease, leases::process(self), now))
    }

    fn hold_lease_as(&self, lease: ChoreLease, holder: String, now: Timestamp) -> Stored<'_, bool> {
        Box::pin(leases::hold(self, lease, holder, now))
    }

    fn release_lease(&self, lease: ChoreLease) -> Stored<'_, ()> {
        Box::pin(leases::release(self, lease))
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
