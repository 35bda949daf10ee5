//! Answers in their encoded form, which are made once and sent to many.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fingerpost_core::{
    Answering, CacheKey, Content, Dispatch, EntryName, EntryNames, Failure, Flight, More, Objects,
    Progress,
};
use fingerpost_hg_proto::{Compressor, ContentEncoding};
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
    key: CacheKey,
    name: EntryName,
    encoding: (ContentEncoding, i32),
    from: From,
    offset: u64,
    /// The last bytes that were sent.
    tail: Vec<u8>,
}

/// Where the bytes of an answer come from.
enum From {
    Stored(Arc<dyn Content>),
    Flying(Arc<Flight>),
    /// Made for one reader.
    Alone(Box<dyn Objects>),
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

/// Why there are no more bytes.
pub(crate) enum Broken {
    /// A store failed, or another reader: the answer can still be made.
    Lost(Failure),
    /// It cannot be made.
    Unmade(Failure),
}

impl Broken {
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Lost(failure) | Self::Unmade(failure) => failure,
        }
    }
}

impl Sharing {
    /// Finds an answer, or takes part in making it. Blocks while stores are asked.
    pub(crate) fn begin(
        cache: &AnswerCache,
        key: CacheKey,
        objects: Box<dyn Objects>,
        encoding: (ContentEncoding, i32),
        runtime: &Handle,
    ) -> Result<Self, Failure> {
        // What compressed at another level is the same answer.
        let name = cache.names.name(&key, encoding.0.name());
        let maker = EncodedObjects::new(objects, encoding)?;
        let answering = runtime.block_on(cache.dispatch.begin(&name, Box::new(maker)));
        Ok(Self {
            dispatch: Arc::clone(&cache.dispatch),
            key,
            name,
            encoding,
            from: match answering {
                Answering::Stored(content) => From::Stored(content),
                Answering::Flying(flight) => From::Flying(flight),
            },
            offset: 0,
            tail: Vec::new(),
        })
    }

    /// Goes on with an answer of which a part was sent, by making it again: with
    /// `objects` that were called by `key`.
    pub(crate) fn go_on_alone(
        &mut self,
        objects: Box<dyn Objects>,
        key: Option<&CacheKey>,
    ) -> Result<(), Failure> {
        if key != Some(&self.key) {
            return Err(Failure::internal("it is another answer by now"));
        }
        let maker = EncodedObjects::new(objects, self.encoding)?;
        let tail = std::mem::take(&mut self.tail);
        let rest = Rest::new(Box::new(maker), self.offset, tail);
        self.from = From::Alone(Box::new(rest));
        Ok(())
    }

    /// Appends the next bytes to `out`. Blocks while they are read or made.
    pub(crate) fn step(&mut self, out: &mut Vec<u8>, runtime: &Handle) -> Result<Step, Broken> {
        let before = out.len();
        let step = self.take(out, runtime)?;
        let taken = &out[before..];
        self.offset += taken.len() as u64;
        if taken.len() >= TAIL_BYTES {
            self.tail.clear();
        }
        self.tail
            .extend_from_slice(&taken[taken.len().saturating_sub(TAIL_BYTES)..]);
        Ok(step)
    }

    fn take(&mut self, out: &mut Vec<u8>, runtime: &Handle) -> Result<Step, Broken> {
        let (step, from) = match &mut self.from {
            From::Alone(maker) => match maker.append(out).map_err(Broken::Unmade)? {
                More::Yes => return Ok(Step::More),
                More::No => return Ok(Step::End),
            },
            From::Stored(content) => return take_stored(&**content, self.offset, out, runtime),
            From::Flying(flight) => {
                let read = flight.read(self.offset, STEP_BYTES, out);
                match read.map_err(Broken::Unmade)? {
                    Progress::Some => return Ok(Step::More),
                    Progress::Wait => return Ok(Step::Wait),
                    Progress::End => return Ok(Step::End),
                    Progress::Failed(why) => return Err(Broken::Lost(Failure::internal(why))),
                    Progress::Made(content) => {
                        let flight = Arc::clone(flight);
                        self.keep(flight, content, runtime);
                        return Ok(Step::End);
                    }
                    Progress::Alone(maker) => (Step::More, From::Alone(maker)),
                }
            }
        };
        self.from = from;
        Ok(step)
    }

