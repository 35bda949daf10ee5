//! `fingerpost serve`: puts database, service, door and listeners together, in
//! this order, and takes them apart in the reverse one.

mod announce;
mod args;
mod cache;
mod database;
mod database_metrics;
mod guards;
mod hg;
mod inherited;
mod listen;
mod logins;
mod lookup_dump;
mod readiness;
mod redirect;
mod retention;
mod service;
mod snapshots;
mod start;
mod stores;

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use fingerpost_hashequiv::Database;
use fingerpost_net::Shutdown;
use fingerpost_net::audit::Audit;
use fingerpost_program::systemd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

pub(crate) use args::Args;
pub(crate) use cache::Answers;
pub(crate) use database::{close as close_database, open_now as open_database};
pub(crate) use listen::bind_one;
pub(crate) use logins::issuers;
pub(crate) use stores::{Part, Stores, objects_there, valkey};

use crate::config::{self, Loaded};
use crate::exit::{Exit, OrExit};
use crate::log;
use crate::signals::StopSignals;
use crate::traces::Traces;

/// Serves until a stop signal.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let sources = args.sources().or_exit(Exit::Configuration, WRONG)?;
    let loaded = config::load(sources).or_exit(Exit::Configuration, WRONG)?;
    let runtime = runtime(loaded.config.server.worker_threads)?;
    let (traces, spans) = Traces::start(&loaded.config.traces, runtime.handle())?.unzip();
    log::start_with(loaded.config.log.level, loaded.config.log.format, spans);
    announce::warn_of_visible_passwords(&args.visible_passwords());
    let outcome = runtime.block_on(serve(loaded, args.import));
    if let Some(traces) = traces {
        traces.finish();
    }
    // A start that was interrupted may still be at work on a blocking thread;
    // the database is built for a process that ends at any moment.
    runtime.shutdown_background();
    outcome
}

fn runtime(worker_threads: u64) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = usize::try_from(worker_threads)
        .ok()
        .filter(|threads| *threads > 0)
    {
        builder.worker_threads(threads.min(WORKER_THREADS_MAX));
    }
    builder
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

async fn serve(loaded: Loaded, import: bool) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::catch().context("cannot catch signals")?;
    let shutdown = Shutdown::new();
    let started = tokio::select! {
        biased;
        signal = signals.next() => {
            tracing::info!(signal, "stopped while starting");
            return Ok(Exit::Ok);
        }
        started = start::start(loaded, import, shutdown.clone()) => started?,
    };
    let mut serving = tokio::spawn(started.server.run());
    let audit = started.audit;
    // Without an audit log SIGHUP ends the program, as it does others.
    let hang_ups = audit.is_on().then(|| signal(SignalKind::hangup()));
    let hang_ups = hang_ups.transpose().context("cannot catch signals")?;
    systemd::ready();
    tokio::select! {
        never = reopen(&audit, hang_ups) => match never {},
        signal = signals.next() => {
            tracing::info!(signal, "stopping: requests in hand finish, idle connections close");
        }
        ended = &mut serving => {
            ended.context("the server panicked")?.context("the server cannot listen")?;
            return Ok(Exit::Ok);
        }
    }
    systemd::stopping();
    shutdown.begin();
    stop(serving, started.chores, started.database, &audit).await;
    Ok(Exit::Ok)
}

/// Opens the audit log again at every SIGHUP, as programs that rotate logs ask.
async fn reopen(audit: &Audit, mut hang_ups: Option<Signal>) -> Infallible {
    while let Some(hang_ups) = &mut hang_ups
        && hang_ups.recv().await.is_some()
    {
        tracing::info!("SIGHUP: the audit log is opened again");
        audit.reopen();
    }
    std::future::pending().await
}

/// Waits for what is in hand, within [`STOP_MAX`]. Further signals change
/// nothing: some supervisors send each twice.
async fn stop(
    serving: JoinHandle<std::io::Result<usize>>,
    chores: JoinHandle<()>,
    database: Database,
    audit: &Audit,
) {
    let deadline = Instant::now() + STOP_MAX;
    // Its errors are those of taking the sockets in, which is long past.
    let _ = timeout_at(deadline, serving).await;
    let _ = timeout_at(deadline, chores).await;
    if !matches!(
        timeout_at(deadline, database::close(database)).await,
        Ok(true)
    ) {
        tracing::warn!("the database was still at work; what was answered is safe");
    }
    if !audit
        .flush(deadline.saturating_duration_since(Instant::now()))
        .await
    {
        tracing::error!("the audit log may lack its last lines");
    }
}

const WRONG: &str = "The configuration is wrong";
/// From the signal to the end. Operators are promised five seconds.
const STOP_MAX: Duration = Duration::from_millis(4800);
const WORKER_THREADS_MAX: usize = 1024;
