use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::*;
use crate::testing::{contract, entry_name, fetch, noise};
use crate::{Disk, Fault, Faulty, Memory};

/// Two stores in memory that fail on command, the faster one first.
struct World {
    stores: [Arc<Faulty>; 2],
    tiers: Tiers,
}

const DEADLINE: Duration = Duration::from_millis(100);
/// Long enough that a test does not see its end by chance.
const PAUSE: Duration = Duration::from_secs(1);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

fn rules() -> TierRules {
    TierRules {
        look_up_deadline: DEADLINE,
        read_deadline: DEADLINE,
        store_deadline: DEADLINE,
        breaker: BreakerConfig {
            failures: 3,
            pause: PAUSE,
            pause_max: 2 * PAUSE,
        },
        ..TierRules::default()
    }
}

impl World {
    fn new() -> Self {
        Self::with([rules(), rules()])
    }

    fn with(rules: [TierRules; 2]) -> Self {
        let store = || Arc::new(Faulty::new(Arc::new(Memory::new(64 << 20))));
        let stores = [store(), store()];
        let tiers = stores.iter().zip(rules).map(|(store, rules)| Tier {
            cacher: store.clone(),
            rules,
        });
        let tiers = Tiers::new(tiers.collect());
        Self { stores, tiers }
    }

    async fn put(&self, number: u64, len: usize) {
        let (name, content) = (entry_name(number), Arc::new(noise(len)));
        self.tiers.store(&name, content).await.unwrap();
    }

    async fn get(&self, number: u64) -> Option<Bytes> {
        fetch(&self.tiers, &entry_name(number)).await.unwrap()
    }

    /// Whether a store has an entry, asked past its fault.
    async fn holds(&self, store: usize, number: u64) -> bool {
        self.stores[store].set(Fault::None);
        let found = self.stores[store].look_up(&entry_name(number)).await;
        found.unwrap().is_some()
    }

