use fingerpost_core::testing::Shelf;
use fingerpost_core::{
    Cacher, CacherError, Dispatch, DispatchOptions, EntryNames, Follower, KeyHasher, Redirect,
    RedirectTarget,
};
use futures_util::future::BoxFuture;

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

#[tokio::test]
async fn a_card_that_was_seen_outlives_its_eviction() {
    let store = Arc::new(Shelf::default());
    let dispatch = Dispatch::new(Arc::clone(&store) as _, DispatchOptions::default());
    let cache = AnswerCache::new(Arc::new(dispatch), EntryNames::new(b"a secret"));
    let key = KeyHasher::new("test", 1).finish();
    let redirecting = || Redirecting::new(Arc::new(NoTargets), SpoolOptions::default());
    let (seen, other) = (redirecting(), redirecting());
    assert_eq!(seen.card(&cache, &key).await, None);
    card().keep(&cache, &Card::name(&cache, &key)).await;
    assert_eq!(seen.card(&cache, &key).await, Some(card()));
    assert!(store.remove(&Card::name(&cache, &key)).await.unwrap());
    assert_eq!(seen.card(&cache, &key).await, Some(card()));
    assert_eq!(other.card(&cache, &key).await, None);
}

struct NoTargets;

impl Redirects for NoTargets {
    fn advertised(&self, _: &Follower) -> Vec<RedirectTarget> {
        Vec::new()
    }

    fn would_take(&self, _: &Following, _: Option<ContentCoding>, _: Option<u64>) -> bool {
        false
    }

    fn find<'a>(&'a self, _: &'a Following, _: &'a EntryForm) -> BoxFuture<'a, Option<Redirect>> {
        Box::pin(async { None })
    }

    fn publish<'a>(
        &'a self,
        _: &'a Following,
        _: &'a EntryForm,
        _: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async { Ok(()) })
    }
}
