//! A disk whose calls do not return: nobody waits for it longer than it takes to
//! notice, and it is used again when it is back.

use tokio::time::{Instant, timeout};

use super::*;
use crate::breaker::BreakerConfig;
use crate::{Tier, TierRules, Tiers};

const DEADLINE: Duration = Duration::from_millis(100);
/// Long enough that a test does not see its end by chance.
const PAUSE: Duration = Duration::from_secs(1);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);
/// Three blocks of what is written at once.
const BIG: usize = 3 << 20;

/// Makes every call of a disk hang until it is dropped.
struct Hung(Arc<Store>);

impl Hung {
    fn new(disk: &Disk) -> Self {
        let hung = Self(Arc::clone(&disk.store));
        hung.shut(true);
        hung
    }

    fn shut(&self, is_shut: bool) {
        self.0.reads.gate.shut(is_shut);
        self.0.writes.gate.shut(is_shut);
    }

    /// Threads that it holds for look-ups and reading, and for everything else.
    fn held(&self) -> [usize; 2] {
        [self.0.reads.gate.held(), self.0.writes.gate.held()]
    }

    /// Calls that the disk was asked for so far.
    fn came(&self) -> usize {
        self.0.reads.gate.came() + self.0.writes.gate.came()
    }
}

/// Whatever fails, the runtime waits for its threads.
impl Drop for Hung {
    fn drop(&mut self) {
        self.shut(false);
    }
}

/// The store as a tier that is left alone after three failures.
fn tier(disk: Disk) -> Tiers {
    let rules = TierRules {
        look_up_deadline: DEADLINE,
        read_deadline: DEADLINE,
        store_deadline: DEADLINE,
        breaker: BreakerConfig {
            failures: 3,
            pause: PAUSE,
            pause_max: PAUSE,
        },
        ..TierRules::default()
    };
    Tiers::new(vec![Tier {
        cacher: Arc::new(disk),
        rules,
    }])
}

/// What the work gives, which must take the deadline and not much more.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let given = work.await;
    let took = began.elapsed();
    assert!(took >= DEADLINE && took < DEADLINE + SLACK, "{took:?}");
    given
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_look_up_is_a_miss_in_time_then_costs_nothing_and_works_when_the_disk_is_back() {
    let world = World::new(64 << 20).await;
    world.put(1, 1000).await.unwrap();
    let hung = Hung::new(&world.disk);
    let tiers = tier(world.disk);
    let name = entry_name(1);
    let is_there = async || fetch(&tiers, &name).await.unwrap().is_some();
    for _ in 0..3 {
        assert!(!in_time(is_there()).await);
    }
    // On threads, which may be late.
    until("all hang", async || hung.held() == [3, 0]).await;
    let (came, began) = (hung.came(), Instant::now());
    for _ in 0..1000 {
        assert!(!is_there().await);
    }
    assert!(began.elapsed() < PAUSE, "it was asked again");
    assert_eq!(hung.came(), came, "left alone");
    // After the pause one tries for all; it hangs as well.
    tokio::time::sleep(PAUSE).await;
    let (first, second) = tokio::join!(in_time(is_there()), is_there());
    assert!(!first && !second);
    until("it hangs", async || hung.held() == [4, 0]).await;
    assert_eq!(hung.came(), came + 1);
    hung.shut(false);
    until("the tier is back", is_there).await;
    until("none hangs", async || hung.held() == [0, 0]).await;
}

#[tokio::test]
async fn reading_and_storing_and_removing_end_in_time() {
    let world = World::new(64 << 20).await;
    world.put(1, BIG).await.unwrap();
    let hung = Hung::new(&world.disk);
    let tiers = tier(world.disk);
    hung.shut(false);
    let name = entry_name(1);
    let content = tiers.look_up(&name).await.unwrap().unwrap();
    hung.shut(true);
    let read = in_time(content.read(BIG as u64 / 2, 10)).await;
    assert!(matches!(read, Err(CacherError::TimedOut(_))), "{read:?}");
    assert!(!in_time(tiers.remove(&name)).await.unwrap());
    let other = entry_name(2);
    let storing = tiers.store(&other, Arc::new(noise(BIG)));
    // It may have read on once before it hung.
    let began = Instant::now();
    storing.await.unwrap();
    assert!(began.elapsed() < 3 * DEADLINE + SLACK);
    drop(content);
    hung.shut(false);
    // What was given up is not there by halves, what was removed is gone.
    until("all is done", async || hung.held() == [0, 0]).await;
    until("the entry is gone", async || {
        tiers.look_up(&name).await.unwrap().is_none()
    })
    .await;
    assert!(tiers.look_up(&other).await.unwrap().is_none());
    tiers.store(&other, Arc::new(noise(BIG))).await.unwrap();
    assert!(fetch(&tiers, &other).await.unwrap() == Some(noise(BIG)));
}

#[tokio::test]
async fn callers_give_up_and_threads_do_not_become_more() {
    let world = World::new(64 << 20).await;
    world.put(1, 1000).await.unwrap();
    let hung = Hung::new(&world.disk);
    let callers = (0..1000).map(|number| {
        let world = &world;
        async move {
            let asked = timeout(DEADLINE, world.has(number)).await;
            let stored = timeout(DEADLINE, world.put(number, 10)).await;
            assert!(asked.is_err() && stored.is_err());
        }
    });
    futures_util::future::join_all(callers).await;
    let all = [READS_MAX, WRITES_MAX];
    until("all hang", async || hung.held() == all).await;
    assert_eq!(hung.came(), 1 + READS_MAX + WRITES_MAX, "others wait");
    hung.shut(false);
    assert!(world.has(1).await);
    // Nothing of those who gave up is done.
    until("all is done", async || hung.held() == [0, 0]).await;
    assert_eq!(hung.came(), 2 + READS_MAX + WRITES_MAX);
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn who_gives_up_a_store_does_not_wait_for_what_it_leaves() {
    let world = World::new(64 << 20).await;
    let name = entry_name(1);
    // The content hangs after its first pieces, and then the disk does.
    let mut storing = world.disk.store(&name, Arc::new(Hanging));
    assert!(timeout(3 * DEADLINE, &mut storing).await.is_err());
    assert_eq!(world.temporaries(), 1);
    let hung = Hung::new(&world.disk);
    drop(storing);
    until("its removal hangs", async || hung.held() == [0, 1]).await;
    assert_eq!(world.temporaries(), 1);
    hung.shut(false);
    nothing_is_left(&world).await;
}
