use fingerpost_core::testing::Shelf;
use fingerpost_core::{
    Audience, Cacher as _, CacherError, Dispatch, DispatchOptions, EntryForm, EntryNames, Follower,
    KeyHasher, Redirect, RedirectTarget, Redirects, SpoolOptions,
};
use futures_util::future::BoxFuture;

use super::*;

/// A target that takes everything once its gate is open.
struct Gate {
    open: Semaphore,
    published: Mutex<Vec<EntryName>>,
}

/// Answers of a store on their way to it.
struct World {
    gate: Arc<Gate>,
    store: Arc<Shelf>,
    cache: AnswerCache,
    redirecting: Arc<Redirecting>,
}

impl World {
    fn new(wait_max: Duration) -> Self {
        let gate = Arc::new(Gate {
            open: Semaphore::new(0),
            published: Mutex::default(),
        });
        let store = Arc::new(Shelf::default());
        let dispatch = Dispatch::new(Arc::clone(&store) as _, DispatchOptions::default());
        let mut redirecting = Redirecting::new(Arc::clone(&gate) as _, SpoolOptions::default());
        redirecting.queue.wait_max = wait_max;
        Self {
            gate,
            store,
            cache: AnswerCache::new(Arc::new(dispatch), EntryNames::new(b"a secret")),
            redirecting: Arc::new(redirecting),
        }
    }

    /// Has a stored answer put; its name.
    async fn put(&self, number: usize) -> EntryName {
        let mut key = KeyHasher::new("test", 1);
        key.part(&number.to_be_bytes());
        let key = key.finish();
        let entry = form_name(&self.cache, &key, None);
        let content: Arc<dyn Content> = Arc::new(bytes::Bytes::from(number.to_string()));
        let stored = self.store.store(&entry, Arc::clone(&content)).await;
        stored.unwrap();
        let putting = Putting {
            redirecting: Arc::clone(&self.redirecting),
            cache: self.cache.clone(),
            key,
            entry,
            encoding: ContentEncoding::Identity,
            coding: None,
            work: Duration::ZERO,
            following: Following {
                client: Follower {
                    address: None,
                    is_stock: true,
                },
                targets: Vec::new(),
                audience: Audience::Anyone,
            },
        };
        putting.start(&content, &Handle::current());
        entry
    }

    fn published(&self) -> usize {
        self.gate.published.lock().len()
    }

    fn is_under_way(&self, name: &EntryName) -> bool {
        self.redirecting.queue.under_way.lock().contains(name)
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_place_waits_for_one() {
    let world = World::new(LONG);
    let all = PLACES + WAITING_MAX;
    for number in 0..all {
        world.put(number).await;
    }
    let refused = world.put(all).await;
    assert!(!world.is_under_way(&refused), "too many wait");
    world.gate.open.add_permits(all + 1);
    until(|| world.published() == all).await;
    assert!(!world.gate.published.lock().contains(&refused));
    world.put(all).await;
    until(|| world.published() == all + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_too_long_may_come_again() {
    let world = World::new(Duration::from_millis(1));
    for number in 0..PLACES {
        world.put(number).await;
    }
    let waits = world.put(PLACES).await;
    until(|| !world.is_under_way(&waits)).await;
    world.gate.open.add_permits(PLACES + 1);
    until(|| world.published() == PLACES).await;
    // A place is given back a moment after the target has it.
    until(|| world.redirecting.queue.places.available_permits() == PLACES).await;
    world.put(PLACES).await;
    until(|| world.published() == PLACES + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_evicted_while_it_waits_is_left_out() {
    let world = World::new(LONG);
    for number in 0..PLACES {
        world.put(number).await;
    }
    let evicted = world.put(PLACES).await;
    world.put(PLACES + 1).await;
    assert!(world.store.remove(&evicted).await.unwrap());
    world.gate.open.add_permits(PLACES + 2);
    until(|| world.published() == PLACES + 1).await;
    until(|| !world.is_under_way(&evicted)).await;
    assert!(!world.gate.published.lock().contains(&evicted));
}

impl Redirects for Gate {
    fn advertised(&self, _: &Follower) -> Vec<RedirectTarget> {
        Vec::new()
    }

    fn would_take(&self, _: &Following, _: Option<ContentCoding>, _: Option<u64>) -> bool {
        true
    }

    fn find<'a>(&'a self, _: &'a Following, _: &'a EntryForm) -> BoxFuture<'a, Option<Redirect>> {
        Box::pin(async { None })
    }

    fn publish<'a>(
        &'a self,
        _: &'a Following,
        form: &'a EntryForm,
        _: Arc<dyn Content>,
    ) -> BoxFuture<'a, Result<(), CacherError>> {
        Box::pin(async move {
            self.open.acquire().await.unwrap().forget();
            self.published.lock().push(form.name);
            Ok(())
        })
    }
}
