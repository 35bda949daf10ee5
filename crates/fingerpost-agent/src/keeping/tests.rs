use fingerpost_signatures::{KeyRing, Policy};

use super::*;
use crate::TrustOptions;
use crate::following::Heard as _;
use crate::state::tests::{task, unihash};
use crate::testing::{EPOCH, known_here, options_with_one};

#[tokio::test]
async fn what_was_kept_unjudged_is_not_answered_where_signatures_are_required() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options_with_one(directory.path()).await;
    options.trust = Some(TrustOptions {
        policy: Policy::Require,
        ring: KeyRing::default(),
        signer: None,
        fallbacks: Vec::new(),
    });
    let agent = Namespaces::start(&options).await.unwrap();
    let shared = &agent.first;
    assert_eq!(known_here(shared, 1).await, None);
    shared.kept.as_ref().unwrap().listener.settle().await;
    assert_eq!(known_here(shared, 1).await, None);
}

#[tokio::test]
async fn while_a_drive_hangs_no_more_look_ups_hang_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Namespaces::start(&options_with_one(directory.path()).await)
        .await
        .unwrap();
    let shared = &agent.first;
    shared.kept.as_ref().unwrap().listener.settle().await;
    let kept = shared.kept.as_ref().unwrap();
    let places = u32::try_from(FILES_READ).unwrap();
    let hanging = kept.reading.acquire_many(places).await.unwrap();
    // The rest goes on without the snapshot.
    assert_eq!(known_here(shared, 1).await, Some(unihash(1)));
    drop(hanging);
    assert_eq!(known_here(shared, 1).await, Some(unihash(1)));
    assert_eq!(kept.reading.available_permits(), FILES_READ);
    // Whoever has a server to ask does without the drive for a while.
    let asked = async |else_answers| {
        let mut batch = Batch::new(vec![task(1)]);
        shared.look_at_what_is_kept(&mut batch, else_answers).await;
        batch.is_answered()
    };
    assert!(!asked(true).await && asked(false).await);
}

#[tokio::test]
async fn what_is_much_is_written_though_nobody_tends_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let options = options_with_one(directory.path()).await;
    let agent = Arc::new(Namespaces::start(&options).await.unwrap());
    tokio::spawn(store(Arc::downgrade(&agent)));
    agent.first.kept.as_ref().unwrap().listener.settle().await;
    let answers = (2..1002).map(|number| (task(number), unihash(number)));
    let answers: Vec<_> = answers.collect();
    let pairs = answers.iter().map(|(task, unihash)| (task, Some(unihash)));
    agent.first.keep(Some(EPOCH), pairs);
    let is_written = async {
        while known_here(&agent.first, 1001).await.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), is_written).await.unwrap();
}

#[test]
fn an_answer_is_good_for_a_time_without_the_server() {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    let max = hours(24).unwrap();
    for (offline, age, expect) in [
        (hours(1), hours(100), true),
        (hours(25), hours(100), false),
        // It was given after the last word of deletions.
        (hours(25), hours(1), true),
        (None, hours(1), true),
        (None, hours(25), false),
        (hours(1), None, true),
        (None, None, false),
    ] {
        assert_eq!(is_within(max, offline, age), expect, "{offline:?} {age:?}");
    }
}
