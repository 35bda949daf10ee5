//! Clients that are slow, many, or gone; and repositories that are gone.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use fingerpost_core::{Clock, Timestamp};
use fingerpost_hg_proto::FRAMING_MEDIA_TYPE;
use fingerpost_hg_proto::cbor::Value;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::SAMPLE;
use super::arguments::list;
use crate::client::{API, Answered, ask, body, call, post};
use crate::world::{World, send};
use crate::written::Written;

/// Long enough for anything here, however busy the machine is.
const AT_MOST: Duration = Duration::from_secs(60);

/// One changeset of files that do not compress, 3 MiB together.
fn large() -> (World, Request<Vec<u8>>) {
    let world = World::empty();
    let mut written = Written::new(false);
    let mut random = StdRng::seed_from_u64(1);
    let paths: Vec<String> = (0..48).map(|at| format!("file{at}")).collect();
    let contents: Vec<Vec<u8>> = paths
        .iter()
        .map(|_| (0..64 << 10).map(|_| random.random()).collect())
        .collect();
    let files: Vec<(&str, &[u8])> = paths
        .iter()
        .zip(&contents)
        .map(|(path, content)| (path.as_str(), content.as_slice()))
        .collect();
    written.commit(&files);
    written.write(&world.root());
    let node = written.changesets()[0];
    let specifier = [
        (&b"type"[..], Value::bytes("changesetexplicit")),
        (b"nodes", list([Value::bytes(*node.as_bytes())])),
    ];
    let args = vec![
        ("revisions", list([Value::record(specifier)])),
        ("fields", Value::set([Value::bytes("revision")])),
    ];
    let request = post(&format!("{API}/ro/filesdata"), body(&[("filesdata", args)]));
    (world, request)
}

fn again(request: &Request<Vec<u8>>) -> Request<Vec<u8>> {
    post(request.uri().path(), request.body().clone())
}

