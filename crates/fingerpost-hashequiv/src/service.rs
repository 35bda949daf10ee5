//! The service: what the commands mean, whatever door they came through.

use std::iter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_accounts::{Accounts, Login, LoginOptions, Logins};
use fingerpost_core::{Clock, Failure, PermissionSet, Principal, Service, Timestamp};

use prometheus_client::registry::Registry;

use crate::backfill::Backfill;
use crate::cache::{CachedTask, MethodWithin, UnihashCache};
use crate::changes::HistoryMark;
use crate::database::{Database, Surroundings};
use crate::dump::CacheDump;
use crate::gauges::Gauges;
use crate::metrics::{Families, Metrics};
use crate::namespace::{
    Chain, DEFAULT_NAMESPACE, NameChain, NamespaceConfig, NamespaceError, NamespaceId,
};
use crate::set::NamespaceSet;
use crate::stats::RequestStats;
use crate::store::{Store, StoreError, StoreOptions};
use crate::upstream::{Bounded, Upstream, UpstreamOptions};
use crate::watching::Watch;

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
    /// Remembered answers are given for as long as the database cannot be asked
    /// whether they still hold, and not for five seconds only.
    pub serve_stale: bool,
    /// Memory of the cache in front of the database, bytes.
    pub cache_bytes: u64,
    /// How an upstream is asked.
    pub upstream: UpstreamOptions,
    /// Rest before a failed login is answered.
    pub failed_login_delay: Duration,
    /// Namespaces beside the default one, which may be among them with a fallback
    /// or members of its own.
    pub namespaces: Vec<NamespaceConfig>,
    /// How callers may log in.
    pub logins: LoginOptions,
}

/// The namespace that an upstream is asked for, and that keeps what it said.
pub(crate) const UPSTREAM_AT: NamespaceId = NamespaceId::DEFAULT;

impl Config {
    const fn store_options(&self) -> StoreOptions {
        StoreOptions {
            match_invalid_unihashes: self.serve_invalid_unihashes,
            remark_on_report: self.remark_on_report,
            note_uses: !self.read_only,
            serve_stale: self.serve_stale,
        }
    }
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
            serve_stale: true,
            cache_bytes: 128 << 20,
            upstream: UpstreamOptions::default(),
            failed_login_delay: Duration::from_secs(1),
            namespaces: Vec::new(),
            logins: LoginOptions::default(),
        }
    }
}

