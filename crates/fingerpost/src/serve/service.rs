//! The service and its door, as configured.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use fingerpost_accounts::LoginOptions;
use fingerpost_core::{Clock, SystemClock};
use fingerpost_hashequiv::{
    Config as ServiceConfig, HashEquiv, NamespaceSet, Upstream, UpstreamOptions,
};
use fingerpost_hashequiv_client::{ClientOptions, Credentials};
use fingerpost_hashequiv_front::{
    DoorOptions, JsonDoor, JsonOptions, NativeDoor, NativeUpstream, NativeUpstreamOptions,
    Placement, Withheld,
};
use fingerpost_hashequiv_proto::Limits;
use fingerpost_net::audit::Audit;
use fingerpost_net::{
    ForwardedBy, HttpOptions, Metrics, ServerOptions, Shortcut, Shutdown, TrustedProxies,
    default_connection_limit,
};

use super::cache::Answers;
use super::database::Opened;
use super::database_metrics;
use super::lookup_dump::LookupDump;
use super::{guards, retention, snapshots};
use crate::config::{self, Config};

/// The doors of the server.
pub(super) struct Doors {
    /// What they are doors to.
    pub(super) service: Arc<HashEquiv>,
    /// Of hash equivalence.
    pub(super) native: NativeDoor,
    /// What answers HTTP: hash equivalence as JSON, and Mercurial repositories if
    /// any are configured.
    pub(super) http: Router,
    /// What is answered before it. Nothing where each request is traced.
    pub(super) shortcut: Option<Arc<dyn Shortcut>>,
    /// What both tell of changes.
    pub(super) audit: Audit,
    /// What becomes of snapshots and changes.
    pub(super) snapshots: snapshots::Chores,
    /// What is remembered over a restart.
    pub(super) dump: LookupDump,
    /// What goes by itself, and what look-ups noted of uses.
    pub(super) retention: retention::Chores,
}

/// Builds the services over a database, makes the configured administrator, and
/// puts every counter on `metrics`.
pub(super) async fn doors(
    config: &Config,
    opened: &Opened,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> anyhow::Result<Doors> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let upstream = upstream(config);
    let logins = super::logins::options(config, &clock)?;
    let options = service_config(config, logins);
    let namespaces = NamespaceSet::open(opened.database.clone(), options, upstream, clock)
        .await
        .context("cannot start the hash equivalence service")?;
    let service = Arc::clone(namespaces.default());
    let accounts = &config.accounts;
    if let (Some(name), Some(token)) = (&accounts.admin_username, &accounts.admin_password) {
        service
            .accounts()
            .ensure_admin(name, token.reveal())
            .await
            .with_context(|| format!("cannot make the administrator {name}"))?;
    }
    let guards = guards::guards(config)?;
    let placement = Placement::new(namespaces.clone(), config.placement())?;
    let native = NativeDoor::guarded(placement.clone(), door_options(config), guards.clone());
    let json = JsonDoor::guarded(placement, json_options(config), guards.clone())
        .buffering_with(&native)
        .stopping_with(shutdown.clone());
    let answers = answers(config, metrics)?;
    let withheld = Withheld::default();
    let json = match snapshots::shelf(&config.snapshots, answers.as_ref(), withheld.clone()) {
        Some(shelf) => json.serving_snapshots(shelf),
        None => json,
    };
    let mut http = json.router();
    let logins = service.logins().clone();
    if let Some(hg) = super::hg::front(config, logins, &guards, answers.as_ref(), metrics)? {
        http = http.merge(hg);
    }
    if let Some(endpoint) = answers.as_ref().and_then(Answers::endpoint) {
        http = http.merge(endpoint.router());
    }
    let shortcut = config.traces.endpoint.is_empty();
    let shortcut = shortcut.then(|| Arc::new(json.clone()) as Arc<dyn Shortcut>);
    let chores = snapshots::Chores::new(namespaces.clone(), &config.snapshots, metrics);
    let chores = match config.uses_postgresql() {
        true => chores.sharing(withheld).await,
        false => chores,
    };
    let dump = LookupDump::new(config, &namespaces, opened.file(), metrics);
    let retention = retention::Chores::new(&service, config, metrics)?;
    let collector = database_metrics::collector(opened);
    metrics.register(|registry| {
        namespaces.register_metrics(registry);
        service.logins().register_metrics(registry);
        native.register_metrics(registry);
        json.register_metrics(registry);
        guards.admission.register(registry);
        guards.audit.register(registry);
        registry.register_collector(collector);
    });
    let audit = guards.audit;
    Ok(Doors {
        service,
        native,
        http,
        shortcut,
        audit,
        snapshots: chores,
        dump,
        retention,
    })
}

