//! The native door: BitBake's protocol on every transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::ws::WebSocket;
use fingerpost_accounts::{Door, Way};
use fingerpost_core::{Availability, Entry, Kind, Registry as Commands};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_net::{ConnectionGuard, Guards, LineDoor, Peer, close_websocket, linger};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::budget::Budget;
use crate::metrics::Metrics;
use crate::options::DoorOptions;
use crate::placement::{Place, Placement};
use crate::respond::Log;
use crate::session::Session;
use crate::turn::Caller;
use fingerpost_hashequiv_client::link::{ByteLink, ServerSocket};

/// Serves a [`HashEquiv`] over BitBake's protocol. Cheap to clone.
#[derive(Clone)]
pub struct NativeDoor(Arc<Shared>);

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) placement: Placement,
    pub(crate) options: DoorOptions,
    pub(crate) metrics: Metrics,
    pub(crate) budget: Arc<Budget>,
    pub(crate) log: Log,
    pub(crate) guards: Guards,
    commands: Commands<HashEquiv>,
    /// Names that this server knows, by place in `commands`; the others' are empty.
    names: Vec<&'static str>,
    opens: Vec<Opens>,
    /// The place of `auth`.
    login: Option<usize>,
    connections: AtomicU64,
}

/// Which stream a command opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    /// None.
    Nothing,
    /// One of keys, which are looked up in batches.
    Gets,
    /// One of unihashes, which are looked up in batches.
    Exists,
    /// One whose lines go to the command one by one.
    Lines,
}

impl NativeDoor {
    /// A door to the namespaces of `placement` with the default limits and no audit
    /// log.
    pub fn new(placement: impl Into<Placement>, options: DoorOptions) -> Self {
        Self::guarded(placement, options, Guards::default())
    }

    /// A door to the namespaces of `placement` behind `guards`, which other doors
    /// may share.
    pub fn guarded(placement: impl Into<Placement>, options: DoorOptions, guards: Guards) -> Self {
        let placement = placement.into();
        let commands = fingerpost_hashequiv::commands();
        let entries = commands.entries();
        let read_only = placement.set().default().is_read_only();
        let known = |entry: &Entry<HashEquiv>| {
            !read_only || entry.declaration.availability == Availability::Always
        };
        let name = |entry| {
            if known(entry) {
                entry.declaration.name
            } else {
                ""
            }
        };
        Self(Arc::new(Shared {
            metrics: Metrics::new(&commands, placement.set()),
            budget: Arc::new(Budget::new(options.buffered_bytes_total)),
            log: Log::default(),
            guards,
            names: entries.iter().map(name).collect(),
            opens: entries.iter().map(opens).collect(),
            login: commands.find("auth", read_only).map(|(place, _)| place),
            connections: AtomicU64::new(0),
            placement,
            options,
            commands,
        }))
    }

    /// What its connections may have buffered together.
    pub(crate) fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.0.budget)
    }

    /// Adds the door's counters to `registry`, whose prefix is `fingerpost`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }
}

/// The two streams that are asked by the thousand have loops of their own; what
/// their lines mean is the service's own batch look-up.
fn opens(entry: &Entry<HashEquiv>) -> Opens {
    match (entry.declaration.kind, entry.declaration.name) {
        (Kind::Once, _) => Opens::Nothing,
        (Kind::Stream, "get-stream") => Opens::Gets,
        (Kind::Stream, "exists-stream") => Opens::Exists,
        (Kind::Stream, _) => Opens::Lines,
    }
}

impl Shared {
    /// The place of a command that this server knows.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names
            .iter()
            .position(|known| *known == name && !name.is_empty())
    }

    pub(crate) fn entry(&self, command: usize) -> &Entry<HashEquiv> {
        &self.commands.entries()[command]
    }

    pub(crate) fn opens(&self, command: usize) -> Opens {
        self.opens[command]
    }

    /// Whether a command takes something secret that says who the caller is.
    pub(crate) fn is_login(&self, command: usize) -> bool {
        self.login == Some(command)
    }

    /// Whoever came, before they said anything. `None` when it cannot be said who
    /// that is, because the database failed: they are not served as nobody.
    async fn caller(&self, peer: &Peer, place: Place) -> Option<Caller> {
        let login = match &peer.certificate {
            None => None,
            Some(certificate) => {
                let way = Way {
                    door: Door::Native,
                    is_private: peer.is_private(),
                    certificate: Some(certificate),
                    origin: peer.host(),
                };
                // Boxed, so that the many others do not carry its size.
                let found = Box::pin(place.service.logins().of_connection(way)).await;
                found
                    .inspect_err(|error| tracing::error!(%peer, %error, "cannot look a user up"))
                    .ok()?
            }
        };
        Some(Caller::new(self, peer, place, login.as_ref()))
    }

    /// A number for the next connection, counted from 1.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl LineDoor for NativeDoor {
    async fn serve<IO>(&self, io: IO, first: Vec<u8>, peer: Peer, guard: ConnectionGuard)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let place = self.0.placement.by_listener(peer.listener_name.as_deref());
        let Some(caller) = self.0.caller(&peer, place).await else {
            return;
        };
        let session = Session::new(&self.0, &guard, ByteLink(io), &first, caller);
        drop(first);
        let (link, with_care) = session.run().await;
        if with_care {
            linger(link.0).await;
        }
    }

    fn takes_path(&self, path: &str) -> bool {
        self.0.placement.by_path(path, None).is_some()
    }

    async fn serve_websocket(
        &self,
        socket: WebSocket,
        path: String,
        peer: Peer,
        guard: ConnectionGuard,
    ) {
        let listener = peer.listener_name.as_deref();
        let place = self.0.placement.by_path(&path, listener);
        // The path was taken, so there is a place.
        let place = place.unwrap_or_else(|| self.0.placement.by_listener(listener));
        let Some(caller) = self.0.caller(&peer, place).await else {
            return;
        };
        let session = Session::new(&self.0, &guard, ServerSocket::new(socket), &[], caller);
        let (link, _) = session.run().await;
        close_websocket(link.socket, link.error.as_ref(), &guard).await;
    }
}
