//! The agent itself.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use fingerpost_net::{Listener, Metrics, Server, ServerOptions, Shutdown};

use crate::{AgentOptions, Status};

/// The name of listeners that have metrics and probes alone.
pub(crate) const METRICS: &str = "metrics";

/// An agent that is ready to be asked.
#[derive(Debug)]
pub struct Agent {
    options: AgentOptions,
    started: Instant,
}

impl Agent {
    /// Makes an agent. The server need not be there.
    ///
    /// # Errors
    ///
    /// The state directory cannot be used.
    pub fn start(options: AgentOptions) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            started: Instant::now(),
        })
    }

    /// Serves builds on `listeners`, metrics and probes on those of them that are called
    /// `metrics`, until `shutdown` begins.
    ///
    /// # Errors
    ///
    /// A listener cannot be taken into the runtime.
    pub async fn serve(self, listeners: Vec<Listener>, shutdown: Shutdown) -> io::Result<()> {
        let metrics = Arc::new(Metrics::new());
        let mut server = Server::http_only(ServerOptions::default(), metrics, shutdown);
        for listener in listeners {
            server = match listener.name() {
                Some(METRICS) => server.listen_probes(listener),
                _ => server.listen(listener),
            };
        }
        let agent = Arc::new(self);
        let status = get(move || std::future::ready(agent.told()));
        let router = Router::new().route("/agent/status", status);
        server.router(router).run().await?;
        Ok(())
    }

    fn told(&self) -> impl IntoResponse + use<> {
        let status = serde_json::to_string(&self.status()).expect("numbers and words");
        ([(CONTENT_TYPE, "application/json")], status)
    }

    fn status(&self) -> Status {
        Status {
            uptime_seconds: self.started.elapsed().as_secs(),
            ..Status::new(&self.options.server.address)
        }
    }
}
