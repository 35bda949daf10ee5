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

use super::paths::serve_paths;
use crate::config::{Cache, LogFormat, LogLevel, Redirect, is_printable_url};
use crate::exit::{Exit, OrExit, failure};
use crate::log;
use crate::serve::{Answers, bind_one};
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
    /// Where clients that do not speak v2 find the repositories; they are told
    /// so.
    #[arg(long, value_name = "URL", value_parser = url_in_one_line)]
    fallback_url: Option<String>,
    /// Remember answers in so many MiB of memory: what many ask for is made once.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    cache_mib: u64,
    /// Repositories, or directories with repositories in them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// The options without which a client does not speak v2.
const CLIENT_OPTIONS: &str = "--config experimental.httppeer.advertise-v2=true \
     --config experimental.httppeer.v2-encoder-order=zstd-8mb,zlib,identity";

/// Threads that read: twice as many as work at a time, which is one for each
/// core and one more, so that short questions find one.
fn blocking_threads_max() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    2 * (cores + 2)
}

/// Serves until a stop signal.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    log::start(LogLevel::Warning, LogFormat::Auto);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Each thread keeps memory of its own.
        .max_blocking_threads(blocking_threads_max())
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
    let first = tell_what_is_refused(&catalogue, &*clock)?;
    let mercurial = Mercurial::new(MercurialOptions::default(), Arc::clone(&clock));
    let front = HgFront::new(
        Arc::new(catalogue),
        Arc::new(mercurial),
        None,
        clock,
        FrontOptions {
            fallback_url: args.fallback_url.clone(),
            ..FrontOptions::default()
        },
    );
    let cache = Cache {
        memory_mib: args.cache_mib,
        ..Cache::default()
    };
    let answers = Answers::open(&cache, &Redirect::default())?;
    let front = match answers {
        Some(answers) => front.remembering(answers.cache),
        None => front,
    };
    let address: Address = args
        .bind
        .parse()
        .or_exit(Exit::Usage, format!("--bind {}", args.bind))?;
    let listener = bind_one(&address)?;
    announce(args, &listener, &first)?;
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

/// What clap asks of a URL that clients are told.
fn url_in_one_line(url: &str) -> Result<String, &'static str> {
    match is_printable_url(url) {
        true => Ok(url.to_owned()),
        false => Err("not a URL in one line"),
    }
}

/// Names each repository that is not served, and why; fails if all are. The
/// URL path of the first one that is served.
fn tell_what_is_refused(catalogue: &Catalogue, clock: &dyn Clock) -> anyhow::Result<String> {
    let listing = catalogue.list(clock.now());
    for problem in &listing.problems {
        eprintln!("{problem}");
    }
    let mut first = None;
    for listed in &listing.repositories {
        match &listed.state {
            Ok(entry) => drop(first.get_or_insert_with(|| entry.url_path().to_owned())),
            Err(refusal) => eprintln!(
                "{} is not served: {}",
                listed.directory.display(),
                refusal.sentence()
            ),
        }
    }
    first.ok_or_else(|| failure(Exit::BadData, "there is no repository to serve"))
}

/// Says where it is and what to type for the repository under the path
/// `first`, and writes the process id.
fn announce(args: &Args, listener: &Listener, first: &str) -> anyhow::Result<()> {
    let address = listener.client_address().to_string();
    let url = match address.strip_prefix("unix://") {
        Some(_) => address,
        None => format!("http://{}/", address.trim_start_matches("ws://")),
    };
    if let Some(file) = &args.pid_file {
        let sentence = || format!("cannot write {}", file.display());
        std::fs::write(file, format!("{}\n", std::process::id())).or_exit(Exit::Io, sentence())?;
    }
    let clone_url = format!("{url}{}", escaped(first.trim_start_matches('/')));
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

/// A path as a URL has it, so that it is one word of a shell as well.
fn escaped(path: &str) -> String {
    let mut url = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(char::from(byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_type_names_the_first_repository_that_is_served() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a c/d"] {
            std::fs::create_dir_all(dir.path().join(name).join(".hg/store")).unwrap();
        }
        let config = site(&[dir.path().to_owned()]).unwrap();
        let clock = SystemClock;
        let catalogue = Catalogue::open(config, clock.now()).unwrap();
        let first = tell_what_is_refused(&catalogue, &clock).unwrap();
        assert_eq!(escaped(&first), "/a%20c/d");
    }

    #[test]
    fn a_url_that_clients_are_told_is_one_line() {
        assert_eq!(
            url_in_one_line("https://hg.example").unwrap(),
            "https://hg.example"
        );
        assert!(url_in_one_line("").is_err());
        assert!(url_in_one_line("a\nb").is_err());
    }
}