    /// Puts what was made into the store, and does not wait for that.
    fn keep(&self, flight: Arc<Flight>, content: Arc<dyn Content>, runtime: &Handle) {
        let (dispatch, name) = (Arc::clone(&self.dispatch), self.name);
        runtime.spawn(async move { dispatch.keep(&name, &flight, content).await });
    }

    /// Waits until there are more bytes than were read, after [`Step::Wait`].
    pub(crate) fn more(&self) -> impl Future<Output = ()> + Send + 'static {
        let flight = match &self.from {
            From::Flying(flight) => Some(Arc::clone(flight)),
            From::Stored(_) | From::Alone(_) => None,
        };
        let offset = self.offset;
        async move {
            if let Some(flight) = flight {
                flight.changed(offset).await;
            }
        }
    }
}

/// Appends the next bytes of an entry. Blocks while they are read.
fn take_stored(
    content: &dyn Content,
    offset: u64,
    out: &mut Vec<u8>,
    runtime: &Handle,
) -> Result<Step, Broken> {
    let reading = content.read(offset, STEP_BYTES);
    let lost = |error| Broken::Lost(Failure::internal(error));
    let bytes = runtime.block_on(reading).map_err(lost)?;
    if bytes.is_empty() && offset < content.len() {
        return Err(Broken::Lost(Failure::internal("the entry ends too early")));
    }
    out.extend_from_slice(&bytes);
    match offset + bytes.len() as u64 >= content.len() {
        true => Ok(Step::End),
        false => Ok(Step::More),
    }
}

/// How much is taken from a store at a time.
const STEP_BYTES: usize = 256 << 10;

/// How much of the end of what was sent is compared with what is made again: two
/// streams that agree in so many encoded bytes at one place are the same.
const TAIL_BYTES: usize = 4096;

/// What follows the first bytes of an answer that is made again from its
/// beginning: everything that encodes gives the same bytes for the same objects.
struct Rest {
    whole: Box<dyn Objects>,
    made: u64,
    /// So many bytes were sent before.
    sent: u64,
    /// The last of them.
    tail: Vec<u8>,
}

impl Rest {
    fn new(whole: Box<dyn Objects>, sent: u64, tail: Vec<u8>) -> Self {
        Self {
            whole,
            made: 0,
            sent,
            tail,
        }
    }

    /// Whether these bytes, made at `self.made`, are those that were sent, as far
    /// as that is known.
    fn agrees(&self, bytes: &[u8]) -> bool {
        let tail_at = self.sent - self.tail.len() as u64;
        let end = (self.made + bytes.len() as u64).min(self.sent);
        let begin = self.made.max(tail_at);
        if begin >= end {
            return true;
        }
        let len = (end - begin) as usize;
        let made = (begin - self.made) as usize;
        let sent = (begin - tail_at) as usize;
        bytes[made..made + len] == self.tail[sent..sent + len]
    }
}

impl Objects for Rest {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        let before = out.len();
        let more = self.whole.append(out)?;
        let bytes = &out[before..];
        let (left, len) = (self.sent.saturating_sub(self.made), bytes.len() as u64);
        if left > 0 {
            if !self.agrees(bytes) || (more == More::No && len < left) {
                return Err(Failure::internal("made again, it is another answer"));
            }
            out.drain(before..before + left.min(len) as usize);
        }
        self.made += len;
        Ok(more)
    }
}

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
        (encoding, level): (ContentEncoding, i32),
    ) -> Result<Self, Failure> {
        let compressor = Compressor::new(encoding, level).map_err(Failure::internal)?;
        Ok(Self {
            objects,
            compressor: Some(compressor),
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
