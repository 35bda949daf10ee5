//! Stopping: listeners close first, then idle connections, requests in hand finish,
//! and a cap ends the rest.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::Permit;
use crate::metrics::{Metrics, Reason};

/// The handle that stops a [`crate::Server`] and knows its live connections.
/// Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<State>);

#[derive(Debug)]
struct State {
    stopping: AtomicBool,
    draining: AtomicBool,
    started: watch::Sender<bool>,
    live: Mutex<HashMap<u64, Arc<Live>>>,
    next: AtomicU64,
    emptied: Notify,
}

/// What the handle must reach of a connection from outside.
#[derive(Debug)]
struct Live {
    since: Instant,
    /// A waker of its own, so that waiting for the shutdown beside every read
    /// touches no memory that other connections write.
    waker: AtomicWaker,
    task: OnceLock<AbortHandle>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Makes a handle; nothing is draining yet.
    pub fn new() -> Self {
        Self(Arc::new(State {
            stopping: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            started: watch::Sender::new(false),
            live: Mutex::default(),
            next: AtomicU64::new(0),
            emptied: Notify::new(),
        }))
    }

    /// Begins to stop: listeners close. A [`crate::Server`] drains its connections
    /// soon afterwards, once whoever was accepted last has had time to say what it
    /// came for. Calling it again does nothing.
    pub fn begin(&self) {
        if !self.0.stopping.swap(true, Ordering::SeqCst) {
            self.0.started.send_replace(true);
        }
    }

    /// Drains at once: listeners close, idle connections close, requests in
    /// hand finish. Calling it again does nothing.
    pub fn start(&self) {
        self.begin();
        if self.0.draining.swap(true, Ordering::SeqCst) {
            return;
        }
        let live: Vec<_> = self.0.live.lock().values().cloned().collect();
        for connection in live {
            connection.waker.wake();
        }
        self.0.emptied.notify_one();
    }

    /// Whether [`Shutdown::begin`] or [`Shutdown::start`] was called.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::SeqCst)
    }

    /// Whether connections are being drained.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Waits for [`Shutdown::begin`] or [`Shutdown::start`].
    pub async fn started(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self
            .0
            .started
            .subscribe()
            .wait_for(|started| *started)
            .await;
    }

    /// The number of live connections.
    pub fn live_connections(&self) -> usize {
        self.0.live.lock().len()
    }

    /// Waits until the youngest connection has been there for `age`, or there is
    /// none, or they are drained. To be called when nothing is accepted any more.
    pub(crate) async fn settle(&self, age: Duration) {
        let youngest = self.0.live.lock().values().map(|live| live.since).max();
        if let Some(youngest) = youngest
            && !self.is_draining()
        {
            let _ = tokio::time::timeout_at(youngest + age, self.emptied()).await;
        }
    }

    /// Waits until no connection is left. Ends only once the server stops.
    async fn emptied(&self) {
        while self.live_connections() > 0 {
            self.0.emptied.notified().await;
        }
    }

    /// Waits until no connection is left, at most `cap`; then drops the rest,
    /// whatever they are doing. Returns how many had to be dropped.
    pub async fn finish(&self, cap: Duration) -> usize {
        if tokio::time::timeout(cap, self.emptied()).await.is_ok() {
            return 0;
        }
        let rest: Vec<_> = self.0.live.lock().values().cloned().collect();
        for connection in &rest {
            if let Some(task) = connection.task.get() {
                task.abort();
            }
        }
        rest.len()
    }

    fn register(&self) -> Registered {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Live {
            since: Instant::now(),
            waker: AtomicWaker::new(),
            task: OnceLock::new(),
        });
        self.0.live.lock().insert(id, live.clone());
        Registered {
            shutdown: self.clone(),
            live,
            id,
        }
    }
}

/// One entry of the table of live connections.
#[derive(Debug)]
struct Registered {
    shutdown: Shutdown,
    live: Arc<Live>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut live = self.shutdown.0.live.lock();
        live.remove(&self.id);
        if live.is_empty() && self.shutdown.is_stopping() {
            self.shutdown.0.emptied.notify_one();
        }
    }
}

/// A live connection: holds its place under the connection limit, and tells
/// its door when to stop. Dropped with the connection.
#[derive(Debug)]
pub struct ConnectionGuard {
    registered: Registered,
    permit: Option<Permit>,
    handshake_deadline: Instant,
    metrics: Option<Arc<Metrics>>,
}

impl ConnectionGuard {
    /// A connection that counts against no limit and in no metric, for tests
    /// and for connections that no [`crate::Server`] accepted. Its handshake may
    /// take `handshake`.
    pub fn unlimited(shutdown: &Shutdown, handshake: Duration) -> Self {
        Self {
            registered: shutdown.register(),
            permit: None,
            handshake_deadline: Instant::now() + handshake,
            metrics: None,
        }
    }

    pub(crate) fn admitted(
        shutdown: &Shutdown,
        permit: Permit,
        handshake: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            permit: Some(permit),
            metrics: Some(metrics),
            ..Self::unlimited(shutdown, handshake)
        }
    }

    /// A guard for another task of the same connection, under the same permit,
    /// with a handshake of its own that may take `handshake`.
    pub(crate) fn share(&self, handshake: Duration) -> Self {
        Self {
            permit: self.permit.clone(),
            metrics: self.metrics.clone(),
            ..Self::unlimited(&self.registered.shutdown, handshake)
        }
    }

    /// Whether the server is stopping: end after the request in hand. One
    /// atomic load.
    pub fn draining(&self) -> bool {
        self.registered.shutdown.0.draining.load(Ordering::Relaxed)
    }

    /// Resolves when the server begins to stop. Cheap to make and to poll
    /// beside every read; only the last one polled is woken.
    pub fn drained(&self) -> Drained<'_> {
        Drained(&self.registered)
    }

    /// When the handshake must be over. Counted from the moment the connection
    /// was accepted, so the time until the protocol was known is included.
    pub fn handshake_deadline(&self) -> Instant {
        self.handshake_deadline
    }

    /// Counts a handshake that missed [`ConnectionGuard::handshake_deadline`].
    pub fn count_handshake_timeout(&self) {
        self.count_refused(Reason::HandshakeTimeout);
    }

    pub(crate) fn count_refused(&self, reason: Reason) {
        if let Some(metrics) = &self.metrics {
            metrics.count_refused(reason);
        }
    }

    /// Says which task to end when a shutdown takes too long.
    pub(crate) fn abort_by(&self) -> impl FnOnce(AbortHandle) + use<> {
        let live = self.registered.live.clone();
        move |task| {
            let _ = live.task.set(task);
        }
    }

    pub(crate) fn permit(&self) -> Option<Permit> {
        self.permit.clone()
    }
}

/// The future of [`ConnectionGuard::drained`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Drained<'a>(&'a Registered);

impl Future for Drained<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.shutdown.is_draining() {
            return Poll::Ready(());
        }
        self.0.live.waker.register(cx.waker());
        // Again, for a start between the look and the registration.
        if self.0.shutdown.is_draining() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
