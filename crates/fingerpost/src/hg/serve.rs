//! `fingerpost hg serve`: repositories served for a trial.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use fingerpost_core::{Clock, SystemClock};
use fingerpost_hg::site::{Catalogue, SiteConfig, TrustPolicy};
use fingerpost_hg::{Mercurial, MercurialOptions};
use fingerpost_hg_front::{FrontOptions, HgFront};
use fingerpost_net::{Address, Listener, Metrics, Server, ServerOptions, Shutdown};

use super::paths::{name_of, serve_paths};
use crate::config::{LogFormat, LogLevel};
use crate::exit::{Exit, OrExit, failure};
use crate::log;
use crate::serve::bind_one;
use crate::signals::StopSignals;

/// Serve repositories for a trial, without a configuration.
///
/// A single PATH is served at `/`, as `hg serve` does; several under their
/// names. A PATH that is no repository is a directory with repositories in it.
/// Everybody who reaches the address may read; nobody can push. Stays in the
/// foreground.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address to listen on.
    #[arg(
        short,
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8000"
    )]
    bind: String,
    /// Write the process id to this file once the address is bound.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Repositories, or directories with repositories in them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// The options without which a client does not speak v2.
const CLIENT_OPTIONS: &str = "--config experimental.httppeer.advertise-v2=true \
     --config experimental.httppeer.v2-encoder-order=zstd-8mb,zlib,identity";

const BLOCKING_THREADS_MAX: usize = 8;

/// Serves until a stop signal.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    log::start(LogLevel::Warning, LogFormat::Auto);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Each thread keeps memory of its own, and no more can be at work.
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(args));
    runtime.shutdown_background();
    outcome
}

async fn serve(args: &Args) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::catch().context("cannot catch signals")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = site(&args.paths)?;
    let catalogue = Catalogue::open(config, clock.now())
        .or_exit(Exit::Usage, "the repositories cannot be served")?;
    tell_what_is_refused(&catalogue, &*clock)?;
    let mercurial = Mercurial::new(MercurialOptions::default(), Arc::clone(&clock));
    let front = HgFront::new(
        Arc::new(catalogue),
        Arc::new(mercurial),
        None,
        clock,
        FrontOptions::default(),
    );
    let address: Address = args
        .bind
        .parse()
        .or_exit(Exit::Usage, format!("--bind {}", args.bind))?;
    let listener = bind_one(&address)?;
    announce(args, &listener)?;
    let metrics = Arc::new(Metrics::new());
    metrics.register(|registry| front.register_metrics(registry));
    let shutdown = Shutdown::new();
    let server = Server::http_only(ServerOptions::default(), metrics, shutdown.clone());
    let serving = tokio::spawn(server.router(front.router()).listen(listener).run());
    let signal = signals.next().await;
    tracing::info!(signal, "stopping");
    shutdown.start();
    serving
        .await
        .context("the server panicked")?
        .context("the server cannot listen")?;
    Ok(Exit::Ok)
}

/// A site of these paths, and nothing else.
fn site(paths: &[PathBuf]) -> anyhow::Result<SiteConfig> {
    let mut site = SiteConfig::new(TrustPolicy::of_this_process());
    serve_paths(&mut site, paths)?;
    Ok(site)
}

/// Names each repository that is not served, and why; fails if none is.
fn tell_what_is_refused(catalogue: &Catalogue, clock: &dyn Clock) -> anyhow::Result<()> {
    let listing = catalogue.list(clock.now());
    for problem in &listing.problems {
        eprintln!("{problem}");
    }
    let mut served = 0;
    for listed in &listing.repositories {
        match &listed.state {
            Ok(_) => served += 1,
            Err(refusal) => eprintln!(
                "{} is not served: {}",
                listed.directory.display(),
                refusal.sentence()
            ),
        }
    }
    match served {
        0 => Err(failure(Exit::BadData, "there is no repository to serve")),
        _ => Ok(()),
    }
}

/// Says where it is and what to type, and writes the process id.
fn announce(args: &Args, listener: &Listener) -> anyhow::Result<()> {
    let address = listener.client_address().to_string();
    let url = match address.strip_prefix("unix://") {
        Some(_) => address,
        None => format!("http://{}/", address.trim_start_matches("ws://")),
    };
    if let Some(file) = &args.pid_file {
        let sentence = || format!("cannot write {}", file.display());
        std::fs::write(file, format!("{}\n", std::process::id())).or_exit(Exit::Io, sentence())?;
    }
    let clone_url = match args.paths.as_slice() {
        [_] => url.clone(),
        several => format!("{url}{}", name_of(&several[0]).unwrap_or_default()),
    };
    let text = format!(
        "Listening on {url} (Mercurial's wire protocol v2, read only; ctrl-C stops)\n\
         Clients are hg 4.8 to 6.0 with these options:\n\
         hg clone {CLIENT_OPTIONS} {clone_url}\n"
    );
    let mut out = std::io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(())
}
