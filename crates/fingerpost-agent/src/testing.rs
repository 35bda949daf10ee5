//! Agents in the namespace `main` of a server that does not answer, for tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::SystemClock;
use fingerpost_hashequiv_client::ClientOptions;
use fingerpost_hashequiv_client::http::{DeletionEpoch, HttpOptions};
use fingerpost_hashequiv_proto::types::Unihash;

use crate::AgentOptions;
use crate::knowledge::Whose;
use crate::shared::Shared;
use crate::state::tests::{METHOD, task, unihash};
use crate::state::{State, StateOptions};

pub(crate) const EPOCH: DeletionEpoch = DeletionEpoch {
    history: [1; 16],
    epoch: 5,
};

pub(crate) async fn state(directory: &Path) -> State {
    let options = StateOptions {
        // The machine may be busy.
        patience: Duration::from_secs(60),
        ..StateOptions::new(directory)
    };
    State::open(options, Arc::new(SystemClock)).await.unwrap()
}

/// Keeps the answer of a task in a namespace.
pub(crate) async fn keep(state: &State, namespace: &str, number: u64) {
    state.set_epoch(namespace, EPOCH, Vec::new()).await.unwrap();
    state.remember(namespace, EPOCH, [(task(number), unihash(number))]);
    state.tend().await.unwrap();
}

pub(crate) fn options(directory: &Path) -> AgentOptions {
    let server = ClientOptions::to("ws://127.0.0.1:1".parse().unwrap());
    let mut options = AgentOptions::to(server, directory.to_owned());
    let url = "http://127.0.0.1:1/ns/main".parse().unwrap();
    options.http = Some(HttpOptions::to(vec![url]));
    options
}

/// After the answer of task 1 was kept.
pub(crate) async fn options_with_one(directory: &Path) -> AgentOptions {
    let state = state(directory).await;
    keep(&state, "main", 1).await;
    assert!(state.close().await);
    options(directory)
}

pub(crate) async fn known_here(shared: &Shared, number: u64) -> Option<Unihash> {
    let taskhash = task(number).taskhash.to_text();
    let known = shared.known_here(Whose::EVERYBODYS, METHOD, &taskhash);
    known.await
}
