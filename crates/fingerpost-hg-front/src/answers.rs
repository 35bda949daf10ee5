//! Answers that are made once and given to many, and what is counted of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fingerpost_core::{CacheKey, Counts, Dispatch, EntryName, EntryNames, Redirects, SpoolOptions};
use fingerpost_hg_proto::{Compressor, ContentEncoding};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::redirecting::Redirecting;

/// Remembers answers, in the form in which they were sent.
#[derive(Clone)]
pub struct AnswerCache {
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) names: EntryNames,
    pub(crate) redirecting: Option<Arc<Redirecting>>,
}

impl AnswerCache {
    /// Answers that `dispatch` finds or has made, under these names.
    pub const fn new(dispatch: Arc<Dispatch>, names: EntryNames) -> Self {
        Self {
            dispatch,
            names,
            redirecting: None,
        }
    }

    /// Redirects clients to these targets from now on. What is put there lies in
    /// a spool meanwhile.
    #[must_use]
    pub fn redirecting_to(mut self, targets: Arc<dyn Redirects>, spool: SpoolOptions) -> Self {
        self.redirecting = Some(Arc::new(Redirecting::new(targets, spool)));
        self
    }

    /// The name of an answer in an encoding, at a level. Encoders of other releases
    /// and levels give other bytes, and one may have to go on where another left.
    pub(crate) fn name(&self, key: &CacheKey, encoding: (ContentEncoding, i32)) -> EntryName {
        self.names.name(key, &form(encoding))
    }

    /// What finds answers and has them made.
    pub const fn dispatch(&self) -> &Arc<Dispatch> {
        &self.dispatch
    }

    /// Puts what is counted on a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Counted(Arc::clone(&self.dispatch))));
    }
}

impl fmt::Debug for AnswerCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dispatch.fmt(f)
    }
}

fn form((encoding, level): (ContentEncoding, i32)) -> String {
    let name = encoding.name();
    match encoding {
        ContentEncoding::Identity => name.to_owned(),
        ContentEncoding::Zlib | ContentEncoding::Zstd8mb => {
            format!("{name} {level} {}", Compressor::VERSION)
        }
    }
}

/// The counts of a dispatch, as they are when they are asked for.
#[derive(Debug)]
struct Counted(Arc<Dispatch>);

/// Name, help, and where the number is.
type Counter = (&'static str, &'static str, fn(&Counts) -> &AtomicU64);

const COUNTERS: &[Counter] = &[
    ("hits", "Answers found in a store", |it| &it.hits),
    ("misses", "Answers that had to be made", |it| &it.misses),
    (
        "coalesced",
        "Answers that another request was making",
        |it| &it.coalesced,
    ),
    (
        "look_ups_failed",
        "Answers that no store could be asked for",
        |it| &it.look_ups_failed,
    ),
    ("stored", "Answers put into a store", |it| &it.stored),
    (
        "stores_failed",
        "Answers that were made and could not be stored",
        |it| &it.stores_failed,
    ),
    (
        "redirected",
        "Answers that clients were sent elsewhere for",
        |it| &it.redirected,
    ),
    (
        "inline_bytes",
        "Encoded bytes of answers found or just made that were sent from here",
        |it| &it.inline_bytes,
    ),
    (
        "redirected_bytes",
        "Bytes, without a coding, of answers that clients were sent elsewhere for",
        |it| &it.redirected_bytes,
    ),
];

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let spooled = ConstGauge::new(self.0.spooled_bytes());
        let help = "Bytes of answers that lie in files while they are made and stored.";
        let kind = spooled.metric_type();
        let family = encoder.encode_descriptor("answers_spooled_bytes", help, None, kind)?;
        spooled.encode(family)?;
        let limit = ConstGauge::new(self.0.spool_limit_bytes());
        let help = "Bytes that they may take there.";
        let family = encoder.encode_descriptor("answers_spool_limit_bytes", help, None, kind)?;
        limit.encode(family)?;
        let all = self.0.all_counts();
        if all.is_empty() {
            return Ok(());
        }
        for (name, help, place) in COUNTERS {
            encode(&mut encoder, name, help, &all, |counts| {
                ConstCounter::new(place(counts).load(Ordering::Relaxed))
            })?;
        }
        let help = "Work that was not done again, going by what the same command took before";
        encode(&mut encoder, "saved_seconds", help, &all, |counts| {
            ConstCounter::new(counts.saved().as_secs_f64())
        })
    }
}

fn encode<N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[(&'static str, Arc<Counts>)],
    counter: impl Fn(&Counts) -> ConstCounter<N>,
) -> fmt::Result
where
    ConstCounter<N>: prometheus_client::encoding::EncodeMetric,
{
    let kind = prometheus_client::metrics::MetricType::Counter;
    let name = format!("answers_{name}");
    let mut family = encoder.encode_descriptor(&name, &format!("{help}."), None, kind)?;
    for (command, counts) in all {
        let labels = [("command", *command)];
        counter(counts).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
