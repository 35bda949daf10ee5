//! The namespaces that builds are put into by their profiles.

use std::collections::HashMap;
use std::sync::Arc;

use fingerpost_core::SystemClock;
use fingerpost_net::Peer;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::commands::Caller;
use crate::profiles::Profiles;
use crate::reporting::Spool;
use crate::shared::{Common, Shared};
use crate::state::{State, StateError, StateOptions};
use crate::{AgentOptions, StartError};

/// Everything of an agent.
pub(crate) struct Namespaces {
    /// That of builds whose profile names none.
    pub(crate) first: Arc<Shared>,
    named: HashMap<String, Arc<Shared>>,
    pub(crate) profiles: Profiles,
    pub(crate) started: Instant,
}

impl Namespaces {
    /// Opens the state and prepares to ask in each namespace.
    pub(crate) async fn start(options: &AgentOptions) -> Result<Self, StartError> {
        let common = Common {
            figures: Arc::default(),
            spool: Arc::new(Spool::new(open(options).await?)),
            logins: Arc::default(),
        };
        let first = Shared::start(options, &common, None).await?;
        let mut named = HashMap::new();
        for name in options.profiles.namespaces() {
            let shared = Shared::start(options, &common, Some(name)).await?;
            named.insert(name.to_owned(), shared);
        }
        Ok(Self {
            first,
            named,
            profiles: options.profiles.clone(),
            started: Instant::now(),
        })
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Shared>> {
        std::iter::once(&self.first).chain(self.named.values())
    }

    /// One by its name, as the spool has it; `None` if no profile names it any more.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Shared>> {
        match name {
            "" => Some(&self.first),
            name => self.named.get(name),
        }
    }

    /// Puts away what the next start goes on with.
    pub(crate) async fn close(&self) {
        let kept = self.all().filter_map(|shared| shared.kept.as_ref());
        join_all(kept.map(|kept| kept.followed.close())).await;
        if let Some(state) = self.first.spool.state() {
            state.close().await;
        }
    }

    /// Who connects, and where they work.
    pub(crate) fn caller(&self, peer: &Peer) -> (Arc<Shared>, Caller) {
        let profile = self.profiles.of(peer);
        let name = profile.namespace.as_deref().unwrap_or_default();
        let shared = Arc::clone(self.find(name).unwrap_or(&self.first));
        (shared, Caller::new(peer.address, profile))
    }
}

/// The state; none where the directory cannot be used.
async fn open(options: &AgentOptions) -> Result<Option<State>, StateError> {
    let mut state = StateOptions::new(&options.state);
    state.spool_bytes_max = options.spool_bytes_max;
    match State::open(state, Arc::new(SystemClock)).await {
        Ok(state) => Ok(Some(state)),
        Err(error @ StateError::InUse { .. }) => Err(error),
        Err(error) => {
            let why = &error as &dyn std::error::Error;
            tracing::warn!(error = why, "reports are not kept for the server");
            Ok(None)
        }
    }
}
