//! `fingerpost cache warm`: everything that a clone asks for, asked for before.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fingerpost_hg_front::client::{Asking, Called, ClientError, ClonePlan, HgClient};
use fingerpost_hg_proto::client::{Following, Response};
use fingerpost_hg_proto::{ContentEncoding, RedirectRequest};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::exit::{Exit, failure};
use crate::hg::explain;
use crate::progress::Progress;

/// Have a server make the answers that a clone asks for, before somebody
/// clones.
///
/// Asks for what a fresh clone by hg 6.0.3 asks for, with the same arguments,
/// and throws away what comes. A server that remembers answers has them then,
/// in all of its stores. Any server that speaks wire protocol v2 can be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// URLs of repositories; a name and a password in one are a login.
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Content encoding to have answers made in: zstd-8mb, zlib or identity. May
    /// be given several times.
    #[arg(long = "encoding", value_name = "NAME", default_value = "zstd-8mb", value_parser = encoding)]
    encodings: Vec<ContentEncoding>,
    /// Requests at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Also have redirects made ready: asks as a client that follows them, and
    /// everything twice, because a server begins with what it finds a second
    /// time.
    #[arg(long)]
    redirects: bool,
    /// Do it again and again, with a pause of so many minutes. What fails is told,
    /// and tried again the next time. Ends when it is interrupted.
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    every: Option<u64>,
    /// Print a line of JSON for each URL.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fingerpost cache warm http://127.0.0.1:8686/project
  fingerpost cache warm --redirects --encoding zstd-8mb --encoding identity \\
      --json http://127.0.0.1:8686/project http://127.0.0.1:8686/tools";

fn encoding(name: &str) -> Result<ContentEncoding, &'static str> {
    let known = ContentEncoding::from_name(name.as_bytes());
    known.ok_or("known are zstd-8mb, zlib and identity")
}

/// Longer byte strings are thrown away in pieces.
const WHOLE_BYTES: usize = 64 << 10;

/// Asks, once or again and again.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let clients = args.urls.iter().map(|url| HgClient::new(url));
    let clients: Vec<_> = clients.collect::<Result<_, _>>().map_err(explain)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    loop {
        let exit = runtime.block_on(warm_all(&clients, args))?;
        match args.every {
            Some(minutes) => std::thread::sleep(Duration::from_secs(60 * minutes)),
            None => return Ok(exit),
        }
    }
}

/// Asks. What goes wrong with one URL does not keep the others from it.
async fn warm_all(clients: &[HgClient], args: &Args) -> anyhow::Result<Exit> {
    let mut exit = Exit::Ok;
    for client in clients {
        let url = client.shown_url();
        match warm(client.clone(), args).await {
            Ok(summary) => summary.print(args.json)?,
            Err(error) => {
                eprintln!("{url}: {error:#}");
                exit = Exit::of(&error);
            }
        }
    }
    Ok(exit)
}

/// Asks for everything of one repository.
async fn warm(client: HgClient, args: &Args) -> anyhow::Result<Summary> {
    let began = Instant::now();
    let first = args.encodings.first().copied();
    let first = first.ok_or_else(|| failure(Exit::Usage, "there is no --encoding"))?;
    let plan = client.plan_clone(&asking(first)).await.map_err(explain)?;
    let url = client.shown_url();
    let redirect = match args.redirects {
        true => client.redirect_request(&Following::stock()),
        false => None,
    };
    let redirect = redirect.filter(|redirect| !redirect.targets.is_empty());
    if args.redirects && redirect.is_none() {
        eprintln!("{url}: the server offers no redirects that hg 6.0.3 follows");
    }
    // What the plan took was asked for as by a client that follows none.
    let (made, rounds) = match redirect {
        Some(_) => (None, 2),
        None => (Some(first), 1),
    };
    let work = work(&args.encodings, made, plan.requests());
    let total = (work.len() * rounds) as u64;
    let progress = Progress::new(format!("Warming {url}"), "requests", Some(total));
    let mut summary = Summary::of(url, &plan);
    let planned = summary.requests;
    let warming = Arc::new(Warming {
        client,
        plan,
        redirect,
    });
    // A round ends before the next begins, so that the server had time to store
    // what the first one asked for.
    for _ in 0..rounds {
        let mut waiting = work.iter().copied();
        let mut running = JoinSet::new();
        loop {
            while running.len() < usize::from(args.jobs)
                && let Some((encoding, at)) = waiting.next()
            {
                running.spawn(Arc::clone(&warming).ask(encoding, at));
            }
            let Some(asked) = running.join_next().await else {
                break;
            };
            summary.add(asked.context("a request panicked")?.map_err(explain)?);
            progress.set(summary.requests - planned, total);
        }
    }
    progress.finish();
    summary.seconds = began.elapsed().as_secs_f64();
    Ok(summary)
}

