//! Answers in their encoded form, which are made once and sent to many.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fingerpost_core::{
    Answering, CacheKey, Content, Dispatch, EntryName, EntryNames, Failure, Flight, More, Objects,
    Progress,
};
use fingerpost_hg_proto::{Compressor, ContentEncoding, EncodingError};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

/// Remembers answers, in the form in which they were sent.
#[derive(Clone)]
pub struct AnswerCache {
    /// Finds answers and has them made.
    pub dispatch: Arc<Dispatch>,
    /// Gives them their names.
    pub names: EntryNames,
}

impl AnswerCache {
    /// Puts what is counted on a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Counted(Arc::clone(&self.dispatch))));
    }
}

/// The counts of a dispatch, as they are when they are asked for.
#[derive(Debug)]
struct Counted(Arc<Dispatch>);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.counts();
        let all = [
            ("hits", "Answers found in a store", &counts.hits),
            ("misses", "Answers that had to be made", &counts.misses),
            (
                "coalesced",
                "Answers that another request was making",
                &counts.coalesced,
            ),
            (
                "look_ups_failed",
                "Answers that no store could be asked for",
                &counts.look_ups_failed,
            ),
            ("stored", "Answers put into a store", &counts.stored),
            (
                "stores_failed",
                "Answers that were made and could not be stored",
                &counts.stores_failed,
            ),
        ];
        for (name, help, count) in all {
            let metric = ConstCounter::new(count.load(Ordering::Relaxed));
            let name = format!("answers_{name}");
            metric.encode(encoder.encode_descriptor(&name, help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

/// An answer that is being sent from a store or from where it is made.
pub(crate) struct Sharing {
    dispatch: Arc<Dispatch>,
    name: EntryName,
    answering: Answering,
    offset: u64,
}

/// What a step of sending came to.
pub(crate) enum Step {
    /// There may be more bytes, and there is more to come.
    More,
    /// Somebody else makes them.
    Wait,
    /// That was all.
    End,
}

impl Sharing {
    /// Finds an answer, or takes part in making it. Blocks while stores are asked.
    pub(crate) fn begin(
        cache: &AnswerCache,
        key: &CacheKey,
        objects: Box<dyn Objects>,
        (encoding, level): (ContentEncoding, i32),
        runtime: &Handle,
    ) -> Result<Self, Failure> {
        // What compressed at another level is the same answer.
        let name = cache.names.name(key, encoding.name());
        let maker = EncodedObjects::new(objects, encoding, level).map_err(Failure::internal)?;
        let answering = runtime.block_on(cache.dispatch.begin(&name, Box::new(maker)));
        Ok(Self {
            dispatch: Arc::clone(&cache.dispatch),
            name,
            answering,
            offset: 0,
        })
    }

    /// Appends the next bytes to `out`. Blocks while they are read or made.
    pub(crate) fn step(&mut self, out: &mut Vec<u8>, runtime: &Handle) -> Result<Step, Failure> {
        let before = out.len();
        let step = match &self.answering {
            Answering::Stored(content) => {
                let reading = content.read(self.offset, STEP_BYTES);
                let bytes = runtime.block_on(reading).map_err(Failure::internal)?;
                out.extend_from_slice(&bytes);
                match self.offset + bytes.len() as u64 >= content.len() {
                    true => Step::End,
                    false => Step::More,
                }
            }
            Answering::Flying(flight) => match flight.read(self.offset, STEP_BYTES, out)? {
                Progress::Some => Step::More,
                Progress::Wait => Step::Wait,
                Progress::End => Step::End,
                Progress::Made(content) => {
                    self.keep(flight, content, runtime);
                    Step::End
                }
            },
        };
        self.offset += (out.len() - before) as u64;
        Ok(step)
    }

    /// Puts what was made into the store, and does not wait for that.
    fn keep(&self, flight: &Arc<Flight>, content: Arc<dyn Content>, runtime: &Handle) {
        let (dispatch, flight) = (Arc::clone(&self.dispatch), Arc::clone(flight));
        let name = self.name;
        runtime.spawn(async move { dispatch.keep(&name, &flight, content).await });
    }

    /// Waits until there are more bytes than were read, after [`Step::Wait`].
    pub(crate) fn more(&self) -> impl Future<Output = ()> + Send + 'static {
        let flight = match &self.answering {
            Answering::Flying(flight) => Some(Arc::clone(flight)),
            Answering::Stored(_) => None,
        };
        let offset = self.offset;
        async move {
            if let Some(flight) = flight {
                flight.changed(offset).await;
            }
        }
    }
}

/// How much is taken from a store at a time.
const STEP_BYTES: usize = 256 << 10;

/// Objects as a whole encoded stream.
struct EncodedObjects {
    objects: Box<dyn Objects>,
    /// Gone at the end.
    compressor: Option<Compressor>,
    raw: Vec<u8>,
    flushed: bool,
}

impl EncodedObjects {
    fn new(
        objects: Box<dyn Objects>,
        encoding: ContentEncoding,
        level: i32,
    ) -> Result<Self, EncodingError> {
        Ok(Self {
            objects,
            compressor: Some(Compressor::new(encoding, level)?),
            raw: Vec::new(),
            flushed: false,
        })
    }
}

impl Objects for EncodedObjects {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        self.raw.clear();
        let more = self.objects.append(&mut self.raw)?;
        let Some(compressor) = &mut self.compressor else {
            return Err(Failure::internal("the answer has ended"));
        };
        compressor
            .compress(&self.raw, out)
            .map_err(Failure::internal)?;
        if more == More::No {
            if let Some(compressor) = self.compressor.take() {
                compressor.finish(out).map_err(Failure::internal)?;
            }
        } else if !self.flushed && !self.raw.is_empty() {
            // The first objects leave at once, however much is to come.
            compressor.flush(out).map_err(Failure::internal)?;
            self.flushed = true;
        }
        Ok(more)
    }
}
