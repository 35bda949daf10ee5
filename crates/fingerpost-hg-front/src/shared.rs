//! An answer in its encoded form, on its way to one of many who get it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fingerpost_core::{
    Answering, CacheKey, Content, Counts, Dispatch, EntryName, Failure, Flight, More, Objects,
    Progress,
};
use fingerpost_hg_proto::ContentEncoding;
use tokio::runtime::Handle;

use crate::answers::AnswerCache;
use crate::body::WHOLE_BYTES_MAX;
use crate::encoded::EncodedObjects;
use crate::sent::Sent;

/// An answer that is being sent from a store or from where it is made.
pub(crate) struct Sharing {
    dispatch: Arc<Dispatch>,
    counts: Arc<Counts>,
    key: CacheKey,
    name: EntryName,
    encoding: (ContentEncoding, i32),
    from: From,
    /// How far that was read.
    offset: u64,
    /// Bytes of an entry that were read ahead of that.
    ahead: Bytes,
    sent: Sent,
    /// Whether it was tried to go on from the store instead of a flight.
    has_asked_store: bool,
}

/// Where the bytes of an answer come from.
enum From {
    Stored(Arc<dyn Content>),
    Flying(Arc<Flight>),
    /// Made for one reader.
    Alone(Box<dyn Objects>),
}

/// An answer that a store has.
pub(crate) struct Stored<'a> {
    pub(crate) name: EntryName,
    pub(crate) encoding: ContentEncoding,
    pub(crate) content: &'a Arc<dyn Content>,
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

impl std::convert::From<More> for Step {
    fn from(more: More) -> Self {
        match more {
            More::Yes => Self::More,
            More::No => Self::End,
        }
    }
}

/// What a step gave.
pub(crate) struct Taken {
    pub(crate) step: Step,
    /// Bytes of an entry as they are in memory, which are not copied more often
    /// than they must be.
    pub(crate) bytes: Option<Bytes>,
}

impl<S: Into<Step>> std::convert::From<S> for Taken {
    fn from(step: S) -> Self {
        let step = step.into();
        Self { step, bytes: None }
    }
}

/// Why there are no more bytes.
pub(crate) enum Broken {
    /// A store failed, or another reader: the answer can still be made.
    Lost(Failure),
    /// It cannot be made.
    Unmade(Failure),
}

impl Sharing {
    /// Sends an answer that was `found`, or takes part in making it.
    pub(crate) fn begin(
        cache: &AnswerCache,
        counts: &Arc<Counts>,
        key: CacheKey,
        objects: Box<dyn Objects>,
        encoding: (ContentEncoding, i32),
        found: Option<Answering>,
    ) -> Result<Self, Failure> {
        let name = cache.name(&key, encoding);
        if let Some(found) = &found {
            found.count(counts);
        }
        let from = match found {
            Some(Answering::Stored(content)) => From::Stored(content),
            Some(Answering::Flying(flight)) => From::Flying(flight),
            None => {
                let maker = Box::new(EncodedObjects::new(objects, encoding)?);
                From::Flying(cache.dispatch.begin_anew(counts, &name, maker))
            }
        };
        Ok(Self {
            dispatch: Arc::clone(&cache.dispatch),
            counts: Arc::clone(counts),
            key,
            name,
            encoding,
            from,
            offset: 0,
            ahead: Bytes::new(),
            sent: Sent::default(),
            has_asked_store: false,
        })
    }

