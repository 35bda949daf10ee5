//! Answers that are on their way while something is deleted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::SystemClock;
use fingerpost_snapshot::Hash;
use parking_lot::Mutex;
use rand::RngExt as _;
use tokio::time::sleep;

use super::server::{Server, hash};
use super::world::{World, eventually};
use crate::following::{Followed, Heard};
use crate::state::DeletionEpoch;

/// Who remembers answers, as [`Heard`] says that it must be done.
#[derive(Default)]
struct Remembering {
    epoch: Mutex<Option<DeletionEpoch>>,
    answers: Mutex<HashMap<Hash, Hash>>,
}

impl Heard for Remembering {
    fn moved(&self, epoch: DeletionEpoch) {
        *self.epoch.lock() = Some(epoch);
    }

    fn changed(&self, _: &str, taskhash: &Hash, _: Option<Hash>) {
        self.answers.lock().remove(taskhash);
    }

    fn all_gone(&self) {
        self.answers.lock().clear();
    }

    async fn settle(&self) -> bool {
        true
    }
}

impl Remembering {
    fn may_keep(&self, of: DeletionEpoch) -> bool {
        let now = *self.epoch.lock();
        now.is_some_and(|now| now.history == of.history && now.epoch <= of.epoch)
    }

    fn put(&self, of: DeletionEpoch, taskhash: Hash, unihash: Hash) {
        if self.may_keep(of) {
            self.answers.lock().insert(taskhash, unihash);
            if !self.may_keep(of) {
                self.answers.lock().remove(&taskhash);
            }
        }
    }
}

async fn ask(server: Server, memory: Arc<Remembering>, number: u32) {
    let pause = |most: u64| sleep(Duration::from_micros(rand::rng().random_range(0..most)));
    let epoch = server.epoch();
    pause(200).await;
    let unihash = server.row(number);
    // Some come when the deletion was heard of, and some long after.
    pause(20_000).await;
    if let Some(unihash) = unihash {
        memory.put(epoch, hash(number), unihash);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_brings_back_what_was_deleted() {
    const ROWS: u32 = 8;
    let server = Server::with_rows(ROWS);
    let world = World::new(server.clone());
    let memory = Arc::new(Remembering::default());
    let clock = Arc::new(SystemClock);
    let options = world.options.clone();
    let followed = Followed::start(server.clone(), Arc::clone(&memory), options, clock).await;
    eventually("it is current", || followed.is_current()).await;
    let mut asking = tokio::task::JoinSet::new();
    for round in 0..400 {
        let number = round % ROWS;
        for _ in 0..3 {
            asking.spawn(ask(server.clone(), Arc::clone(&memory), number));
        }
        sleep(Duration::from_micros(rand::rng().random_range(0..2000))).await;
        // A cut stream tells of the row and not yet of the epoch.
        if round % 3 == 0 {
            server.inner(|inner| inner.cut_after = Some(1));
        }
        server.delete(number);
        if round < 400 - ROWS {
            server.add(number);
        }
    }
    while asking.join_next().await.is_some() {}
    let position = server.inner(|inner| inner.position);
    eventually("all was heard of", || {
        followed.status().position >= Some(position)
    })
    .await;
    assert_eq!(*memory.answers.lock(), HashMap::new());
}
