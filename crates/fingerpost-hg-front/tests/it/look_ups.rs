//! How often a store is asked, which may be far away.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fingerpost_core::testing::Shelf;
use fingerpost_core::{
    Cacher, CacherError, Content, Dispatch, DispatchOptions, EntryName, EntryNames, SpoolOptions,
};
use fingerpost_hg_front::AnswerCache;
use futures_util::future::BoxFuture;

use crate::client::{Told, call_following, follows};
use crate::places::Places;
use crate::replay::Message;
use crate::world::{World, examples};

/// A store that knows what it was asked for.
#[derive(Default)]
struct Counting {
    shelf: Shelf,
    asked: Mutex<Vec<EntryName>>,
}

impl Counting {
    /// Look-ups since the last time.
    fn look_ups(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).len()
    }
}

impl Cacher for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn look_up<'a>(
        &'a self,
        name: &'a EntryName,
    ) -> BoxFuture<'a, Result<Option<Arc<dyn Content>>, CacherError>> {
        self.asked.lock().unwrap().push(*name);
        self.shelf.look_up(name)
    }

    fn store<'a>(
        &'a self,
        name: &'a EntryName,
        content: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        self.shelf.store(name, content)
    }

    fn remove<'a>(&'a self, name: &'a EntryName) -> BoxFuture<'a, Result<bool, CacherError>> {
        self.shelf.remove(name)
    }
}

/// A server of the recorded repository with this store and this target.
fn door(world: &mut World, store: &Arc<Counting>, places: &Arc<Places>) -> axum::Router {
    let options = DispatchOptions::default();
    let dispatch = Dispatch::new(Arc::clone(store) as Arc<_>, options);
    let cache = AnswerCache::new(Arc::new(dispatch), EntryNames::new(b"a secret"));
    let targets = Arc::clone(places) as Arc<_>;
    world.cache = Some(cache.redirecting_to(targets, SpoolOptions::default()));
    world.door()
}

async fn ask(door: &axum::Router) -> Told {
    let path = examples().join("94-redirect-miss.req");
    let mut request = Message::read(&path).command();
    request.redirect = Some(follows(&["cdn-a"], &[]));
    let told = call_following(door, "mercurial", &request).await;
    assert_eq!(told.complaint(), None);
    told
}

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_asked_once_for_an_answer_and_once_for_its_card() {
    let mut world = World::recorded("sample-dothg", "[phases]\npublish = no\n");
    let store = Arc::new(Counting::default());
    let places = Arc::new(Places::new(vec![Places::target("cdn-a")]));
    let first = door(&mut world, &store, &places);
    let entries = || store.shelf.names();

    let cold = ask(&first).await;
    assert!(cold.redirect.is_none());
    assert_eq!(store.look_ups(), 2, "the answer and its card, at once");
    until(|| entries().len() == 1).await;
    let answer = entries()[0];

    // It is put to the target, which adds a card.
    assert_eq!(ask(&first).await, cold);
    assert_eq!(store.look_ups(), 1, "the card was missing just now");
    until(|| entries().len() == 2).await;
    store.look_ups();
    let there = ask(&first).await.redirect;
    assert!(there.is_some());
    assert_eq!(store.look_ups(), 0, "it is known where it lies");

    // Another server finds out as soon as it is asked, whether the stores still
    // have the answer or only its card.
    for removes in [false, true] {
        if removes {
            assert!(store.remove(&answer).await.unwrap());
        }
        let other = door(&mut world, &store, &places);
        for look_ups in [2, 0] {
            assert_eq!(ask(&other).await.redirect, there);
            assert_eq!(store.look_ups(), look_ups);
        }
    }
}
