//! `fingerpost cache warm`: everything that a clone asks for, asked for before.

mod rounds;
mod summary;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fingerpost_hg_front::client::{ClonePlan, HgClient};
use fingerpost_hg_proto::ContentEncoding;
use fingerpost_hg_proto::client::Following;

use self::rounds::{Rounds, Wish, asking};
use self::summary::Summary;
use crate::exit::{Exit, failure};
use crate::hg::explain;

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
    /// Also have redirects made ready: asks as clients that follow them, again and
    /// again until all is redirected or nothing more becomes so. First, with
    /// zstd-8mb, as clients that undo zstd at a target, then as stock clients.
    /// What is too short for every target stays inline, and so does, for now, what
    /// is still being put there when 15 seconds brought no more.
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
    let requests = plan.requests();
    let [stock, ours] = match args.redirects {
        true => [Following::stock(), Following::default()].map(|following| {
            let redirect = client.redirect_request(&following);
            redirect.filter(|redirect| !redirect.targets.is_empty())
        }),
        false => [None, None],
    };
    if args.redirects && stock.is_none() {
        let url = client.shown_url();
        eprintln!("{url}: the server offers no redirects that hg 6.0.3 follows");
    }
    let mut rounds = Rounds::new(client, plan, args.jobs);
    // Making the plan took these.
    rounds
        .made
        .extend((0..ClonePlan::MADE).map(|at| (first, at)));
    // Before the plain form is there, which clients take that undo zstd if it is all
    // there is. It is what the server has in its stores, as it is.
    let coded = wishes(&args.encodings, requests);
    let coded = coded.filter(|(encoding, _)| *encoding == ContentEncoding::Zstd8mb);
    let coded: Vec<_> = coded.collect();
    if let Some(ours) = ours.filter(|_| !coded.is_empty()) {
        rounds.summary.zstd = Some(rounds.until_redirected(coded, ours).await?);
    }
    let all = wishes(&args.encodings, requests);
    match stock {
        Some(stock) => {
            let ready = rounds.until_redirected(all.collect(), stock).await?;
            rounds.summary.stock = Some(ready);
        }
        None => {
            let rest: Vec<_> = all.filter(|wish| !rounds.made.contains(wish)).collect();
            rounds.round(&rest, None).await?;
        }
    }
    let mut summary = rounds.finish();
    summary.seconds = began.elapsed().as_secs_f64();
    Ok(summary)
}

/// Every request of a clone in every encoding.
fn wishes(encodings: &[ContentEncoding], requests: usize) -> impl Iterator<Item = Wish> {
    let encodings: BTreeSet<_> = encodings.iter().copied().collect();
    let of_one = move |encoding| (0..requests).map(move |at| (encoding, at));
    encodings.into_iter().flat_map(of_one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContentEncoding::{Zlib, Zstd8mb};

    #[test]
    fn everything_is_asked_for_once_in_each_encoding() {
        let wishes: Vec<_> = wishes(&[Zlib, Zstd8mb, Zlib], 2).collect();
        assert_eq!(wishes, [(Zstd8mb, 0), (Zstd8mb, 1), (Zlib, 0), (Zlib, 1)]);
    }
}
