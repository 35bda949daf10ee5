use fingerpost_hashequiv_client::ClientOptions;
use fingerpost_hashequiv_client::http::HttpOptions;
use fingerpost_signatures::{KeyRing, Policy};
use futures_util::FutureExt as _;
use tempfile::TempDir;

use super::*;
use crate::namespaces::Namespaces;
use crate::state::StateOptions;
use crate::state::tests::{METHOD, busy, task, unihash};
use crate::{AgentOptions, TrustOptions};

const EPOCH: DeletionEpoch = DeletionEpoch {
    history: [1; 16],
    epoch: 5,
};

async fn state(directory: &TempDir) -> State {
    let options = StateOptions {
        // The machine may be busy.
        patience: Duration::from_secs(60),
        ..StateOptions::new(directory.path())
    };
    State::open(options, Arc::new(SystemClock)).await.unwrap()
}

/// Keeps the answer of task 1, which is a namespace's.
async fn keep_one(state: &State) {
    state.set_epoch("main", EPOCH, Vec::new()).await.unwrap();
    state.remember("main", EPOCH, [(task(1), unihash(1))]);
    state.tend().await.unwrap();
}

/// Of an agent in that namespace whose server does not answer, after answers of it were kept.
async fn options(directory: &TempDir) -> AgentOptions {
    let state = state(directory).await;
    keep_one(&state).await;
    assert!(state.close().await);
    let server = ClientOptions::to("ws://127.0.0.1:1".parse().unwrap());
    let mut options = AgentOptions::to(server, directory.path().to_owned());
    let url = "http://127.0.0.1:1/ns/main".parse().unwrap();
    options.http = Some(HttpOptions::to(vec![url]));
    options
}

async fn known_here(shared: &Shared) -> Option<Unihash> {
    let taskhash = task(1).taskhash.to_text();
    shared
        .known_here(Whose::EVERYBODYS, METHOD, &taskhash)
        .await
}

fn listener(shared: &Shared) -> &Listener {
    &shared.kept.as_ref().unwrap().listener
}

#[tokio::test]
async fn what_is_deleted_is_not_answered_though_the_store_has_not_heard_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Namespaces::start(&options(&directory).await).await.unwrap();
    let shared = &agent.first;
    listener(shared).settle().await;
    assert_eq!(known_here(shared).await, Some(unihash(1)));
    // Nobody gets to tell the store.
    let _telling = listener(shared).telling.lock().await;
    let taskhash = *task(1).taskhash.as_bytes().unwrap();
    listener(shared).changed(METHOD, &taskhash, None);
    assert_eq!(known_here(shared).await, None);
}

#[tokio::test]
async fn what_was_kept_unjudged_is_not_answered_where_signatures_are_required() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory).await;
    options.trust = Some(TrustOptions {
        policy: Policy::Require,
        ring: KeyRing::default(),
        signer: None,
        fallbacks: Vec::new(),
    });
    let agent = Namespaces::start(&options).await.unwrap();
    let shared = &agent.first;
    assert_eq!(known_here(shared).await, None);
    listener(shared).settle().await;
    assert_eq!(known_here(shared).await, None);
}

#[tokio::test]
async fn what_was_told_by_half_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let state = state(&directory).await;
    keep_one(&state).await;
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

#[tokio::test]
async fn while_a_drive_hangs_no_more_look_ups_hang_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Namespaces::start(&options(&directory).await).await.unwrap();
    let shared = &agent.first;
    listener(shared).settle().await;
    let kept = shared.kept.as_ref().unwrap();
    let places = u32::try_from(FILES_READ).unwrap();
    let hanging = kept.reading.acquire_many(places).await.unwrap();
    // The rest goes on without the snapshot.
    assert_eq!(known_here(shared).await, Some(unihash(1)));
    drop(hanging);
    assert_eq!(known_here(shared).await, Some(unihash(1)));
    assert_eq!(kept.reading.available_permits(), FILES_READ);
    // Whoever has a server to ask does without the drive for a while.
    let asked = async |else_answers| {
        let mut batch = Batch::new(vec![task(1)]);
        shared.look_at_what_is_kept(&mut batch, else_answers).await;
        batch.is_answered()
    };
    assert!(!asked(true).await && asked(false).await);
}

#[test]
fn an_answer_is_good_for_a_time_without_the_server() {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    let max = hours(24).unwrap();
    for (offline, age, expect) in [
        (hours(1), hours(100), true),
        (hours(25), hours(100), false),
        // It was given after the last word of deletions.
        (hours(25), hours(1), true),
        (None, hours(1), true),
        (None, hours(25), false),
        (hours(1), None, true),
        (None, None, false),
    ] {
        assert_eq!(is_within(max, offline, age), expect, "{offline:?} {age:?}");
    }
}
