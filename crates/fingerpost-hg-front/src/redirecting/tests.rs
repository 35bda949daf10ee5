use std::time::Duration;

use fingerpost_core::testing::Shelf;
use fingerpost_core::{Cacher, Dispatch, DispatchOptions, EntryNames, KeyHasher};

use super::card::ABSENCE;
use super::*;

#[test]
fn a_card_is_read_again() {
    let card = card();
    let bytes = card.encode();
    assert_eq!(bytes.len(), Card::BYTES);
    assert_eq!(Card::decode(&bytes), Some(card));
    assert_eq!(Card::decode(&bytes[..48]), None);
    assert_eq!(Card::decode(&[&bytes[..], &[0]].concat()), None);
    assert_eq!(Card::decode(&[&[2], &bytes[1..]].concat()), None);
}

fn card() -> Card {
    Card {
        plain_len: 1 << 40,
        sha256: [7; 32],
        work: Duration::from_millis(1234),
    }
}

/// A store, and a cache over it.
fn stored() -> (Arc<Shelf>, AnswerCache) {
    let store = Arc::new(Shelf::default());
    let dispatch = Dispatch::new(Arc::clone(&store) as _, DispatchOptions::default());
    let names = EntryNames::new(b"a secret");
    (store, AnswerCache::new(Arc::new(dispatch), names))
}

#[tokio::test]
async fn a_card_that_was_seen_outlives_its_eviction() {
    let (store, cache) = stored();
    let key = KeyHasher::new("test", 1).finish();
    let (name, now) = (Card::name(&cache, &key), Instant::now());
    card().keep(&cache, &name).await;
    let (seen, other) = (Cards::default(), Cards::default());
    assert_eq!(seen.find(&cache, &key, now).await, Some(card()));
    assert!(store.remove(&name).await.unwrap());
    assert_eq!(seen.find(&cache, &key, now).await, Some(card()));
    assert_eq!(seen.seen(&name), Some(card()));
    assert_eq!(other.find(&cache, &key, now).await, None);
}

#[tokio::test]
async fn a_card_that_was_not_there_is_soon_looked_for_again() {
    let (_, cache) = stored();
    let key = KeyHasher::new("test", 1).finish();
    let (name, now) = (Card::name(&cache, &key), Instant::now());
    let cards = Cards::default();
    assert_eq!(cards.find(&cache, &key, now).await, None);
    // By another server.
    card().keep(&cache, &name).await;
    let just_before = now + ABSENCE - Duration::from_millis(1);
    assert_eq!(cards.find(&cache, &key, just_before).await, None);
    assert_eq!(cards.find(&cache, &key, now + ABSENCE).await, Some(card()));
}

#[tokio::test]
async fn a_card_of_our_own_is_there_at_once() {
    let (_, cache) = stored();
    let key = KeyHasher::new("test", 1).finish();
    let now = Instant::now();
    let cards = Cards::default();
    assert_eq!(cards.find(&cache, &key, now).await, None);
    cards.remember(Card::name(&cache, &key), card());
    assert_eq!(cards.find(&cache, &key, now).await, Some(card()));
}
