//! The store on PostgreSQL, which several instances share.
//!
//! Whoever writes to a namespace locks its row first, so what happens in a namespace happens
//! in one order, whatever instance does it; `docs/decisions/postgresql.md` says why. Work of
//! many connections is `grouped`: `lookup` asks for tasks by the thousand, `report` adds by
//! the hundred. `rows` reads the relation O, `listing` keeps siginfo, `signed` has signatures
//! and `signing` finds rows for them, `changes` tells what changed, `collect` removes and
//! `marking` marks and sweeps what `finding` finds, `retained` and `retaining` are what retention asks; all who delete do it
//! through `deleting`, `epoch` tells caches what was deleted, and `history` sees to it that
//! nobody goes on from another life of the database. `copying` gives and takes rows as they are.

mod changes;
mod collect;
mod copying;
mod deleting;
mod epoch;
mod finding;
mod grouped;
mod history;
mod leases;
mod listing;
mod lookup;
mod marking;
mod methods;
mod namespaces;
mod place;
mod planner;
mod report;
mod retained;
mod retaining;
mod rows;
mod signed;
mod signing;
#[cfg(test)]
mod testing;
mod value;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fingerpost_core::{Clock, Timestamp};
use fingerpost_db::Migration;
use fingerpost_db::postgres::{Postgres, PostgresError, PostgresPoller, Session};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Unihash};
use parking_lot::Mutex;

use self::epoch::Epoch;
use self::grouped::Grouped;
use self::history::History;
use self::planner::Growth;
pub(crate) use self::signing::revocation;
use crate::cache::UnihashCache;
use crate::changes::{ChangeFilter, ChangesSince, ChoreLease, Cut, MappingPage};
use crate::database::Surroundings;
use crate::listings::Bases;
use crate::metrics::SharedMetrics;
use crate::namespace::{Chain, NameChain, NamespaceId};
use crate::paging::{OutputFilter, OutputKey};
use crate::progress::Progress;
use crate::query::{Conditions, GcStatus, Usage};
use crate::signed::{Offered, Put, SignedRow};
use crate::store::{
    CopiedRow, Found, OutputRow, Report, Settled, Store, StoreError, StoreOptions, Stored, Task,
};
use crate::uses::Uses;

/// The tables of hash equivalence and of users, in the order of their versions.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "hash_equivalence",
        sql: include_str!("schema.sql"),
        min_reader: 1,
    },
    Migration {
        version: 2,
        name: "accounts",
        sql: fingerpost_accounts::POSTGRES_SQL,
        min_reader: 1,
    },
];

/// Deletions of other instances are looked for this often. The promise is a second.
const EPOCH_POLL: Duration = Duration::from_millis(250);

/// A cache that was not compared with the database for this long is used only if the
/// configuration says so.
const EPOCH_AGE_MAX: Duration = Duration::from_secs(5);

/// When nothing was answered for so long the database is in trouble.
const TROUBLE_AGE: Duration = Duration::from_secs(2);

/// The tables of hash equivalence in one PostgreSQL database.
pub struct PostgresStore {
    shared: Arc<Shared>,
    poller: PostgresPoller,
    lookups: Grouped<lookup::Asked, Vec<lookup::Row>>,
    writers: Mutex<HashMap<NamespaceId, report::Writer>>,
    /// Leases that were asked for, to tell their holders apart.
    leases: AtomicU64,
    progress: Progress,
    uses: Uses,
}

/// What groups need, which outlive the caller that they were begun for.
struct Shared {
    db: Postgres,
    replicas: Vec<Postgres>,
    next_replica: AtomicUsize,
    cache: Arc<UnihashCache>,
    epoch: Epoch,
    history: History,
    bases: Bases,
    options: StoreOptions,
    clock: Arc<dyn Clock>,
    metrics: SharedMetrics,
    chains: Vec<Chain>,
    names: HashMap<NamespaceId, String>,
    /// The name of this instance as the holder of leases.
    instance: String,
    origin: Instant,
    /// When a group of look-ups was answered last, milliseconds since the origin.
    answered_ms: AtomicU64,
    growth: Growth,
}

impl Shared {
    fn chain_of(&self, own: NamespaceId) -> Option<Chain> {
        let mut chains = self.chains.iter();
        chains.find(|chain| chain.own() == own).cloned()
    }

    /// The replica whose turn it is.
    fn next_replica(&self) -> Option<&Postgres> {
        let turn = self.next_replica.fetch_add(1, Ordering::Relaxed);
        self.replicas.get(turn.checked_rem(self.replicas.len())?)
    }

