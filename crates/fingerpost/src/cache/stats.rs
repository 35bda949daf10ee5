//! `fingerpost cache stats`: what a running server counts.

mod table;

use serde_json::{Map, Value};

use super::tiers::{Which, block_on};
use crate::exit::Exit;
use crate::out::Out;
use crate::scrape::{self, Place, Sample};

/// Where the names of what concerns answers begin, and what that is called.
const SECTIONS: [(&str, &str); 4] = [
    ("fingerpost_answers_", "answers"),
    ("fingerpost_cache_", "stores"),
    ("fingerpost_redirects_", "redirects"),
    ("fingerpost_content_", "content endpoint"),
];

/// Show what a running server counts of its answers and where they are kept:
/// hits and misses, bytes, failures. Counts begin with the server's start.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// The server: a URL, HOST:PORT or `unix://PATH`. Without it, what
    /// `metrics.bind` says.
    #[arg(value_name = "URL")]
    url: Option<Place>,
    /// Print JSON, one object a line for each number.
    #[arg(long)]
    json: bool,
}

/// Asks and shows.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let place = match &args.url {
        Some(place) => place.clone(),
        None => Place::configured(&args.which.load()?.config)?,
    };
    let text = block_on(place.fetch())?;
    let samples = scrape::parse(&text);
    let mut out = Out::default();
    let mut shown = 0;
    for (prefix, title) in SECTIONS {
        let of_section = |sample: &&Sample| sample.name.starts_with(prefix);
        let samples: Vec<&Sample> = samples.iter().filter(of_section).collect();
        shown += samples.len();
        if args.json {
            for sample in samples {
                out.line(&json(sample).to_string())?;
            }
        } else {
            out.bytes(table::tables(title, prefix, &samples).as_bytes())?;
        }
    }
    if shown == 0 {
        eprintln!("{place} counts nothing of answers: it remembers none");
    }
    Ok(Exit::Ok)
}

fn json(sample: &Sample) -> Value {
    let labels = sample.labels.iter();
    let labels: Map<_, _> = labels
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let value = match table::whole(sample.value) {
        Some(whole) => Value::from(whole),
        None => Value::from(sample.value),
    };
    serde_json::json!({"name": sample.name, "labels": labels, "value": value})
}
