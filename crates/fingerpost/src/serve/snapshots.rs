//! Snapshots: made beside serving, and swept. Also the log of changes, which is kept
//! for so long whether there are snapshots or not.

mod directory;
mod metrics;
mod pace;
mod sharing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fingerpost_hashequiv::changes::ChoreLease;
use fingerpost_hashequiv::{HashEquiv, NamespaceSet};
use fingerpost_hashequiv_front::{SnapshotShelf, Withheld};
use fingerpost_net::Shutdown;
use fingerpost_signatures::UnixTime;
use fingerpost_snapshot::Manifest;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use self::metrics::Metrics;
use self::pace::Pace;
use self::sharing::Sharing;
use super::cache::Answers;
use crate::background;
use crate::config::Snapshots;
use crate::snapshot::{PAGE_ROWS, make};

/// Who makes snapshots.
const LEASE: ChoreLease = ChoreLease {
    name: "snapshots",
    term: Duration::from_secs(60),
};
/// How often it is looked whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a failure none is made for so long.
const PAUSE: Duration = Duration::from_secs(15 * 60);
/// Deletions are told for 30 days.
const KEPT_MICROS: i64 = 30 * 24 * 3600 * 1_000_000;

/// The snapshots that are served; `None` if there is no directory for them.
pub(super) fn shelf(
    config: &Snapshots,
    answers: Option<&Answers>,
    withheld: Withheld,
) -> Option<SnapshotShelf> {
    let directory = config.directory.clone()?;
    let shelf = SnapshotShelf::new(directory, config.published_only).withheld_by(withheld);
    Some(match answers.and_then(Answers::redirects) {
        Some((targets, names)) => shelf.redirecting_to(targets, names),
        None => shelf,
    })
}

/// Whether snapshots are made here.
const fn makes(config: &Snapshots) -> bool {
    config.directory.is_some() && config.every_hours > 0
}

/// What is done beside serving.
pub(super) struct Chores {
    namespaces: NamespaceSet,
    config: Snapshots,
    metrics: Metrics,
    /// Where servers on other hosts may make them too.
    sharing: Option<Sharing>,
}

impl Chores {
    pub(super) fn new(
        namespaces: NamespaceSet,
        config: &Snapshots,
        registry: &fingerpost_net::Metrics,
    ) -> Self {
        let metrics = match makes(config) {
            true => Metrics::of(&config.namespaces),
            false => Metrics::default(),
        };
        registry.register(|registry| metrics.register(registry));
        Self {
            namespaces,
            config: config.clone(),
            metrics,
            sharing: None,
        }
    }

    /// Looks after the directory, now and while it serves, if snapshots are made here:
    /// others on the database must have the same one. Else `withheld` is set.
    pub(super) async fn sharing(mut self, withheld: Withheld) -> Self {
        let service = self.namespaces.default();
        let directory = self.config.directory.clone();
        let directory = directory.filter(|_| makes(&self.config) && !service.is_read_only());
        if let Some(directory) = directory {
            let sharing = Sharing::new(directory, Arc::clone(service), withheld);
            sharing.hold(&self.metrics).await;
            self.sharing = Some(sharing);
        }
        self
    }

    /// Makes snapshots when they are due and forgets old changes, until the server
    /// stops. A read-only server does neither.
    pub(super) fn start(self, shutdown: Shutdown) -> JoinHandle<()> {
        tokio::spawn(async move {
            if self.namespaces.default().is_read_only() {
                return;
            }
            let stop = Arc::new(AtomicBool::new(false));
            tokio::select! {
                () = shutdown.started() => stop.store(true, Ordering::Relaxed),
                _ = async { tokio::join!(self.forget(), self.share(), self.make_all(&stop)) } => {}
            }
            // Who starts next need not wait for the end of its term.
            if let Err(error) = self.namespaces.default().release_lease(LEASE).await {
                tracing::debug!(%error, "the lease of snapshots is not given back");
            }
        })
    }

