use bytes::Bytes;

use super::*;
use crate::testing::Shelf;
use crate::{CacheKey, EntryNames, Failure, KeyHasher, More, Progress};

struct Once(Result<&'static [u8], ()>);

impl Objects for Once {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        let bytes = self.0.map_err(|()| Failure::internal("broken"))?;
        out.extend_from_slice(bytes);
        Ok(More::No)
    }
}

fn key(word: &str) -> CacheKey {
    let mut hasher = KeyHasher::new("test", 1);
    hasher.part(word.as_bytes());
    hasher.finish()
}

fn name(word: &str) -> EntryName {
    EntryNames::new(b"secret").name(&key(word), "identity")
}

fn counts(dispatch: &Dispatch) -> [u64; 6] {
    let counts = dispatch.counts("test");
    [
        &counts.hits,
        &counts.misses,
        &counts.coalesced,
        &counts.look_ups_failed,
        &counts.stored,
        &counts.stores_failed,
    ]
    .map(|count| count.load(Ordering::Relaxed))
}

async fn flying(dispatch: &Dispatch, word: &str, bytes: &'static [u8]) -> Arc<Flight> {
    match dispatch
        .begin(
            &dispatch.counts("test"),
            &name(word),
            Box::new(Once(Ok(bytes))),
        )
        .await
    {
        Answering::Flying(flight) => flight,
        Answering::Stored(_) => panic!("{word} is stored"),
    }
}

async fn make(dispatch: &Dispatch, word: &str, flight: &Arc<Flight>) -> Vec<u8> {
    let mut out = Vec::new();
    match flight.read(0, 100, &mut out).unwrap() {
        Progress::Made(content) => {
            let counts = dispatch.counts("test");
            dispatch.keep(&counts, &name(word), flight, content).await;
        }
        _ => panic!("one piece makes it"),
    }
    out
}

#[tokio::test]
async fn what_was_made_once_is_found() {
    let dispatch = Dispatch::new(Arc::new(Shelf::default()), DispatchOptions::default());
    let flight = flying(&dispatch, "a", b"answer").await;
    let other = flying(&dispatch, "a", b"never made").await;
    assert!(Arc::ptr_eq(&flight, &other));
    assert_eq!(make(&dispatch, "a", &flight).await, b"answer");
    match dispatch
        .begin(
            &dispatch.counts("test"),
            &name("a"),
            Box::new(Once(Err(()))),
        )
        .await
    {
        Answering::Stored(content) => {
            assert_eq!(
                content.read(0, 100).await.unwrap(),
                Bytes::from_static(b"answer")
            );
        }
        Answering::Flying(_) => panic!("it is in the store"),
    }
    assert_eq!(counts(&dispatch), [1, 1, 1, 0, 1, 0]);
    assert!(dispatch.flights.lock().is_empty());
}

#[tokio::test]
async fn a_store_that_is_down_is_worked_without() {
    let shelf = Shelf::default();
    shelf.is_down.store(true, Ordering::SeqCst);
    let dispatch = Dispatch::new(Arc::new(shelf), DispatchOptions::default());
    for _ in 0..2 {
        let flight = flying(&dispatch, "a", b"answer").await;
        assert_eq!(make(&dispatch, "a", &flight).await, b"answer");
    }
    assert_eq!(counts(&dispatch), [0, 2, 0, 2, 0, 2]);
}

#[tokio::test]
async fn a_failure_leaves_nothing_and_is_tried_again() {
    let dispatch = Dispatch::new(Arc::new(Shelf::default()), DispatchOptions::default());
    let Answering::Flying(failing) = dispatch
        .begin(
            &dispatch.counts("test"),
            &name("a"),
            Box::new(Once(Err(()))),
        )
        .await
    else {
        panic!("nothing is stored")
    };
    assert!(failing.read(0, 100, &mut Vec::new()).is_err());
    let next = flying(&dispatch, "a", b"answer").await;
    assert!(!Arc::ptr_eq(&failing, &next));
    assert_eq!(make(&dispatch, "a", &next).await, b"answer");
    assert_eq!(counts(&dispatch)[1..3], [2, 0]);
}

#[tokio::test]
async fn what_cannot_be_read_is_made_anew_once_and_replaced() {
    let dispatch = Dispatch::new(Arc::new(Shelf::default()), DispatchOptions::default());
    dispatch
        .store(&name("a"), Arc::new(Bytes::from_static(b"unreadable")))
        .await;
    let counts = dispatch.counts("test");
    let anew = |bytes| dispatch.begin_anew(&counts, &name("a"), Box::new(Once(Ok(bytes))));
    let flight = anew(b"answer");
    assert!(Arc::ptr_eq(&flight, &anew(b"never made")));
    assert_eq!(make(&dispatch, "a", &flight).await, b"answer");
    let stored = dispatch.look_up(&name("a")).await.unwrap();
    assert_eq!(stored.read(0, 100).await.unwrap(), &b"answer"[..]);
    assert_eq!(self::counts(&dispatch), [0, 1, 1, 0, 1, 0]);
}

#[tokio::test]
async fn flights_that_everybody_left_are_forgotten() {
    let dispatch = Dispatch::new(Arc::new(Shelf::default()), DispatchOptions::default());
    for number in 0..FLIGHTS_SWEPT_AT + 1 {
        drop(flying(&dispatch, &number.to_string(), b"x").await);
    }
    assert_eq!(dispatch.flights.lock().len(), 1);
}

#[tokio::test]
async fn short_answers_are_not_stored() {
    let options = DispatchOptions {
        store_bytes_min: 7,
        ..DispatchOptions::default()
    };
    let dispatch = Dispatch::new(Arc::new(Shelf::default()), options);
    let flight = flying(&dispatch, "a", b"answer").await;
    make(&dispatch, "a", &flight).await;
    assert_eq!(counts(&dispatch)[4], 0);
    flying(&dispatch, "a", b"again").await;
}

#[tokio::test]
async fn a_slow_store_does_not_hold_ever_more_answers() {
    let dispatch = Dispatch::new(Arc::new(Shelf::default()), DispatchOptions::default());
    dispatch.keeping.store(KEEPING_MAX, Ordering::Relaxed);
    let flight = flying(&dispatch, "a", b"answer").await;
    make(&dispatch, "a", &flight).await;
    assert_eq!(counts(&dispatch)[4..], [0, 1]);
    assert_eq!(dispatch.keeping.load(Ordering::Relaxed), KEEPING_MAX);
}
