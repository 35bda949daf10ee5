//! The service: what the commands mean, whatever door they came through.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_accounts::{Accounts, Login, LoginOptions, Logins};
use fingerpost_core::{Clock, Failure, PermissionSet, Principal, Service, Timestamp};
use fingerpost_db::Sqlite;

use crate::backfill::Backfill;
use crate::cache::{CachedTask, MethodId, UnihashCache};
use crate::metrics::Metrics;
use crate::sqlite::{SqliteStore, StoreOptions};
use crate::stats::RequestStats;
use crate::store::{Store, StoreError};
use crate::upstream::{Bounded, Upstream, UpstreamOptions};

/// How the service behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Nothing is stored, and commands that change something are unknown.
    pub read_only: bool,
    /// What clients without a login may do.
    pub anonymous: PermissionSet,
    /// Unihashes that are not 64 lower-case hex digits are answered as they
    /// are, as the reference does, and not as a miss.
    pub serve_invalid_unihashes: bool,
    /// `clean-unused` ignores its age, as the reference does.
    pub clean_unused_ignores_age: bool,
    /// A repeated report marks an existing row for the running collection.
    pub remark_on_report: bool,
    /// Memory of the cache in front of the database, bytes.
    pub cache_bytes: u64,
    /// How an upstream is asked.
    pub upstream: UpstreamOptions,
    /// Rest before a failed login is answered.
    pub failed_login_delay: Duration,
    /// How callers may log in.
    pub logins: LoginOptions,
}

impl Default for Config {
    fn default() -> Self {
        use fingerpost_core::Permission::{Read, Report};
        Self {
            read_only: false,
            anonymous: PermissionSet::of(&[Read, Report]),
            serve_invalid_unihashes: false,
            clean_unused_ignores_age: false,
            remark_on_report: false,
            cache_bytes: 128 << 20,
            upstream: UpstreamOptions::default(),
            failed_login_delay: Duration::from_secs(1),
            logins: LoginOptions::default(),
        }
    }
}

/// The hash equivalence service over one database.
pub struct HashEquiv {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Arc<UnihashCache>,
    pub(crate) logins: Logins,
    pub(crate) upstream: Option<Bounded>,
    pub(crate) backfill: Option<Arc<Backfill>>,
    pub(crate) metrics: Arc<Metrics>,
    requests: RequestStats,
    clock: Arc<dyn Clock>,
}

impl Service for HashEquiv {
    type Wire = str;
}

impl HashEquiv {
    /// Builds the service over an opened database. Must be called within a
    /// tokio runtime, which runs the backfill.
    pub async fn new(
        db: Sqlite,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StoreError> {
        let cache = Arc::new(UnihashCache::new(config.cache_bytes));
        let options = StoreOptions {
            match_invalid_unihashes: config.serve_invalid_unihashes,
            remark_on_report: config.remark_on_report,
        };
        let logins = Logins::new(db.clone(), Arc::clone(&clock), config.logins.clone())
            .map_err(StoreError::database)?;
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::new(db, Arc::clone(&cache), options, Arc::clone(&clock)).await?);
        let metrics = Arc::new(Metrics::default());
        let bounded =
            upstream.map(|upstream| Bounded::new(upstream, config.upstream, Arc::clone(&metrics)));
        let backfill = (bounded.is_some() && !config.read_only)
            .then(|| Backfill::start(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&metrics)));
        Ok(Arc::new(Self {
            config,
            store,
            cache,
            logins,
            upstream: bounded,
            backfill,
            metrics,
            requests: RequestStats::default(),
            clock,
        }))
    }

    /// A client that has not logged in.
    pub const fn anonymous(&self) -> Principal {
        Principal::anonymous(self.config.anonymous)
    }

    /// A client that has logged in, whatever door it came through.
    pub fn principal_of(&self, login: &Login) -> Principal {
        login.principal(&self.anonymous())
    }

    /// Whether commands that change something are unknown.
    pub const fn is_read_only(&self) -> bool {
        self.config.read_only
    }

    /// The statistics of `get-stats`; doors record every request that ended.
    pub const fn requests(&self) -> &RequestStats {
        &self.requests
    }

    /// The service's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Users and their tokens.
    pub const fn accounts(&self) -> &Accounts {
        &self.logins.accounts
    }

    /// The ways to log in.
    pub const fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Looks everybody up again: users, or what they may, were changed.
    pub(crate) fn users_changed(&self) {
        self.logins.tokens.forget();
    }

    /// Number of remembered look-ups.
    pub fn cache_entries(&self) -> usize {
        self.cache.len()
    }

    /// The number of a method that was met before. Part of the hot path:
    /// remember the last one per connection.
    pub fn method(&self, name: &[u8]) -> Option<MethodId> {
        self.cache.method(name)
    }

    /// Whether [`HashEquiv::cached_unihash`] may be asked now. Ask once for
    /// each batch of lines: the answer holds for some milliseconds.
    pub fn cache_is_fresh(&self) -> bool {
        self.store.cache_is_fresh()
    }

    /// The hot path: a remembered, valid unihash. `None` means "look it up".
    pub fn cached_unihash(&self, method: MethodId, taskhash: &[u8; 32]) -> Option<[u8; 32]> {
        self.cache.get(&CachedTask {
            method,
            taskhash: *taskhash,
        })
    }

    /// The time that logins are judged by.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::WrongMark(_) => Self::refused("wrong-mark", error.to_string()),
            other => Self::internal(other),
        }
    }
}
