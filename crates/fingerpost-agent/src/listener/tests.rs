use futures_util::FutureExt as _;

use super::*;
use crate::namespaces::Namespaces;
use crate::state::tests::{METHOD, busy, task, unihash};
use crate::testing::{EPOCH, keep, known_here, options_with_one, state};

#[tokio::test]
async fn what_is_deleted_is_not_answered_though_the_store_has_not_heard_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Namespaces::start(&options_with_one(directory.path()).await)
        .await
        .unwrap();
    let shared = &agent.first;
    let listener = &shared.kept.as_ref().unwrap().listener;
    listener.settle().await;
    assert_eq!(known_here(shared, 1).await, Some(unihash(1)));
    // Nobody gets to tell the store.
    let _telling = listener.telling.lock().await;
    let taskhash = *task(1).taskhash.as_bytes().unwrap();
    listener.changed(METHOD, &taskhash, None);
    assert_eq!(known_here(shared, 1).await, None);
}

#[tokio::test]
async fn what_was_told_by_half_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(directory.path()).await;
    keep(&state, "main", 1).await;
    let spool = Arc::new(Spool::new(Some(state)));
    let knowledge = Arc::new(Knowledge::new(1 << 20, Duration::from_secs(60)));
    let listener = Listener::new("main".to_owned(), String::new(), knowledge, spool);
    let state = listener.spool.state().unwrap();
    listener.moved(EPOCH);
    let is_kept_after_half = async || {
        // The drive is slow, and whoever tells it has no patience.
        let until = busy(state);
        assert!(listener.tell().now_or_never().is_none());
        drop(until);
        assert!(listener.settle().await);
        let known = state.recall("main", vec![task(1)]).await.unwrap();
        known[0].is_some()
    };
    assert!(is_kept_after_half().await);
    // Here too the first half says who judges.
    listener.judge.lock().is_known = false;
    let taskhash = *task(1).taskhash.as_bytes().unwrap();
    listener.changed(METHOD, &taskhash, None);
    assert!(!is_kept_after_half().await);
}