/// Takes the first piece of an answer and leaves the rest.
async fn begin(door: &axum::Router, request: &Request<Vec<u8>>) -> Body {
    let response = send(door, again(request)).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert!(!first.into_data().unwrap().is_empty());
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_gives_the_place_back() {
    let (mut world, request) = large();
    world.front.answers_max = 1;
    world.front.wait = Duration::from_millis(20);
    let busy = world.door();
    let begun = begin(&busy, &request).await;
    let refused = ask(&busy, again(&request)).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert_eq!(refused.text(), "too much is under way; try again\n");
    // Short questions have places of their own.
    assert_eq!(call(&busy, "heads", &[]).await.complaint(), None);
    drop(begun);
    let free = async { while ask(&busy, again(&request)).await.status == 503 {} };
    timeout(AT_MOST, free).await.expect("the work has stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_place_for_a_while() {
    let (mut world, request) = large();
    world.front.answers_max = 1;
    world.front.wait = AT_MOST;
    let door = world.door();
    let begun = begin(&door, &request).await;
    let waiting = tokio::spawn({
        let (door, request) = (door.clone(), again(&request));
        async move { ask(&door, request).await }
    });
    assert!(!waiting.is_finished());
    let rest = begun.collect().await.unwrap().to_bytes();
    assert!(rest.len() > 2 << 20);
    let answered = timeout(AT_MOST, waiting).await.unwrap().unwrap();
    assert_eq!(answered.told(1)[0].complaint(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_in_time_breaks_off() {
    let (mut world, request) = large();
    world.front.answers_max = 1;
    world.front.answer_time = Duration::from_millis(30);
    let door = world.door();
    let held = begin(&door, &request).await;
    // The place is free although the first client still holds its answer.
    let next = timeout(AT_MOST, send(&door, again(&request)))
        .await
        .unwrap();
    assert_eq!(next.status(), 200);
    drop(next);
    let rest = timeout(AT_MOST, held.collect()).await.unwrap();
    assert!(
        rest.is_err(),
        "the client sees that the answer is not whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_nobody_takes_in_time_gives_the_place_back() {
    let (mut world, request) = large();
    world.front.answers_max = 1;
    world.front.piece_time = Duration::from_millis(30);
    let door = world.door();
    let held = begin(&door, &request).await;
    let next = timeout(AT_MOST, send(&door, again(&request)));
    assert_eq!(next.await.unwrap().status(), 200);
    let rest = timeout(AT_MOST, held.collect()).await.unwrap();
    assert!(rest.is_err());
}

/// A clock that stops whoever asks it next, once, until it is let go.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GateState {
    #[default]
    Open,
    /// After so many more questions.
    Closing(usize),
    Stopping,
}

impl Gate {
    fn set(&self, state: GateState) {
        *self.state.lock().unwrap() = state;
        self.changed.notify_all();
    }

    fn is_stopping(&self) -> bool {
        *self.state.lock().unwrap() == GateState::Stopping
    }
}

impl Clock for Gate {
    fn now(&self) -> Timestamp {
        let mut state = self.state.lock().unwrap();
        match *state {
            GateState::Closing(0) => {
                *state = GateState::Stopping;
                let stopping = |state: &mut GateState| *state == GateState::Stopping;
                let _open = self.changed.wait_timeout_while(state, AT_MOST, stopping);
            }
            GateState::Closing(more) => *state = GateState::Closing(more - 1),
            GateState::Open | GateState::Stopping => {}
        }
        Timestamp(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_while_work_is_done_makes_no_room_for_more() {
    let gate = Arc::new(Gate::default());
    let mut world = World::recorded("sample-dothg", SAMPLE);
    world.clock = Arc::clone(&gate) as Arc<dyn Clock>;
    world.front.answers_max = 1;
    world.front.wait = Duration::from_millis(20);
    let door = world.door();
    assert_eq!(call(&door, "heads", &[]).await.complaint(), None);
    // The first question finds the repository, the second one opens its view.
    gate.set(GateState::Closing(1));
    let heads = || post(&format!("{API}/ro/heads"), body(&[("heads", Vec::new())]));
    let asking = tokio::spawn({
        let door = door.clone();
        async move { ask(&door, heads()).await }
    });
    let stopped = async {
        while !gate.is_stopping() {
            tokio::task::yield_now().await
        }
    };
    timeout(AT_MOST, stopped).await.unwrap();
    asking.abort();
    assert!(asking.await.is_err());
    assert_eq!(ask(&door, heads()).await.status, 503);
    gate.set(GateState::Open);
    let free = async { while ask(&door, heads()).await.status == 503 {} };
    timeout(AT_MOST, free).await.unwrap();
}

/// A body that begins with `first` and then says nothing more.
fn unending(first: Vec<u8>) -> Request<Body> {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(first))]);
    let body = Body::from_stream(first.chain(futures_util::stream::pending()));
    Request::post(format!("{API}/ro/heads"))
        .header(header::ACCEPT, FRAMING_MEDIA_TYPE)
        .header(header::CONTENT_TYPE, FRAMING_MEDIA_TYPE)
        .body(body)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let mut world = World::recorded("sample-dothg", "");
    world.front.body_time = Duration::from_millis(30);
    world.front.answers_max = 1;
    let door = world.door();
    let whole = body(&[("heads", Vec::new())]);
    for end in [0, 5, whole.len()] {
        let request = unending(whole[..end].to_vec());
        let response = door.clone().oneshot(request).await.unwrap();
        let answered = Answered::of(response).await.unwrap();
        assert_eq!(answered.status, 408);
        assert_eq!(answered.text(), "the request did not arrive in time\n");
    }
    // Bodies that are on their way take no place.
    assert_eq!(call(&door, "heads", &[]).await.complaint(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_an_internal_error() {
    let world = World::recorded("sample-dothg", "");
    let door = world.door();
    let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let pieces = futures_util::stream::iter([Ok(Bytes::from_static(b"\x0c")), Err(gone)]);
    let (parts, _) = post(&format!("{API}/ro/heads"), Vec::new()).into_parts();
    let request = Request::from_parts(parts, Body::from_stream(pieces));
    let response = door.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_may_vanish_between_requests_and_come_back() {
    let world = World::recorded("sample-dothg", "");
    let door = world.door();
    let before = call(&door, "heads", &[]).await;
    let elsewhere = world.root().with_extension("away");
    let heads = || post(&format!("{API}/ro/heads"), body(&[("heads", Vec::new())]));
    for gone in [
        "",
        ".hg",
        ".hg/store",
        ".hg/store/00changelog.i",
        ".hg/requires",
    ] {
        let path = world.root().join(gone);
        std::fs::rename(&path, &elsewhere).unwrap();
        let answered = ask(&door, heads()).await;
        assert_ne!(answered.status, 500, "{gone}: {}", answered.text());
        let here = world.root().display().to_string();
        assert!(
            !answered.text().contains(&here),
            "{gone}: {}",
            answered.text()
        );
        if answered.is_frames() {
            // Without a changelog the repository is an empty one.
            assert_eq!(gone, ".hg/store/00changelog.i");
        }
        std::fs::rename(&elsewhere, &path).unwrap();
        assert_eq!(call(&door, "heads", &[]).await, before, "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_may_vanish_under_an_answer() {
    let (world, request) = large();
    let door = world.door();
    let response = send(&door, again(&request)).await;
    std::fs::remove_dir_all(world.root()).unwrap();
    let answered = Answered::of(response)
        .await
        .expect("the answer ends properly");
    let told = answered.told(1);
    let failed = told[0].failed.as_deref().expect("files are missing");
    assert!(failed.contains("data/file"), "{failed}");
    assert!(
        !failed.contains(&*world.root().to_string_lossy()),
        "{failed}"
    );
}

/// The same request, whose body comes in parts.
fn in_parts(request: Request<Vec<u8>>) -> Request<Body> {
    let (parts, body) = request.into_parts();
    let chunks: Vec<_> = body.chunks(16 << 10).map(Bytes::copy_from_slice).collect();
    let chunks = futures_util::stream::iter(chunks).then(async |chunk| {
        tokio::task::yield_now().await;
        Ok::<_, std::io::Error>(chunk)
    });
    Request::from_parts(parts, Body::from_stream(chunks))
}

#[tokio::test]
async fn many_long_requests_that_come_at_once_are_all_answered() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let nodes = (0..10_000_u32).map(|at| {
        let mut node = [7; 20];
        node[..4].copy_from_slice(&at.to_be_bytes());
        Value::bytes(node)
    });
    let known = body(&[("known", vec![("nodes", list(nodes))])]);
    let asking = (0..64).map(|_| {
        let request = in_parts(post(&format!("{API}/ro/known"), known.clone()));
        let door = door.clone();
        async move { door.oneshot(request).await.unwrap().status().as_u16() }
    });
    let statuses = futures_util::future::join_all(asking).await;
    assert_eq!(statuses, [200; 64]);
}
