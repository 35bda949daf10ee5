//! An answer in its encoded form, on its way to one of many who get it.

use std::sync::Arc;

use fingerpost_core::{
    Answering, CacheKey, Content, Counts, Dispatch, EntryName, Failure, Flight, More, Objects,
    Progress,
};
use fingerpost_hg_proto::ContentEncoding;
use tokio::runtime::Handle;

use crate::answers::AnswerCache;
use crate::encoded::{EncodedObjects, Rest, TAIL_BYTES};

/// An answer that is being sent from a store or from where it is made.
pub(crate) struct Sharing {
    dispatch: Arc<Dispatch>,
    counts: Arc<Counts>,
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
        counts: &Arc<Counts>,
        key: CacheKey,
        objects: Box<dyn Objects>,
        encoding: (ContentEncoding, i32),
        runtime: &Handle,
    ) -> Result<Self, Failure> {
        // What compressed at another level is the same answer.
        let name = cache.names.name(&key, encoding.0.name());
        let maker = EncodedObjects::new(objects, encoding)?;
        let beginning = cache.dispatch.begin(counts, &name, Box::new(maker));
        let answering = runtime.block_on(beginning);
        Ok(Self {
            dispatch: Arc::clone(&cache.dispatch),
            counts: Arc::clone(counts),
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

    /// The entry that is being sent, if it is one.
    pub(crate) fn stored(&self) -> Option<&Arc<dyn Content>> {
        match &self.from {
            From::Stored(content) => Some(content),
            From::Flying(_) | From::Alone(_) => None,
        }
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
        self.counts.count_inline(taken.len() as u64);
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
        let (dispatch, counts) = (Arc::clone(&self.dispatch), Arc::clone(&self.counts));
        let name = self.name;
        runtime.spawn(async move { dispatch.keep(&counts, &name, &flight, content).await });
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
