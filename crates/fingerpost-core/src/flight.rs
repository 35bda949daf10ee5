//! One answer that is made once for everybody who asks for it meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::spool::{Source, Spool};
use crate::{Content, Failure, More, Objects, SpoolOptions};

/// An answer that is being made. Nobody leads: whoever is the first to want
/// bytes that are not there yet makes the next of them, so that the answer is
/// made as fast as the fastest reader takes it, and goes on whoever leaves. When
/// nobody is left it is dropped with everything that was made.
///
/// Everything here blocks as [`Objects::append`] does.
pub struct Flight {
    state: Mutex<State>,
    /// Whether nothing more comes of it. Not in the state, which is locked while
    /// bytes are written.
    failed: AtomicBool,
    /// Since when a store has the whole answer.
    stored: OnceLock<Instant>,
}

struct State {
    spool: Spool,
    /// What makes the rest; away while somebody makes some of it.
    maker: Option<Box<dyn Objects>>,
    end: Option<End>,
    /// How long making it took so far.
    made_in: Duration,
    /// Who waits for the next bytes.
    waiting: Vec<Waker>,
}

impl State {
    /// Takes in what was just made.
    fn take(&mut self, bytes: &[u8], more: More, maker: Box<dyn Objects>) -> Progress {
        if let Err(error) = self.spool.write(bytes) {
            self.end = Some(End::Failed(error.to_string()));
            return match more {
                More::Yes => Progress::Alone(maker),
                More::No => Progress::End,
            };
        }
        match more {
            More::Yes => {
                self.maker = Some(maker);
                Progress::Some
            }
            More::No => {
                self.end = Some(End::Whole);
                Progress::Made(self.spool.content())
            }
        }
    }
}

enum End {
    Whole,
    Failed(String),
}

/// What a reader found.
pub enum Progress {
    /// More bytes were appended.
    Some,
    /// Somebody else is making them: [`Flight::changed`] says when to come back.
    Wait,
    /// There are no more.
    End,
    /// This reader made the last bytes, and there are no more: it has the whole
    /// answer stored.
    Made(Arc<dyn Content>),
    /// More bytes were appended, and cannot be held for the others: the answer is
    /// too long for that, or its file cannot be written. The rest is for this
    /// reader alone to make.
    Alone(Box<dyn Objects>),
    /// Nothing more comes of it, because of what happened to another reader or to
    /// the spool: the reason.
    Failed(String),
}

impl Flight {
    /// An answer that `maker` makes.
    pub fn new(maker: Box<dyn Objects>, options: SpoolOptions) -> Self {
        let state = State {
            spool: Spool::new(options),
            maker: Some(maker),
            end: None,
            made_in: Duration::ZERO,
            waiting: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            failed: AtomicBool::new(false),
            stored: OnceLock::new(),
        }
    }

    /// Notes that a store has the whole answer.
    pub(crate) fn note_stored(&self) {
        _ = self.stored.set(Instant::now());
    }

    /// Whether a store has had the whole answer for so long: who is still behind
    /// should take it from there, so that what the flight holds can be given up.
    pub fn is_stored_for(&self, long: Duration) -> bool {
        let since = self.stored.get();
        since.is_some_and(|since| since.elapsed() >= long)
    }

    /// Whether it failed: nothing more comes of it.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Appends the bytes from `offset` on, at most `max` of them if they are there
    /// already; if there are none, it makes a piece, of which nothing may come yet.
    ///
    /// # Errors
    ///
    /// Why it cannot be made, for the reader that tried.
    pub fn read(&self, offset: u64, max: usize, out: &mut Vec<u8>) -> Result<Progress, Failure> {
        let mut state = self.state.lock();
        if offset < state.spool.len() {
            let (file, len) = match state.spool.source() {
                Source::Memory(bytes) => {
                    let start = usize::try_from(offset)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    let end = start.saturating_add(max).min(bytes.len());
                    out.extend_from_slice(&bytes[start..end]);
                    return Ok(Progress::Some);
                }
                Source::File(file, len) => (file, len),
            };
            drop(state);
            return Ok(match file.read(len, offset, max) {
                Ok(bytes) => {
                    out.extend_from_slice(&bytes);
                    Progress::Some
                }
                // The answer itself is fine.
                Err(error) => Progress::Failed(error.to_string()),
            });
        }
        let maker = state.maker.take();
        match (&state.end, maker) {
            (Some(End::Whole), _) => Ok(Progress::End),
            (Some(End::Failed(why)), _) => Ok(Progress::Failed(why.clone())),
            (None, None) => Ok(Progress::Wait),
            (None, Some(maker)) => {
                drop(state);
                self.make(maker, out)
            }
        }
    }

    /// Makes the next bytes and appends them to the spool and to `out`, whose
    /// reader is at the end.
    fn make(&self, mut maker: Box<dyn Objects>, out: &mut Vec<u8>) -> Result<Progress, Failure> {
        let panics = Panics(self);
        let mut bytes = Vec::new();
        let began = Instant::now();
        let outcome = maker.append(&mut bytes);
        std::mem::forget(panics);
        let mut state = self.state.lock();
        state.made_in += began.elapsed();
        let progress = match outcome {
            Err(failure) => {
                state.end = Some(End::Failed(failure.to_string()));
                Err(failure)
            }
            Ok(more) => Ok(state.take(&bytes, more, maker)),
        };
        self.note_failure(&state);
        wake(state);
        if progress.is_ok() {
            out.append(&mut bytes);
        }
        progress
    }

    fn note_failure(&self, state: &State) {
        let failed = matches!(state.end, Some(End::Failed(_)));
        self.failed.store(failed, Ordering::Release);
    }

    /// Waits until there is more, or an end.
    pub async fn changed(&self, offset: u64) {
        std::future::poll_fn(|context| {
            let mut state = self.state.lock();
            if offset < state.spool.len() || state.end.is_some() || state.maker.is_some() {
                return Poll::Ready(());
            }
            let is_known = |waker: &Waker| waker.will_wake(context.waker());
            if !state.waiting.iter().any(is_known) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// How long making it took so far.
    pub fn made_in(&self) -> Duration {
        self.state.lock().made_in
    }
}

/// Wakes whoever waits, after the lock is given back.
fn wake(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    waiting.into_iter().for_each(Waker::wake);
}

/// Ends the flight if making the next bytes panics, so that nobody waits on.
struct Panics<'a>(&'a Flight);

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        let why = "making the answer panicked".to_owned();
        let mut state = self.0.state.lock();
        state.end = Some(End::Failed(why));
        self.0.note_failure(&state);
        wake(state);
    }
}

#[cfg(test)]
mod tests;