/// The service could not be built.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configured namespaces do not fit together.
    #[error(transparent)]
    Namespaces(#[from] NamespaceError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The hash equivalence service over one database, in one namespace.
pub struct HashEquiv {
    name: Box<str>,
    fallbacks: Box<[String]>,
    /// What the life of the data is told with here.
    pub(crate) mark: HistoryMark,
    members: Option<Vec<String>>,
    anonymous: PermissionSet,
    pub(crate) at: Chain,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Arc<UnihashCache>,
    pub(crate) logins: Logins,
    /// There if this namespace reads along the one that the upstream is for.
    pub(crate) upstream: Option<Arc<Bounded>>,
    pub(crate) backfill: Option<Arc<Backfill>>,
    pub(crate) metrics: Metrics,
    /// Those of all namespaces.
    pub(crate) families: Families,
    requests: Arc<RequestStats>,
    pub(crate) watch: Arc<Watch>,
    clock: Arc<dyn Clock>,
}

impl Service for HashEquiv {
    type Wire = str;
}

impl HashEquiv {
    /// Builds the service over an opened database, in the default namespace. Must
    /// be called within a tokio runtime, which runs the backfill.
    pub async fn new(
        db: impl Into<Database>,
        config: Config,
        upstream: Option<Arc<dyn Upstream>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, OpenError> {
        let set = NamespaceSet::open(db, config, upstream, clock).await?;
        Ok(Arc::clone(set.default()))
    }

    /// Builds the service in every namespace that begins `names`, the first of
    /// which is the default one.
    pub(crate) async fn open_all(
        db: Database,
        config: Config,
        names: &[NameChain],
        upstream: Option<Arc<dyn Upstream>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Vec<Arc<Self>>, StoreError> {
        let families = Families::default();
        let cache = Arc::new(UnihashCache::new(config.cache_bytes));
        cache.set_hour(clock.now());
        let logins = Logins::new(db.accounts(), Arc::clone(&clock), config.logins.clone())
            .map_err(StoreError::database)?;
        let shared = families.shared.clone();
        let surroundings = Surroundings {
            cache: Arc::clone(&cache),
            options: config.store_options(),
            clock: Arc::clone(&clock),
            metrics: shared.clone(),
        };
        let (store, chains) = db.store(surroundings, names).await?;
        let upstream = upstream
            .map(|upstream| Arc::new(Bounded::new(upstream, config.upstream, shared.clone())));
        let backfill = (upstream.is_some() && !config.read_only)
            .then(|| Backfill::start(Arc::clone(&store), Arc::clone(&clock), shared.clone()));
        let (config, requests) = (Arc::new(config), Arc::new(RequestStats::default()));
        let of = |(names, at): (&NameChain, Chain)| {
            let name = names.first().map_or(DEFAULT_NAMESPACE, String::as_str);
            let further = names.iter().skip(1).map(String::as_str);
            let own = config.namespaces.iter().find(|own| own.name == name);
            let sees_upstream = at.iter().any(|at| at == UPSTREAM_AT);
            Arc::new(Self {
                name: name.into(),
                fallbacks: names.iter().skip(1).cloned().collect(),
                mark: HistoryMark::of(iter::once(name).chain(further)),
                members: own.and_then(|own| own.members.clone()),
                anonymous: own
                    .and_then(|own| own.anonymous)
                    .unwrap_or(config.anonymous),
                at,
                config: Arc::clone(&config),
                store: Arc::clone(&store),
                cache: Arc::clone(&cache),
                logins: logins.clone(),
                upstream: upstream.clone().filter(|_| sees_upstream),
                backfill: backfill.clone().filter(|_| sees_upstream),
                metrics: families.of(name),
                families: families.clone(),
                requests: Arc::clone(&requests),
                watch: Arc::default(),
                clock: Arc::clone(&clock),
            })
        };
        Ok(names.iter().zip(chains).map(of).collect())
    }

    /// The namespace's name.
    pub const fn namespace(&self) -> &str {
        &self.name
    }

    /// The names of those that reads go on in when they find nothing here, in their order.
    pub const fn fallbacks(&self) -> &[String] {
        &self.fallbacks
    }

    /// A caller as they are in this namespace: who is no member of it, or shows
    /// what holds elsewhere, has no rights of their own here.
    pub fn admit(&self, caller: Principal) -> Principal {
        let user = caller.name().unwrap_or_default();
        let is_member = match &self.members {
            Some(members) => members.iter().any(|member| member == user),
            None => true,
        };
        let holds = is_member && caller.namespaces().contains(&self.name);
        caller.placed(self.anonymous, holds)
    }

    /// How often rows were deleted that a look-up here could have found.
    pub fn deletion_epoch(&self) -> u64 {
        self.store.deletion_epoch(self.at.own())
    }

    /// A client that has not logged in.
    pub const fn anonymous(&self) -> Principal {
        Principal::anonymous(self.anonymous)
    }

    /// A client that has logged in, whatever door it came through.
    pub fn principal_of(&self, login: &Login) -> Principal {
        login.principal(&self.anonymous())
    }

    /// Whether commands that change something are unknown.
    pub fn is_read_only(&self) -> bool {
        self.config.read_only
    }

    /// The statistics of `get-stats`; doors record every request that ended.
    pub fn requests(&self) -> &RequestStats {
        &self.requests
    }

    /// The counters of this namespace.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Adds the counters, and what is asked at each scrape, to `registry`, whose
    /// prefix is `fingerpost`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.families.register(registry);
        let gauges = Gauges::new(Arc::clone(&self.cache), self.upstream.clone());
        registry.register_collector(Box::new(gauges));
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

    /// The cache, with the namespaces that fill it.
    pub(crate) fn dump_of(&self, path: PathBuf, chains: Vec<Chain>) -> CacheDump {
        CacheDump::new(
            path,
            Arc::clone(&self.cache),
            Arc::clone(&self.store),
            chains,
            Arc::clone(&self.clock),
        )
    }

    /// Number of remembered look-ups.
    pub fn cache_entries(&self) -> usize {
        self.cache.len()
    }

    /// The number of a method that was met before. Part of the hot path:
    /// remember the last one per connection.
    pub fn method(&self, name: &[u8]) -> Option<MethodWithin> {
        let method = self.cache.method(name)?;
        Some(method.within(self.at.own()))
    }

    /// Whether [`HashEquiv::cached_unihash`] may be asked now. Ask once for
    /// each batch of lines: the answer holds for some milliseconds.
    pub fn cache_is_fresh(&self) -> bool {
        self.store.cache_is_fresh()
    }

    /// The hot path: a remembered, valid unihash. `None` means "look it up".
    pub fn cached_unihash(&self, method: MethodWithin, taskhash: &[u8; 32]) -> Option<[u8; 32]> {
        self.cache.get(&CachedTask {
            method,
            taskhash: *taskhash,
        })
    }

    pub(crate) const fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
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
            StoreError::Unavailable(_) => Self::Unavailable(Box::new(error)),
            StoreError::TooLong => Self::refused("too-long", error.to_string()),
            other => Self::internal(other),
        }
    }
}