    /// Forgets what others deleted, and everything where the database was put back.
    async fn heed_others(&self, session: &Session) -> Result<(), PostgresError> {
        self.history.heed(&self.db, session, &self.cache).await?;
        self.epoch.compare(session).await
    }

    fn today(&self) -> i32 {
        day(self.clock.now())
    }

    /// Notes that the database works.
    fn answered(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.answered_ms.store(now, Ordering::Relaxed);
    }

    /// How long ago that was noted.
    fn answer_age(&self) -> Duration {
        let at = Duration::from_millis(self.answered_ms.load(Ordering::Relaxed));
        self.origin.elapsed().saturating_sub(at)
    }
}

impl PostgresStore {
    /// Builds the store over an opened database, with the namespaces that begin `names`,
    /// which are added if they are new. Gives their chains, in order. Deletions, of
    /// whatever instance, are removed from the cache.
    pub(crate) async fn open(
        db: Postgres,
        replicas: Vec<Postgres>,
        around: Surroundings,
        names: &[NameChain],
    ) -> Result<(Self, Vec<Chain>), StoreError> {
        let chains = namespaces::chains(&db, names).await.map_err(failed)?;
        let history = History::open(&db).await.map_err(failed)?;
        let (cache, known) = (&around.cache, &chains);
        let epoch = db.read("epochs", |session| async move {
            Epoch::read(&session, Arc::clone(cache), known).await
        });
        let epoch = epoch.await.map_err(failed)?;
        let own_names = names.iter().zip(&chains).filter_map(|(names, chain)| {
            let name = names.first()?;
            Some((chain.own(), name.clone()))
        });
        let names = own_names.collect();
        let shared = Arc::new(Shared {
            db,
            replicas,
            next_replica: AtomicUsize::new(0),
            cache: around.cache,
            epoch,
            history,
            bases: Bases::default(),
            options: around.options,
            clock: around.clock,
            metrics: around.metrics,
            chains: chains.clone(),
            names,
            instance: random_name(),
            origin: Instant::now(),
            answered_ms: AtomicU64::new(0),
            growth: Growth::default(),
        });
        let watching = Arc::clone(&shared);
        let poller = shared.db.poll(EPOCH_POLL, move |session| {
            let watching = Arc::clone(&watching);
            async move { watching.heed_others(&session).await }
        });
        let looking = Arc::clone(&shared);
        let lookups = Grouped::new(lookup::LIMITS, move |asked| {
            let looking = Arc::clone(&looking);
            Box::pin(async move { lookup::answer(&looking, &asked).await })
        });
        let store = Self {
            shared,
            poller,
            lookups,
            writers: Mutex::default(),
            leases: AtomicU64::new(0),
            progress: Progress::default(),
            uses: Uses::default(),
        };
        Ok((store, chains))
    }

    /// Whether the database did not answer for a while, neither polls nor look-ups.
    fn is_in_trouble(&self) -> bool {
        self.knowledge_age() > TROUBLE_AGE && self.shared.answer_age() > TROUBLE_AGE
    }

    /// How old what is known of deletions is. The epochs were read when the store was
    /// opened; from then on polls count.
    fn knowledge_age(&self) -> Duration {
        let age = self.poller.last_poll_age();
        age.min(self.shared.origin.elapsed())
    }
}

/// A name that no other instance has.
fn random_name() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = || {
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        hasher.finish()
    };
    format!("{:016x}{:016x}", random(), random())
}

fn failed(error: PostgresError) -> StoreError {
    let passes =
        error.is_busy() || error.is_storage() || matches!(error, PostgresError::UnknownOutcome(_));
    match passes {
        true => StoreError::Unavailable(Box::new(error)),
        false => StoreError::database(error),
    }
}

/// The day of a time, as columns have it.
fn day(now: Timestamp) -> i32 {
    i32::try_from(now.day()).unwrap_or(i32::MAX)
}

impl Store for PostgresStore {
    fn cache_is_fresh(&self) -> bool {
        if self.knowledge_age() < EPOCH_AGE_MAX {
            return true;
        }
        if self.shared.options.serve_stale {
            self.shared.metrics.stale_batches.inc();
        }
        self.shared.options.serve_stale
    }

    fn deletion_epoch(&self, at: NamespaceId) -> u64 {
        self.shared.epoch.of(at).unsigned_abs()
    }

    fn history(&self) -> [u8; 16] {
        self.shared.history.life()
    }

