//! The agent: builds on one side, the server on the other.

use std::io;
use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::ws::WebSocket;
use axum::http::header;
use axum::routing::get;
use fingerpost_hashequiv_client::http::HttpSetupError;
use fingerpost_hashequiv_client::link::{ByteLink, ServerSocket};
use fingerpost_net::{
    ConnectionGuard, LineDoor, Listener, Metrics, Peer, Server as Net, ServerOptions, Shutdown,
    close_websocket, linger,
};

use crate::AgentOptions;
use crate::namespaces::Namespaces;
use crate::session::Session;
use crate::state::StateError;
use crate::{keeping, reporting};

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its state is another one's.
    #[error(transparent)]
    State(#[from] StateError),
    /// What it needs to ask the server over HTTP is not there.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
}

/// The name of listeners that have metrics and probes alone.
pub(crate) const METRICS: &str = "metrics";

/// An agent. Clones are the same one.
#[derive(Clone)]
pub struct Agent(Arc<Namespaces>);

impl Agent {
    /// Prepares to serve. The server is asked when a build asks. To be called within a
    /// runtime.
    ///
    /// # Errors
    ///
    /// When another agent uses its state, or a file of its login at the server cannot be
    /// read. Without any state it goes on, and keeps no reports for the server.
    pub async fn start(options: &AgentOptions) -> Result<Self, StartError> {
        let namespaces = Arc::new(Namespaces::start(options).await?);
        tokio::spawn(reporting::replay(Arc::downgrade(&namespaces)));
        tokio::spawn(keeping::store(Arc::downgrade(&namespaces)));
        Ok(Self(namespaces))
    }

    /// Everything of it, for as long as it lives.
    pub(crate) fn downgrade(&self) -> Weak<Namespaces> {
        Arc::downgrade(&self.0)
    }

    /// Serves builds, and metrics and probes on listeners that are called `metrics`, until
    /// the shutdown begins; then what is asked already is answered.
    ///
    /// # Errors
    ///
    /// Fails at once if a listener cannot be taken into the runtime.
    pub async fn serve(self, listeners: Vec<Listener>, shutdown: Shutdown) -> io::Result<()> {
        let (shared, state_of) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let status = get(move || async move {
            let json = serde_json::to_string(&shared.status()).expect("numbers and words");
            ([(header::CONTENT_TYPE, "application/json")], json)
        });
        let router = Router::new().route("/agent/status", status);
        let metrics = Arc::new(Metrics::default());
        metrics.register(|registry| crate::metrics::register(registry, &state_of));
        let mut net = Net::new(self, ServerOptions::default(), metrics, shutdown).router(router);
        for listener in listeners {
            net = match listener.name() {
                Some(METRICS) => net.listen_probes(listener),
                _ => net.listen(listener),
            };
        }
        let served = net.run().await.map(drop);
        state_of.close().await;
        served
    }
}

impl LineDoor for Agent {
    async fn serve<IO>(&self, io: IO, first: Vec<u8>, peer: Peer, guard: ConnectionGuard)
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (shared, caller) = self.0.caller(&peer);
        let session = Session::new(shared, caller, &guard, ByteLink(io), &first);
        drop(first);
        let (link, is_there) = session.run().await;
        if is_there {
            linger(link.0).await;
        }
    }

    async fn serve_websocket(
        &self,
        socket: WebSocket,
        _path: String,
        peer: Peer,
        guard: ConnectionGuard,
    ) {
        let link = ServerSocket::new(socket);
        let (shared, caller) = self.0.caller(&peer);
        let session = Session::new(shared, caller, &guard, link, &[]);
        let (link, _) = session.run().await;
        close_websocket(link.socket, link.error.as_ref(), &guard).await;
    }
}