    async fn until_holds(&self, store: usize, number: u64, expected: bool) {
        for _ in 0..10_000 {
            if self.holds(store, number).await == expected {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("nothing happens in the background");
    }

    fn metrics(&self) -> String {
        let mut registry = Registry::with_prefix("fingerpost");
        self.tiers.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[track_caller]
    fn counts(&self, line: &str) {
        let text = self.metrics();
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn keep_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(fingerpost_core::SystemClock);
    let disk = Disk::open(root.path(), 1 << 30, clock).unwrap();
    let tier = |cacher| Tier {
        cacher,
        rules: TierRules::default(),
    };
    // Small entries fit the first, all of them the second.
    let memory = Arc::new(Memory::new(4 << 20));
    let tiers = Tiers::new(vec![tier(memory), tier(Arc::new(disk))]);
    contract(&tiers).await;
}

#[tokio::test]
async fn what_is_found_behind_is_promoted() {
    let world = World::new();
    let name = entry_name(1);
    world.stores[1]
        .store(&name, Arc::new(noise(9000)))
        .await
        .unwrap();
    assert_eq!(world.get(1).await, Some(noise(9000)));
    world.until_holds(0, 1, true).await;
    let asked = world.stores[1].calls();
    assert_eq!(world.get(1).await, Some(noise(9000)));
    assert_eq!(world.stores[1].calls(), asked, "the first tier has it");
}

#[tokio::test]
async fn rules_say_what_goes_where() {
    let first = TierRules {
        lengths: 10..=100,
        ..rules()
    };
    let second = TierRules {
        promote: false,
        ..rules()
    };
    let world = World::with([first, second]);
    for (number, len) in [(1, 9), (2, 10), (3, 100), (4, 101)] {
        world.put(number, len).await;
        assert_eq!(world.holds(0, number).await, (10..=100).contains(&len));
        assert!(world.holds(1, number).await);
    }
    world.stores[0].remove(&entry_name(2)).await.unwrap();
    assert!(world.get(2).await.is_some());
    sleep(Duration::from_millis(20)).await;
    assert!(!world.holds(0, 2).await, "not promoted");

    let read_only = TierRules {
        write: false,
        ..rules()
    };
    let world = World::with([rules(), read_only]);
    world.put(1, 10).await;
    assert!(world.holds(0, 1).await && !world.holds(1, 1).await);
}

#[tokio::test]
async fn a_hung_tier_delays_by_its_deadline_and_is_left_alone_then() {
    let world = World::new();
    world.put(1, 1000).await;
    world.stores[0].set(Fault::Hang);
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(world.get(1).await, Some(noise(1000)));
        assert!(began.elapsed() >= DEADLINE && began.elapsed() < DEADLINE + SLACK);
    }
    let asked = world.stores[0].calls();
    for _ in 0..7 {
        assert_eq!(world.get(1).await, Some(noise(1000)));
    }
    assert_eq!(world.stores[0].calls(), asked, "left alone");
    world.counts("fingerpost_cache_suspended{tier=\"memory\",work=\"look_up\"} 1");
    world.stores[0].set(Fault::None);
    sleep(PAUSE).await;
    let asked = world.stores[1].calls();
    assert!(world.get(1).await.is_some());
    assert_eq!(world.stores[1].calls(), asked, "the first tier is back");
}

#[tokio::test]
async fn failing_tiers_fail_no_call() {
    let world = World::new();
    for store in &world.stores {
        store.set(Fault::Fail);
    }
    for number in 0..10 {
        world.put(number, 10).await;
        assert_eq!(world.get(number).await, None);
        assert!(!world.tiers.remove(&entry_name(number)).await.unwrap());
    }
    // Three look-ups or removals and three stores each, then they have peace.
    assert_eq!(world.stores[0].calls(), 6);
}

#[tokio::test]
async fn one_tier_down_leaves_the_other() {
    let world = World::new();
    world.stores[0].set(Fault::Hang);
    let began = Instant::now();
    world.put(1, 10).await;
    assert!(began.elapsed() < DEADLINE + SLACK);
    assert!(world.holds(1, 1).await && !world.holds(0, 1).await);
}

#[tokio::test]
async fn reads_that_fail_count_against_the_tier() {
    reads_count_against_the_tier(Fault::FailReads).await;
}

#[tokio::test]
async fn reads_that_hang_count_against_the_tier() {
    reads_count_against_the_tier(Fault::HangReads).await;
}

async fn reads_count_against_the_tier(fault: Fault) {
    let (world, name) = (World::new(), entry_name(1));
    world.put(1, 10).await;
    world.stores[0].set(fault);
    for _ in 0..3 {
        let began = Instant::now();
        assert!(fetch(&world.tiers, &name).await.is_err());
        assert!(began.elapsed() < DEADLINE + SLACK);
    }
    assert!(world.get(1).await.is_some(), "from the second tier");
    world.counts("fingerpost_cache_suspended{tier=\"memory\",work=\"read\"} 1");
    // After the pause one reader tries for all.
    sleep(PAUSE).await;
    assert!(fetch(&world.tiers, &name).await.is_err());
    assert!(world.get(1).await.is_some());
    world.stores[0].set(Fault::None);
    sleep(2 * PAUSE).await;
    let asked = world.stores[1].calls();
    assert!(world.get(1).await.is_some());
    assert_eq!(world.stores[1].calls(), asked, "the first tier is back");
}

#[tokio::test]
async fn a_damaged_entry_is_removed() {
    let world = World::new();
    world.put(1, 10).await;
    world.stores[0].set(Fault::Damage);
    let name = entry_name(1);
    let result = fetch(&world.tiers, &name).await;
    assert!(matches!(result, Err(CacherError::Damaged(_))));
    world.until_holds(0, 1, false).await;
    assert!(world.get(1).await.is_some());
    world.counts("fingerpost_cache_failures_total{tier=\"memory\",kind=\"damaged\"} 1");
}

/// A content of which each read takes its time, or that fails.
struct Slow(Duration, bool);

impl Content for Slow {
    fn len(&self) -> u64 {
        5
    }

    fn read(&self, _: u64, _: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(async move {
            sleep(self.0).await;
            if self.1 {
                return Err(CacherError::Other("gone".to_owned()));
            }
            Ok(Bytes::from_static(b"x"))
        })
    }
}

#[tokio::test]
async fn a_slow_or_failing_content_is_not_the_tiers_fault() {
    let world = World::new();
    let slow = Arc::new(Slow(2 * DEADLINE, false));
    world.tiers.store(&entry_name(1), slow).await.unwrap();
    assert_eq!(world.get(1).await, Some(Bytes::from_static(b"xxxxx")));
    for _ in 0..5 {
        let failing = Arc::new(Slow(Duration::ZERO, true));
        world.tiers.store(&entry_name(2), failing).await.unwrap();
    }
    assert_eq!(world.get(2).await, None);
    world.counts("fingerpost_cache_suspended{tier=\"memory\",work=\"store\"} 0");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let world = World::new();
    world.put(1, 1000).await;
    assert!(world.get(1).await.is_some());
    assert!(world.get(2).await.is_none());
    // Both are called memory here, so they count together.
    world.counts("fingerpost_cache_hits_total{tier=\"memory\"} 1");
    world.counts("fingerpost_cache_misses_total{tier=\"memory\"} 2");
    world.counts("fingerpost_cache_stored_total{tier=\"memory\"} 2");
    world.counts("fingerpost_cache_stored_bytes_total{tier=\"memory\"} 2000");
    world.counts("fingerpost_cache_entries{tier=\"memory\"} 1");
    world.counts("fingerpost_cache_bytes{tier=\"memory\"} 1128");
    world.counts("fingerpost_cache_promotions_skipped_total 0");
}