    /// The entry that is being sent, if it is one.
    pub(crate) fn stored(&self) -> Option<Stored<'_>> {
        match &self.from {
            From::Stored(content) => Some(Stored {
                name: self.name,
                encoding: self.encoding.0,
                content,
            }),
            From::Flying(_) | From::Alone(_) => None,
        }
    }

    /// Goes on by making the answer again, though a part of it may be sent already,
    /// with `objects` that were called by `key`: together with everybody who makes
    /// it meanwhile, or `alone`.
    pub(crate) fn make_again(
        &mut self,
        objects: Box<dyn Objects>,
        key: Option<&CacheKey>,
        alone: bool,
    ) -> Result<(), Failure> {
        if key != Some(&self.key) {
            return Err(Failure::internal("it is another answer by now"));
        }
        let maker = Box::new(EncodedObjects::new(objects, self.encoding)?);
        self.from = match alone {
            true => From::Alone(maker),
            false => {
                let flight = self.dispatch.begin_anew(&self.counts, &self.name, maker);
                From::Flying(flight)
            }
        };
        self.offset = 0;
        self.ahead = Bytes::new();
        Ok(())
    }

    /// The next bytes: an entry's own, or appended to `made`. Blocks while they are
    /// read or made.
    pub(crate) fn step(&mut self, made: &mut Vec<u8>, runtime: &Handle) -> Result<Taken, Broken> {
        let start = made.len();
        let mut taken = self.take(made, runtime)?;
        let bytes = match &taken.bytes {
            Some(bytes) => bytes,
            None => &made[start..],
        };
        let is_last = matches!(taken.step, Step::End);
        let before = self.sent.before(self.offset, bytes, is_last);
        let before = before.map_err(Broken::Unmade)?;
        self.offset += bytes.len() as u64;
        self.sent.add(&bytes[before..]);
        self.counts.count_inline((bytes.len() - before) as u64);
        match &mut taken.bytes {
            Some(bytes) => drop(bytes.split_to(before)),
            None => drop(made.drain(start..start + before)),
        }
        Ok(taken)
    }

    /// Goes on from the store if it has had the answer for a while: a slow client
    /// shall not hold what others were made of.
    fn leave_flight(&mut self, runtime: &Handle) {
        if let From::Flying(flight) = &self.from
            && !self.has_asked_store
            && flight.is_stored_for(FLIGHT_KEPT)
        {
            self.has_asked_store = true;
            if let Some(content) = runtime.block_on(self.dispatch.look_up(&self.name)) {
                self.from = From::Stored(content);
            }
        }
    }

    fn take(&mut self, made: &mut Vec<u8>, runtime: &Handle) -> Result<Taken, Broken> {
        self.leave_flight(runtime);
        let (step, from) = match &mut self.from {
            From::Alone(maker) => {
                let more = maker.append(made).map_err(Broken::Unmade)?;
                return Ok(more.into());
            }
            From::Stored(content) => {
                return take_stored(&**content, self.offset, &mut self.ahead, runtime);
            }
            From::Flying(flight) => {
                let read = flight.read(self.offset, STEP_BYTES, made);
                match read.map_err(Broken::Unmade)? {
                    Progress::Some => return Ok(Step::More.into()),
                    Progress::Wait => return Ok(Step::Wait.into()),
                    Progress::End => return Ok(Step::End.into()),
                    Progress::Failed(why) => return Err(Broken::Lost(Failure::internal(why))),
                    Progress::Made(content) => {
                        let flight = Arc::clone(flight);
                        self.keep(flight, content, runtime);
                        return Ok(Step::End.into());
                    }
                    Progress::Alone(maker) => (Step::More, From::Alone(maker)),
                }
            }
        };
        self.from = from;
        Ok(step.into())
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

/// The next bytes of an entry, out of those that were read `ahead`. Blocks while
/// more are read.
fn take_stored(
    content: &dyn Content,
    offset: u64,
    ahead: &mut Bytes,
    runtime: &Handle,
) -> Result<Taken, Broken> {
    if ahead.is_empty() {
        let reading = content.read(offset, AHEAD_BYTES);
        let lost = |error| Broken::Lost(Failure::internal(error));
        *ahead = runtime.block_on(reading).map_err(lost)?;
    }
    let bytes = ahead.split_to(ahead.len().min(STEP_BYTES));
    if bytes.is_empty() && offset < content.len() {
        return Err(Broken::Lost(Failure::internal("the entry ends too early")));
    }
    let step = match offset + bytes.len() as u64 >= content.len() {
        true => Step::End,
        false => Step::More,
    };
    Ok(Taken {
        step,
        bytes: Some(bytes),
    })
}

/// How long what was made is kept for those behind once it is stored. Tests do not
/// wait.
const FLIGHT_KEPT: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 10 });
/// How much is read of an entry at a time. Stores on disk check blocks of 64 KiB.
const AHEAD_BYTES: usize = 1 << 20;
/// How much is sent at a time: with the frames around it, it is one piece of a body.
const STEP_BYTES: usize = 256 << 10;
const _: () = assert!(STEP_BYTES + STEP_BYTES / 1024 < WHOLE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use fingerpost_core::testing::Shelf;
    use fingerpost_core::{Cacher as _, CacherError, DispatchOptions, EntryNames, KeyHasher};
    use futures_util::future::BoxFuture;

    use super::*;

    const ANSWER_BYTES: usize = 3 * STEP_BYTES;

    struct Once;

    impl Objects for Once {
        fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
            out.extend((0..ANSWER_BYTES).map(|at| (at % 251) as u8));
            Ok(More::No)
        }
    }

    fn begin(cache: &AnswerCache, runtime: &Handle) -> Sharing {
        let counts = cache.dispatch.counts("test");
        let (key, how) = (
            KeyHasher::new("test", 1).finish(),
            (ContentEncoding::Identity, 0),
        );
        let name = cache.name(&key, how);
        let found = runtime.block_on(cache.dispatch.find(&counts, &name));
        Sharing::begin(cache, &counts, key, Box::new(Once), how, found).unwrap()
    }

    fn step(sharing: &mut Sharing, sent: &mut Vec<u8>, runtime: &Handle) -> bool {
        let mut made = Vec::new();
        let Ok(taken) = sharing.step(&mut made, runtime) else {
            panic!("nothing is lost")
        };
        sent.extend(taken.bytes.as_deref().unwrap_or(&made));
        matches!(taken.step, Step::End)
    }

    /// Gives its first bytes and then fails.
    struct Breaking;

    impl Content for Breaking {
        fn len(&self) -> u64 {
            ANSWER_BYTES as u64
        }

        fn read(&self, offset: u64, _: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
            Box::pin(async move {
                match offset {
                    0 => Ok((0..STEP_BYTES).map(|at| (at % 251) as u8).collect()),
                    _ => Err(CacherError::Suspended),
                }
            })
        }
    }

    #[test]
    fn those_who_lost_an_answer_make_it_once_for_all() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let handle = runtime.handle();
        let shelf = Arc::new(Shelf::default());
        let dispatch = Dispatch::new(Arc::clone(&shelf) as Arc<_>, DispatchOptions::default());
        let cache = AnswerCache::new(Arc::new(dispatch), EntryNames::new(b"secret"));
        let name = begin(&cache, handle).name;
        handle
            .block_on(shelf.store(&name, Arc::new(Breaking)))
            .unwrap();
        let counts = cache.dispatch.counts("test");
        let before = counts.misses.load(Ordering::Relaxed);
        let mut lost: Vec<_> = (0..16)
            .map(|_| {
                let (mut sharing, mut sent) = (begin(&cache, handle), Vec::new());
                assert!(!step(&mut sharing, &mut sent, handle));
                assert!(matches!(
                    sharing.step(&mut Vec::new(), handle),
                    Err(Broken::Lost(_))
                ));
                (sharing, sent)
            })
            .collect();
        for (sharing, _) in &mut lost {
            let key = sharing.key;
            sharing
                .make_again(Box::new(Once), Some(&key), false)
                .unwrap();
        }
        for (sharing, sent) in &mut lost {
            while !step(sharing, sent, handle) {}
            assert_eq!(sent.len(), ANSWER_BYTES);
            assert!(
                sent.iter()
                    .enumerate()
                    .all(|(at, byte)| *byte == (at % 251) as u8)
            );
        }
        assert_eq!(counts.misses.load(Ordering::Relaxed) - before, 1);
        assert_eq!(counts.coalesced.load(Ordering::Relaxed), 15);
    }

    #[test]
    fn who_is_behind_goes_on_from_the_store() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let handle = runtime.handle();
        let shelf = Arc::new(Shelf::default());
        let dispatch = Dispatch::new(Arc::clone(&shelf) as Arc<_>, DispatchOptions::default());
        let cache = AnswerCache::new(Arc::new(dispatch), EntryNames::new(b"secret"));
        let (mut fast, mut slow) = (begin(&cache, handle), begin(&cache, handle));
        let (mut all, mut behind) = (Vec::new(), Vec::new());
        while !step(&mut fast, &mut all, handle) {}
        assert_eq!(all.len(), ANSWER_BYTES);
        // Out of the flight, whether the store has it by now or not.
        slow.has_asked_store = true;
        assert!(!step(&mut slow, &mut behind, handle));
        assert!(slow.stored().is_none());
        slow.has_asked_store = false;
        for _ in 0..1000 {
            if !shelf.names().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        while !step(&mut slow, &mut behind, handle) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(slow.stored().is_some(), "it went on from the store");
        assert!(behind == all);
    }
}