/// Where answers are remembered, if anything is there that has some: repositories, or
/// snapshots whose clients are sent elsewhere.
fn answers(config: &Config, metrics: &Metrics) -> anyhow::Result<Option<Answers>> {
    let has_shards = config.snapshots.directory.is_some() && !config.redirect.targets.is_empty();
    if !config.hg.is_used() && !has_shards {
        return Ok(None);
    }
    let answers = Answers::open(&config.cache, &config.redirect)?;
    if let Some(answers) = &answers {
        metrics.register(|registry| answers.register_metrics(registry));
    }
    Ok(answers)
}

/// The configured upstream, not connected yet.
fn upstream(config: &Config) -> Option<Arc<dyn Upstream>> {
    let upstream = &config.upstream;
    let address = upstream.address.0.as_ref()?;
    let login = upstream.username.as_ref().zip(upstream.password.as_ref());
    let client = ClientOptions {
        credentials: login.map(|(username, token)| Credentials {
            username: username.clone(),
            token: token.reveal().to_owned(),
        }),
        ..ClientOptions::to(address.0.clone())
    };
    let options = NativeUpstreamOptions {
        timeout: Duration::from_millis(upstream.timeout_ms),
        ..NativeUpstreamOptions::to(client)
    };
    Some(Arc::new(NativeUpstream::start(options)))
}

fn service_config(config: &Config, logins: LoginOptions) -> ServiceConfig {
    let (hashequiv, upstream) = (&config.hashequiv, &config.upstream);
    ServiceConfig {
        read_only: config.server.read_only,
        anonymous: config.accounts.anonymous_permissions.0,
        serve_invalid_unihashes: hashequiv.serve_invalid_unihashes,
        clean_unused_ignores_age: hashequiv.clean_unused_ignores_age,
        remark_on_report: hashequiv.remark_on_report,
        serve_stale: hashequiv.serve_stale,
        cache_bytes: hashequiv.lookup_cache_mib.saturating_mul(MIB),
        upstream: UpstreamOptions {
            timeout: Duration::from_millis(upstream.timeout_ms),
            miss_ttl: Duration::from_secs(upstream.miss_seconds),
        },
        namespaces: config.namespaces(),
        logins,
        ..ServiceConfig::default()
    }
}

fn door_options(config: &Config) -> DoorOptions {
    let limits = &config.limits;
    DoorOptions {
        limits: Limits {
            line_bytes: size(limits.line_bytes),
            message_bytes: size(limits.message_mib.saturating_mul(MIB)),
            handshake_bytes: size(limits.handshake_bytes),
            header_lines: size(limits.handshake_lines),
        },
        pending_bytes: size(limits.pending_kib.saturating_mul(KIB)),
        buffered_bytes_total: size(limits.buffered_mib.saturating_mul(MIB)),
        batch_lines: size(limits.batch_lines).max(1),
        write_stall: Duration::from_secs(limits.write_stall_seconds),
        message_time: Duration::from_secs(limits.message_seconds),
    }
}

fn json_options(config: &Config) -> JsonOptions {
    let limits = &config.limits;
    JsonOptions {
        body_bytes_max: size(limits.message_mib.saturating_mul(MIB)),
        line_bytes_max: size(limits.line_bytes),
        body_stall: Duration::from_secs(limits.message_seconds),
        ..JsonOptions::default()
    }
}

/// The listeners' limits. `open_files` is the limit of open files in force.
pub(super) fn server_options(config: &Config, open_files: u64) -> ServerOptions {
    let limits = &config.limits;
    ServerOptions {
        handshake_max: Duration::from_secs(limits.handshake_seconds),
        connections_max: match limits.connections {
            0 => default_connection_limit(open_files),
            connections => size(connections),
        },
        drain_max: Duration::from_secs(config.server.stop_seconds),
        proxies: TrustedProxies::new(config.server.trusted_proxies.iter().map(|one| one.0)),
        http: HttpOptions {
            forwarded_by: match config.server.forwarded_by {
                config::ForwardedBy::XForwarded => ForwardedBy::XForwarded,
                config::ForwardedBy::Forwarded => ForwardedBy::Forwarded,
            },
            write_stall_max: Duration::from_secs(limits.write_stall_seconds),
            allowed_origins: config.server.allowed_origins.clone(),
            host_names: config.server.host_names.clone(),
            metrics_everywhere: config.metrics.everywhere,
            ..HttpOptions::default()
        },
    }
}

pub(super) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
