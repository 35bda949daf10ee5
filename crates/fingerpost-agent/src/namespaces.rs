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
        let mut names = options.profiles.namespaces();
        // Two that follow one namespace would take each other's files away.
        names.remove(&*first.namespace);
        for name in names {
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

    /// One by its name, as the spool has it; `None` if nobody names it any more.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Shared>> {
        match name.is_empty() || name == self.first.namespace {
            true => Some(&self.first),
            false => self.named.get(name),
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
    state.spool_age_max = options.spool_age_max;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::following::Heard as _;
    use crate::state::tests::unihash;
    use crate::testing::{keep, known_here, options};

    #[tokio::test]
    async fn a_namespace_that_a_profile_names_again_is_followed_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = options(directory.path());
        options.profiles = Profiles::within(&["main", "other"]);
        let namespaces = Namespaces::start(&options).await.unwrap();
        let is_first = |name| Arc::ptr_eq(namespaces.find(name).unwrap(), &namespaces.first);
        assert!(is_first("main") && is_first("") && !is_first("other"));
        assert_eq!(namespaces.all().count(), 2);
        namespaces.close().await;
    }

    #[tokio::test]
    async fn what_was_kept_of_another_namespace_is_not_answered() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path());
        let state = open(&options).await.unwrap().unwrap();
        for (namespace, number) in [("", 1), ("main", 2)] {
            keep(&state, namespace, number).await;
        }
        assert!(state.close().await);
        drop(state);
        let namespaces = Namespaces::start(&options).await.unwrap();
        let kept = namespaces.first.kept.as_ref().unwrap();
        assert!(kept.listener.settle().await);
        let known = async |number| known_here(&namespaces.first, number).await;
        assert_eq!(known(1).await, None);
        assert_eq!(known(2).await, Some(unihash(2)));
        namespaces.close().await;
    }
}
