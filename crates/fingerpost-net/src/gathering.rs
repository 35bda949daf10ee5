//! What the stream of an HTTP connection and its task tell each other; above all,
//! sending the answers to pipelined requests together.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use crate::framing::Framing;

/// Whether the answers of an HTTP connection are held back for a moment. Shared by
/// its stream and its task.
///
/// The HTTP library sends each answer by itself, which for pipelined requests is
/// most of what the kernel does. So when several requests came in one read, the
/// stream keeps what it is given to write as long as the connection is worked on,
/// and sends it before the task waits for anything: nobody waits for an answer that
/// is there. Its own `pipeline_flush` is no way: with hyper 1.12 answers are kept
/// back, or lost, while bytes of a next request are unread, and those to a peer that
/// does not read grow without bound.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// Several requests came at once.
    several: AtomicBool,
    /// The connection is worked on.
    working: AtomicBool,
    /// Something is held back.
    held: AtomicBool,
    /// Another protocol has the stream now.
    over: AtomicBool,
    /// Something was read and nothing written since.
    unanswered: AtomicBool,
    /// The head of a request says twice how long its body is.
    doubtful: AtomicBool,
}

// Only the task of the connection writes, or whoever has the stream after it: the
// order of other memory does not depend on these.
const RELAXED: Ordering = Ordering::Relaxed;

impl Gathering {
    /// Works on `connection` until it waits, then sends what was held back.
    pub(crate) fn poll<F: Future>(
        &self,
        mut connection: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        self.working.store(true, RELAXED);
        let outcome = connection.as_mut().poll(cx);
        self.working.store(false, RELAXED);
        if outcome.is_pending() && self.held.load(RELAXED) {
            // It flushes each time.
            return connection.poll(cx);
        }
        outcome
    }

    /// Holds nothing back any more: who takes over the stream works on it elsewhere.
    pub(crate) fn end(&self) {
        self.over.store(true, RELAXED);
    }

    /// Looks at what was read, of which `framing` keeps the end.
    pub(crate) fn arrived(&self, bytes: &[u8], framing: &mut Framing) {
        if bytes.is_empty() || self.over.load(RELAXED) {
            return;
        }
        self.unanswered.store(true, RELAXED);
        if framing.is_doubtful(bytes) {
            self.doubtful.store(true, RELAXED);
        }
        let mut heads = memchr::memmem::find_iter(bytes, b"\r\n\r\n");
        self.several.store(heads.nth(1).is_some(), RELAXED);
    }

    /// Something is written.
    pub(crate) fn answers(&self) {
        self.unanswered.store(false, RELAXED);
    }

    /// Whether the peer has begun to say what was not answered.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered.load(RELAXED)
    }

    /// Whether there was a head that says twice how long its body is.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful.load(RELAXED)
    }

    /// Whether what is written now should be held back.
    pub(crate) fn holds(&self) -> bool {
        self.several.load(RELAXED) && self.working.load(RELAXED) && !self.over.load(RELAXED)
    }

    /// The stream holds something, or nothing any more.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, RELAXED);
    }
}
