//! `fingerpost top`: what a running server does, again and again.

mod figures;
mod screen;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use fingerpost_core::{Clock as _, SystemClock};

use self::figures::{Figures, Scrape};
use crate::cache::tiers::{Which, block_on};
use crate::exit::{Exit, failure};
use crate::out::Out;
use crate::scrape::Place;

/// Show what a running server does: look-ups, reports, latencies, connections,
/// caches, commits, each command. Rates are those since the look before.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// The server: a URL, HOST:PORT or `unix://PATH`. Without it, what
    /// `metrics.bind` says.
    #[arg(value_name = "URL")]
    url: Option<Place>,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Look twice, show it and end.
    #[arg(long)]
    once: bool,
    /// Print JSON, one object a line for each look.
    #[arg(long)]
    json: bool,
}

/// Looks and shows until nobody reads any more, or the server does not answer.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let place = match &args.url {
        Some(place) => place.clone(),
        None => Place::configured(&args.which.load()?.config)?,
    };
    block_on(watch(args, &place))?;
    Ok(Exit::Ok)
}

async fn watch(args: &Args, place: &Place) -> anyhow::Result<()> {
    let every = Duration::from_secs(args.every);
    let redraw = !args.once && !args.json && std::io::stdout().is_terminal();
    let mut out = Out::default();
    let mut before = look(place).await?;
    let mut due = Instant::now();
    while !out.is_closed() {
        due += every;
        tokio::time::sleep_until(due.into()).await;
        let now = look(place).await?;
        let figures = Figures::between(&before, &now);
        let shown = match args.json {
            true => figures.to_json().to_string() + "\n",
            false => screen::text(&place.to_string(), &figures),
        };
        out.bytes(screen::frame(&shown, redraw).as_bytes())?;
        if args.once {
            break;
        }
        before = now;
        // A look that took long is not made up for.
        due = due.max(Instant::now().checked_sub(every).unwrap_or(due));
    }
    Ok(())
}

async fn look(place: &Place) -> anyhow::Result<Scrape> {
    let page = place.fetch().await?;
    let scrape = Scrape::new(&page, Instant::now(), SystemClock.now());
    match scrape.is_of_agent() {
        true => Err(failure(
            Exit::Usage,
            format!("{place} is an agent and no server: fingerpost agent status"),
        )),
        false => Ok(scrape),
    }
}
