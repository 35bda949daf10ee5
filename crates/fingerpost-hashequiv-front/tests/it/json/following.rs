//! Hosts that follow a namespace, many at a time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fingerpost_snapshot::Change;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::{Json, hash};
use crate::world::PATIENCE;

const WAITERS: usize = 300;
/// More than a waiter would ask alone, by far less than all would.
const QUESTIONS_MAX: u64 = WAITERS as u64 / 2;

impl Json {
    /// Jobs that the database's readers had.
    fn questions(&self) -> u64 {
        let metrics = self.world.database.metrics();
        metrics.read_jobs.load(Ordering::Relaxed)
    }

    /// Waits until this many wait for changes.
    async fn wait_for_waiters(&self, count: usize) {
        let all_wait = async {
            while !self
                .metrics()
                .contains(&format!("http_in_flight {count}\n"))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, all_wait).await.expect("all wait");
    }
}

#[tokio::test]
async fn who_says_no_position_is_told_what_comes_from_now_on() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    json.remove('1').await;
    let (changes, now) = json.changes("").await;
    assert_eq!((changes.len(), now), (0, json.changes("since=0").await.1));
    // Its first line has the epoch that holds now.
    let told = json.get("GET", "/v1/changes", &[]).await;
    let first = format!(
        "{{\"format\":\"fingerpost-changes-v1\",\"namespace\":\"default\",\"epoch\":1,\"position\":{now}}}\n"
    );
    assert!(told.body.starts_with(first.as_bytes()), "{:?}", told.body);
    let waiting = json.changes("wait=30");
    let reporting = async {
        json.wait_for_waiters(1).await;
        json.report('2', 'a', 'd').await
    };
    let ((changes, _), _) = tokio::join!(waiting, reporting);
    assert!(matches!(&changes[..], [Change::Adopted { position, .. }] if *position == now + 1));
}

#[tokio::test]
async fn deletions_alone_pass_over_additions() {
    let json = Json::new().await;
    for digit in '1'..='5' {
        json.report(digit, digit, 'd').await;
    }
    let (changes, end) = json.changes("since=0&only=deletions").await;
    assert_eq!((changes, end), (Vec::new(), 5));
    json.remove('2').await;
    json.report('6', '6', 'd').await;
    let (changes, end) = json.changes("since=0&only=deletions").await;
    let [
        Change::Deleted { taskhash, .. },
        Change::Epoch { epoch: 1, .. },
    ] = &changes[..]
    else {
        panic!("{changes:?}");
    };
    assert_eq!(faster_hex::hex_string(taskhash), hash('2'));
    assert_eq!(end, json.changes("").await.1);
    // One at a time, with the additions between.
    let (first, until) = json.changes("since=0&only=deletions&limit=1").await;
    assert_eq!(first, changes[..1]);
    let rest = json.changes(&format!("since={until}&only=deletions")).await;
    assert_eq!(rest, (changes[1..].to_vec(), end));
}

/// Before, each of them asked every 200 ms.
#[tokio::test]
async fn many_who_wait_share_one_look() {
    let json = Json::new().await;
    json.report('1', 'a', 'd').await;
    let (_, start) = json.changes("").await;
    // All but the first ones find what was looked at for somebody else.
    let query = format!("since={start}&only=deletions&wait=1");
    let before = json.questions();
    let first = json.changes(&query);
    let others = async {
        let looked = async {
            while json.questions() < before + 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, looked).await.expect("looked at");
        let waiting = join_all((0..WAITERS).map(|_| json.changes(&query)));
        // Additions wake nobody, and `end` has them all the same.
        tokio::join!(waiting, json.report('2', 'b', 'e')).0
    };
    let (_, others) = tokio::join!(first, others);
    let asked = json.questions() - before;
    assert!(asked < QUESTIONS_MAX, "{asked} questions");
    for (changes, end) in others {
        assert_eq!((changes, end), (Vec::new(), start + 1));
    }

    // All are told of one deletion, which was read once.
    let query = format!("since={start}&only=deletions&wait=30");
    let before = json.questions();
    let waiting = join_all((0..WAITERS).map(|_| json.changes(&query)));
    let removing = async {
        json.wait_for_waiters(WAITERS).await;
        let asked = json.questions() - before;
        json.remove('1').await;
        (asked, json.questions())
    };
    let (told, (asked, before)) = tokio::join!(waiting, removing);
    let woken = json.questions().saturating_sub(before);
    assert!(
        asked + woken < QUESTIONS_MAX,
        "{asked} and {woken} questions"
    );
    for (changes, _) in &told {
        assert_eq!(changes, &told[0].0);
        assert!(matches!(
            changes[..],
            [Change::Deleted { .. }, Change::Epoch { .. }]
        ));
    }
}

#[tokio::test]
async fn who_waits_is_let_go_when_the_server_begins_to_stop() {
    let json = Json::new().await;
    let (_, end) = json.changes("").await;
    let query = format!("since={end}&wait=30");
    let waiting = join_all((0..20).map(|_| json.changes(&query)));
    let stopping = async {
        json.wait_for_waiters(20).await;
        json.world.shutdown.begin();
        Instant::now()
    };
    let (told, began) = tokio::join!(waiting, stopping);
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "not after the wait"
    );
    assert!(told.iter().all(|told| *told == (Vec::new(), end)));
    // Nobody begins to wait any more.
    let (changes, _) = json.changes(&query).await;
    assert!(changes.is_empty() && began.elapsed() < Duration::from_secs(15));
}
