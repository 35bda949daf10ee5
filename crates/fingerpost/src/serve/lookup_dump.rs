//! The look-up cache on disk: loaded beside serving, written now and then and at the
//! end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fingerpost_hashequiv::NamespaceSet;
use fingerpost_hashequiv::dump::{CacheDump, Written};
use fingerpost_net::{Metrics, Shutdown};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::config::{Config, Durability};

/// What the end of the server waits for the last dump; the one before stays when it
/// takes longer.
const LAST_MAX: Duration = Duration::from_secs(2);

/// Loads and writes the dump, if there is to be one.
pub(super) struct LookupDump(Option<(CacheDump, Duration)>);

impl LookupDump {
    /// As configured; `database` is its file, if it is in one.
    pub(super) fn new(
        config: &Config,
        namespaces: &NamespaceSet,
        database: Option<PathBuf>,
        metrics: &Metrics,
    ) -> Self {
        let minutes = config.hashequiv.lookup_cache_dump_minutes;
        if minutes == 0 {
            return Self(None);
        }
        // A dump would outlive rows that a power cut takes.
        let why = match &database {
            Some(_) if config.database.durability == Durability::Relaxed => {
                Some("database.durability is relaxed")
            }
            None if config.postgresql.allow_asynchronous_commit => {
                Some("postgresql.allow_asynchronous_commit is set")
            }
            _ => None,
        };
        if let Some(why) = why {
            tracing::info!("Look-ups are not remembered over a restart: {why}");
            return Self(None);
        }
        let path = config.hashequiv.lookup_cache_dump.clone();
        let Some(path) = path.or_else(|| database.as_deref().map(beside)) else {
            return Self(None);
        };
        let dump = namespaces.dump_at(path);
        metrics.register(|registry| dump.register_metrics(registry));
        Self(Some((
            dump,
            Duration::from_secs(minutes.saturating_mul(60)),
        )))
    }

    /// Works until the server stops, and writes once more then.
    pub(super) fn start(self, shutdown: Shutdown) -> JoinHandle<()> {
        tokio::spawn(async move {
            if let Some((dump, every)) = self.0 {
                run(&dump, every, &shutdown).await;
            }
        })
    }
}

/// The database's name with an ending: databases may share a directory.
fn beside(database: &Path) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(".lookup-cache.dump");
    name.into()
}

async fn run(dump: &CacheDump, every: Duration, shutdown: &Shutdown) {
    tokio::select! {
        // The file has more than the cache.
        () = shutdown.started() => return,
        _ = dump.load() => {}
    }
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_written = true;
    loop {
        tokio::select! {
            () = shutdown.started() => break,
            _ = ticks.tick() => {}
        }
        let writing = write(dump, was_written);
        tokio::pin!(writing);
        tokio::select! {
            written = &mut writing => was_written = written,
            () = shutdown.started() => {
                // This one is the last.
                dump.hurry();
                return last(writing).await;
            }
        }
    }
    dump.hurry();
    last(write(dump, true)).await;
}

async fn last(writing: impl Future<Output = bool>) {
    if timeout(LAST_MAX, writing).await.is_err() {
        tracing::info!("The server does not wait for its dump of look-ups; the one before stays");
    }
}

/// Whether it was written. Says why not, once.
async fn write(dump: &CacheDump, was_written: bool) -> bool {
    match dump.write().await {
        Ok(Written::Unchanged) => true,
        Ok(Written::Dump {
            entries,
            bytes,
            took,
        }) => {
            let milliseconds = took.as_millis();
            tracing::debug!(entries, bytes, milliseconds, "Dumped {entries} look-ups");
            true
        }
        Err(error) if was_written => {
            tracing::warn!(%error, "Look-ups are not dumped for the next start: {error}");
            false
        }
        Err(error) => {
            tracing::debug!(%error, "look-ups are still not dumped");
            false
        }
    }
}