    fn unihashes(&self, at: &Chain, tasks: Vec<Task>) -> Stored<'_, Vec<Option<Found>>> {
        let at = at.clone();
        Box::pin(async move { self.look_up(&at, &tasks).await })
    }

    fn exist(&self, at: &Chain, unihashes: Vec<Unihash>) -> Stored<'_, Vec<bool>> {
        let at = at.clone();
        Box::pin(async move {
            let found = lookup::exist(&self.shared, &at, &unihashes).await;
            found.map_err(failed)
        })
    }

    fn output_of_task(&self, at: &Chain, task: Task) -> Stored<'_, Option<OutputRow>> {
        let at = at.clone();
        Box::pin(async move { self.oldest_output(&at, task).await })
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
            self.oldest_of_outhash(&at, (&method, &outhash), with_unihash, valid_only)
                .await
        })
    }

    fn is_unknown(&self, at: &Chain, task: Task, outhash: Option<Outhash>) -> Stored<'_, bool> {
        let at = at.clone();
        Box::pin(async move { self.nothing_known(&at, task, outhash).await })
    }

    fn report(&self, at: &Chain, report: Report) -> Stored<'_, Settled> {
        let at = at.clone();
        Box::pin(async move { self.add_report(&at, report).await })
    }

    fn report_equiv(
        &self,
        at: &Chain,
        task: Task,
        proposed: Unihash,
        now: Timestamp,
    ) -> Stored<'_, Unihash> {
        let at = at.clone();
        Box::pin(async move { self.add_equiv(&at, &task, proposed, now).await })
    }

    fn copy_rows(&self, at: NamespaceId, rows: Vec<CopiedRow>, now: Timestamp) -> Stored<'_, ()> {
        Box::pin(self.add_copies(at, rows, now))
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
        Box::pin(marking::mark(self, at, mark, conditions, now))
    }

    fn gc_sweep(&self, at: NamespaceId, mark: String) -> Stored<'_, u64> {
        Box::pin(marking::sweep(self, at, mark))
    }

    fn gc_status(&self, at: NamespaceId) -> Stored<'_, GcStatus> {
        Box::pin(marking::status(self, at))
    }

    fn clean_unused(&self, at: NamespaceId, before: Timestamp) -> Stored<'_, u64> {
        Box::pin(collect::clean_unused(self, at, before))
    }

    fn usage(&self) -> Stored<'_, Usage> {
        Box::pin(collect::usage(self))
    }

    fn output_rows(
        &self,
        at: NamespaceId,
        filter: OutputFilter,
        after: i64,
        limit: usize,
    ) -> Stored<'_, Vec<OutputRow>> {
        Box::pin(async move { self.output_page(at, &filter, after, limit).await })
    }

    fn siginfo(&self, at: &Chain, key: OutputKey) -> Stored<'_, Option<String>> {
        let at = at.clone();
        Box::pin(async move { self.listing_of(&at, &key).await })
    }

    fn signed_rows(&self, at: &Chain, tasks: Vec<Task>) -> Stored<'_, Vec<Option<SignedRow>>> {
        let at = at.clone();
        Box::pin(async move { signed::rows(self, &at, &tasks).await })
    }

    fn evidence(
        &self,
        at: &Chain,
        task: Task,
        outhash: Outhash,
        unihash: Unihash,
    ) -> Stored<'_, Option<SignedRow>> {
        let at = at.clone();
        Box::pin(async move { signed::evidence(self, &at, &task, &outhash, &unihash).await })
    }

    fn put_signatures(&self, at: NamespaceId, offered: Vec<Offered>) -> Stored<'_, Vec<Put>> {
        Box::pin(signed::put(self, at, offered))
    }

    fn cut(&self, at: NamespaceId) -> Stored<'_, Cut> {
        Box::pin(changes::cut(self, at))
    }

    fn mappings(&self, at: NamespaceId, after: i64, limit: usize) -> Stored<'_, MappingPage> {
        Box::pin(changes::mappings(self, at, after, limit))
    }

    fn changes(
        &self,
        at: NamespaceId,
        since: u64,
        limit: usize,
        filter: ChangeFilter,
    ) -> Stored<'_, ChangesSince> {
        Box::pin(changes::since(self, at, since, limit, filter))
    }

    fn forget_changes(&self, before: Timestamp, now: Timestamp) -> Stored<'_, u64> {
        Box::pin(changes::forget(self, before, now))
    }

    fn hold_lease(&self, lease: ChoreLease, _now: Timestamp) -> Stored<'_, bool> {
        Box::pin(leases::hold(self, lease, self.shared.instance.clone()))
    }

    fn hold_lease_as(
        &self,
        lease: ChoreLease,
        holder: String,
        _now: Timestamp,
    ) -> Stored<'_, bool> {
        Box::pin(leases::hold(self, lease, holder))
    }

    fn release_lease(&self, lease: ChoreLease) -> Stored<'_, ()> {
        Box::pin(leases::release(self, lease))
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