/// Every request of a clone in every encoding, but those that were `made` for
/// the plan.
fn work(
    encodings: &[ContentEncoding],
    made: Option<ContentEncoding>,
    requests: usize,
) -> Vec<(ContentEncoding, usize)> {
    let encodings: BTreeSet<_> = encodings.iter().copied().collect();
    let of_one = |encoding| {
        let first = if made == Some(encoding) {
            ClonePlan::MADE
        } else {
            0
        };
        (first..requests).map(move |at| (encoding, at))
    };
    encodings.into_iter().flat_map(of_one).collect()
}

fn asking(encoding: ContentEncoding) -> Asking {
    Asking {
        encodings: vec![encoding],
        whole_bytes: WHOLE_BYTES,
        ..Asking::default()
    }
}

/// What the requests of one repository share.
struct Warming {
    client: HgClient,
    plan: ClonePlan,
    redirect: Option<RedirectRequest>,
}

/// What one request came to.
struct Asked {
    called: Called,
    redirected: bool,
}

impl Warming {
    async fn ask(
        self: Arc<Self>,
        encoding: ContentEncoding,
        at: usize,
    ) -> Result<Asked, ClientError> {
        let mut redirected = false;
        let mut called = Called::default();
        if let Some(mut request) = self.plan.request(at) {
            request.redirect.clone_from(&self.redirect);
            let asking = asking(encoding);
            let asked = self.client.require(&request, &asking, |response| {
                redirected |= matches!(response, Response::Redirect(_));
            });
            called = asked.await?;
        }
        Ok(Asked { called, redirected })
    }
}

/// What was done, for scripts.
#[derive(Debug, PartialEq, Serialize)]
struct Summary {
    /// The repository, without a login.
    url: String,
    /// Changesets that it has.
    changesets: u64,
    /// Requests that were answered.
    requests: u64,
    /// Those of them that were answered with a redirect, which was not followed.
    redirected: u64,
    /// Bytes of the answers, as they travelled.
    bytes: u64,
    /// How long it took.
    seconds: f64,
}

impl Summary {
    /// What it took to make the plan.
    fn of(url: String, plan: &ClonePlan) -> Self {
        Self {
            url,
            changesets: plan.changesets().len() as u64,
            requests: ClonePlan::MADE as u64,
            redirected: 0,
            bytes: plan.called.body_bytes,
            seconds: 0.0,
        }
    }

    fn add(&mut self, asked: Asked) {
        self.requests += 1;
        self.redirected += u64::from(asked.redirected);
        self.bytes += asked.called.body_bytes;
    }

    fn text(&self) -> String {
        let Self {
            url,
            changesets,
            requests,
            redirected,
            bytes,
            seconds,
        } = self;
        let redirected = match redirected {
            0 => String::new(),
            some => format!(", {some} of them redirected"),
        };
        format!(
            "{url}: {requests} requests for {changesets} changesets{redirected}, \
             {bytes} bytes in {seconds:.1} s"
        )
    }

    fn print(&self, json: bool) -> anyhow::Result<()> {
        let line = match json {
            true => serde_json::to_string(self)?,
            false => self.text(),
        };
        writeln!(std::io::stdout(), "{line}").context("cannot print")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContentEncoding::{Identity, Zlib, Zstd8mb};

    #[test]
    fn what_was_asked_for_the_plan_is_not_asked_again() {
        let work = |made| work(&[Zlib, Zstd8mb, Zlib], made, 4);
        let all: Vec<_> = [Zstd8mb, Zlib]
            .into_iter()
            .flat_map(|encoding| (0..4).map(move |at| (encoding, at)))
            .collect();
        assert_eq!(work(None), all);
        assert_eq!(work(Some(Zlib))[4..], [(Zlib, 2), (Zlib, 3)]);
        assert_eq!(work(Some(Identity)), all);
    }

    #[test]
    fn a_summary_is_one_line() {
        let mut summary = Summary {
            url: "http://h/r".to_owned(),
            changesets: 7,
            requests: 2,
            redirected: 0,
            bytes: 10,
            seconds: 1.25,
        };
        assert_eq!(
            summary.text(),
            "http://h/r: 2 requests for 7 changesets, 10 bytes in 1.2 s"
        );
        let called = Called { body_bytes: 5 };
        summary.add(Asked {
            called,
            redirected: true,
        });
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(
            json,
            r#"{"url":"http://h/r","changesets":7,"requests":3,"redirected":1,"bytes":15,"seconds":1.25}"#
        );
        assert!(
            summary
                .text()
                .contains("3 requests for 7 changesets, 1 of them redirected")
        );
    }
}