    async fn forget(&self) {
        let service = self.namespaces.default();
        let mut days = interval(Duration::from_secs(24 * 3600));
        days.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            days.tick().await;
            let before = service.now().minus_micros(KEPT_MICROS);
            match service.forget_changes(before).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "Forgot deletions of a month ago"),
                Err(error) => tracing::warn!(%error, "old deletions cannot be forgotten"),
            }
        }
    }

    async fn share(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.go_on(&self.metrics).await;
        }
    }

    async fn make_all(&self, stop: &Arc<AtomicBool>) {
        let directory = self.config.directory.as_deref();
        let Some(directory) = directory.filter(|_| makes(&self.config)) else {
            return std::future::pending().await;
        };
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed: Option<Instant> = None;
        loop {
            looks.tick().await;
            if failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
                continue;
            }
            failed = None;
            if let Some(sharing) = &self.sharing
                && !sharing.hold(&self.metrics).await
            {
                continue;
            }
            for name in &self.config.namespaces {
                let Some(service) = self.namespaces.find(name) else {
                    continue;
                };
                if let Err(error) = self.make_if_due(directory, service, stop).await {
                    self.metrics.failed(name);
                    failed = Some(Instant::now());
                    let why = format!("{error:#}");
                    tracing::error!(namespace = name, %why, "no snapshot of {name}: {why}");
                }
            }
        }
    }

    async fn make_if_due(
        &self,
        directory: &Path,
        service: &Arc<HashEquiv>,
        stop: &Arc<AtomicBool>,
    ) -> anyhow::Result<()> {
        let name = service.namespace();
        let newest = newest(directory, name).await?;
        if let Some(newest) = newest {
            self.metrics.is_there(name, newest);
        }
        let now = UnixTime::of(service.now()).seconds();
        let term = self.config.every_hours.saturating_mul(3600);
        let is_due = newest.is_none_or(|newest| newest > now || now - newest >= term);
        if !is_due || !service.hold_lease(LEASE).await? {
            return Ok(());
        }
        let made = self.make(directory, service, stop).await;
        let (keep, root) = (self.config.keep, directory.to_owned());
        let swept = tokio::task::spawn_blocking({
            let name = name.to_owned();
            move || directory::sweep(&root, &name, keep)
        });
        let swept = swept.await.context("sweeping panicked")?;
        match made {
            // Held for the rest of its term: another host may see a shared directory as it
            // was a moment ago, and would make one more.
            Ok(()) => _ = service.hold_lease(LEASE).await?,
            Err(_) => service.release_lease(LEASE).await?,
        }
        made?;
        swept.with_context(|| format!("cannot sweep {}", directory.display()))
    }

    async fn make(
        &self,
        directory: &Path,
        service: &Arc<HashEquiv>,
        stop: &Arc<AtomicBool>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let name = service.namespace();
        let created = UnixTime::of(service.now());
        let target = directory.join(directory::name(name, created.seconds()));
        let pace = Pace::new(Arc::clone(service), LEASE, Arc::clone(stop));
        let making = making(target, Arc::clone(service), created, pace);
        let manifest = making.await?;
        self.metrics.made(&manifest, began.elapsed());
        let (rows, position) = (manifest.rows(), manifest.position);
        let seconds = began.elapsed().as_secs();
        tracing::info!(
            namespace = name,
            rows,
            position,
            seconds,
            "Made a snapshot of {name}: {rows} rows in {seconds} s"
        );
        Ok(())
    }
}

/// Makes a snapshot on a thread of its own, behind those that serve.
async fn making(
    target: PathBuf,
    service: Arc<HashEquiv>,
    created: UnixTime,
    pace: Pace,
) -> anyhow::Result<Manifest> {
    if let Some(parent) = target.parent() {
        tokio::fs::create_dir_all(parent)
            .await
            .with_context(|| format!("cannot make {}", parent.display()))?;
    }
    // What is deleted from here on is among the changes since.
    let cut = service.cut().await?;
    let runtime = Handle::current();
    let pace = std::cell::RefCell::new(pace);
    let making = background::run("snapshots", move || {
        let pages = |after| {
            let began = Instant::now();
            let page = runtime.block_on(service.mappings(after, PAGE_ROWS))?;
            pace.borrow().rest(began.elapsed());
            Ok(page)
        };
        let go_on = || pace.borrow_mut().go_on(&runtime);
        make(&target, service.namespace(), cut, created, pages, go_on)
    });
    making.await?
}

async fn newest(directory: &Path, namespace: &str) -> anyhow::Result<Option<u64>> {
    let (root, namespace) = (directory.to_owned(), namespace.to_owned());
    let looking = tokio::task::spawn_blocking(move || directory::own(&root, &namespace));
    let own = looking.await.context("looking for snapshots panicked")?;
    let own = own.with_context(|| format!("cannot read {}", directory.display()))?;
    Ok(own.iter().map(|one| one.created).max())
}

#[cfg(test)]
mod tests;
