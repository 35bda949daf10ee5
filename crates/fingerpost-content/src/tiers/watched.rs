//! Telling a long store from one that hangs.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fingerpost_core::{CacherError, Content};
use futures_util::future::BoxFuture;
use tokio::time::timeout;

/// A content that knows how far it was read.
pub(super) struct Watched {
    content: Arc<dyn Content>,
    reads: AtomicU64,
    waiting: AtomicU64,
    failed: AtomicBool,
}

impl Watched {
    pub(super) fn new(content: Arc<dyn Content>) -> Self {
        Self {
            content,
            reads: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        }
    }

    /// Whether the content itself gave an error.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// What `storing` of this content comes to, or [`CacherError::TimedOut`]
    /// when it neither ended nor read on for `deadline`: an entry of 2 GiB may
    /// take its time.
    pub(super) async fn unless_it_stalls(
        &self,
        deadline: Duration,
        storing: impl Future<Output = Result<(), CacherError>>,
    ) -> Result<(), CacherError> {
        let mut storing = pin!(storing);
        let mut seen = 0;
        loop {
            if let Ok(stored) = timeout(deadline, storing.as_mut()).await {
                return stored;
            }
            let reads = self.reads.load(Ordering::Relaxed);
            let waits_for_us = self.waiting.load(Ordering::Relaxed) > 0;
            if reads == seen && !waits_for_us {
                return Err(CacherError::TimedOut(deadline));
            }
            seen = reads;
        }
    }

    async fn read_watched(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let _waiting = Waiting::new(&self.waiting);
        let result = self.content.read(offset, max).await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Content for Watched {
    fn len(&self) -> u64 {
        self.content.len()
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(self.read_watched(offset, max))
    }
}

/// Counted while a read goes on, however it ends.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
