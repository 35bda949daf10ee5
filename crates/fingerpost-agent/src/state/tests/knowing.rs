use futures_util::FutureExt as _;

use super::*;

const FIRST: DeletionEpoch = DeletionEpoch {
    history: [1; 16],
    epoch: 5,
};

fn answers(numbers: std::ops::Range<u64>) -> Vec<(Task, Unihash)> {
    numbers
        .map(|number| (task(number), unihash(number)))
        .collect()
}

async fn known(state: &State, numbers: &[u64]) -> Vec<Option<Unihash>> {
    let tasks = numbers.iter().map(|number| task(*number)).collect();
    let known = state.recall("", tasks).await.unwrap();
    known
        .into_iter()
        .map(|known| known.map(|known| known.unihash))
        .collect()
}

async fn with_answers(host: &Host) -> State {
    let state = host.open().await;
    state.set_epoch("", FIRST, Vec::new()).await.unwrap();
    state.remember("", FIRST, answers(1..4));
    state.tend().await.unwrap();
    state
}

#[tokio::test]
async fn answers_outlive_the_agent() {
    let host = Host::new();
    let state = with_answers(&host).await;
    assert!(state.close().await);
    drop(state);
    let state = host.open().await;
    assert_eq!(state.epoch("").await.unwrap(), Some(FIRST));
    let recalled = state.recall("", vec![task(9), task(2)]).await.unwrap();
    let expected = Known {
        unihash: unihash(2),
        epoch: 5,
        at: Timestamp(1_700_000_000_000_000),
    };
    assert_eq!(recalled, [None, Some(expected)]);
    assert_eq!(state.epoch("team").await.unwrap(), None);
    assert_eq!(state.recall("team", vec![task(2)]).await.unwrap(), [None]);
    // No local answer is among them.
    assert_eq!(told(&state, 2), None);
}

#[tokio::test]
async fn what_was_deleted_goes_with_the_step_to_its_epoch() {
    let host = Host::new();
    let state = with_answers(&host).await;
    let next = DeletionEpoch { epoch: 6, ..FIRST };
    state.set_epoch("", next, vec![task(2)]).await.unwrap();
    assert_eq!(known(&state, &[1, 2]).await, [Some(unihash(1)), None]);
    // An answer of before the deletion that arrives after it.
    state.remember("", FIRST, answers(2..3));
    state.tend().await.unwrap();
    assert_eq!(known(&state, &[2]).await, [None]);
    state.remember("", next, answers(2..3));
    state.tend().await.unwrap();
    assert_eq!(known(&state, &[2]).await, [Some(unihash(2))]);
}

#[tokio::test]
async fn in_another_history_nothing_is_known() {
    let host = Host::new();
    for other in [
        DeletionEpoch {
            history: [2; 16],
            epoch: 9,
        },
        DeletionEpoch { epoch: 4, ..FIRST },
    ] {
        let state = with_answers(&host).await;
        state.set_epoch("", other, Vec::new()).await.unwrap();
        assert_eq!(known(&state, &[1, 2, 3]).await, [None, None, None]);
        state.remember("", other, answers(1..2));
        state.tend().await.unwrap();
        assert_eq!(known(&state, &[1, 2]).await, [Some(unihash(1)), None]);
    }
}

#[tokio::test]
async fn answers_are_forgotten_written_or_not() {
    let host = Host::new();
    let state = with_answers(&host).await;
    state.remember("", FIRST, answers(6..7));
    state.forget_all("").await.unwrap();
    assert_eq!(state.epoch("").await.unwrap(), Some(FIRST));
    state.remember("", FIRST, answers(2..3));
    state.tend().await.unwrap();
    let left = [None, Some(unihash(2)), None];
    assert_eq!(known(&state, &[1, 2, 6]).await, left);
}

#[tokio::test]
async fn answers_that_a_slow_drive_has_not_written_are_forgotten_too() {
    let host = Host::new();
    let state = with_answers(&host).await;
    state.remember("", FIRST, answers(6..7));
    let until = busy(&state);
    // Who writes them loses patience.
    assert!(state.tend().now_or_never().is_none());
    let (forgot, ()) = tokio::join!(state.forget_all(""), async { drop(until) });
    forgot.unwrap();
    state.remember("", FIRST, answers(7..8));
    state.tend().await.unwrap();
    let left = [None, None, Some(unihash(7))];
    assert_eq!(known(&state, &[1, 6, 7]).await, left);
}

#[tokio::test]
async fn answers_that_others_judged_are_forgotten() {
    let host = Host::new();
    let state = with_answers(&host).await;
    state.judge("", "").await.unwrap();
    assert_eq!(known(&state, &[1]).await, [Some(unihash(1))]);
    for judge in ["one", "another", ""] {
        state.judge("", judge).await.unwrap();
        assert_eq!(known(&state, &[1]).await, [None], "{judge}");
        state.remember("", FIRST, answers(1..2));
        state.tend().await.unwrap();
        state.judge("", judge).await.unwrap();
        assert_eq!(known(&state, &[1]).await, [Some(unihash(1))], "{judge}");
    }
}

#[tokio::test]
async fn only_hashes_of_32_bytes_are_kept() {
    let host = Host::new();
    let state = with_answers(&host).await;
    let odd = Task {
        taskhash: Taskhash::parse("odd"),
        ..task(0)
    };
    let rows = [(odd.clone(), unihash(1)), (task(8), Unihash::parse("odd"))];
    state.remember("", FIRST, rows);
    state.tend().await.unwrap();
    let recalled = state.recall("", vec![odd, task(8)]).await.unwrap();
    assert_eq!(recalled, [None, None]);
}

#[tokio::test]
async fn the_oldest_answers_go_when_they_are_too_many() {
    let mut host = Host::new();
    host.options.known_rows_max = 3000;
    let state = with_answers(&host).await;
    for part in 0..10 {
        state.remember("", FIRST, answers(100 + part * 1000..1100 + part * 1000));
        state.tend().await.unwrap();
    }
    assert_eq!(known(&state, &[1, 100, 7099]).await, [None, None, None]);
    let youngest = [Some(unihash(7100)), Some(unihash(10_099))];
    assert_eq!(known(&state, &[7100, 10_099]).await, youngest);
}

#[tokio::test]
async fn what_fills_a_transaction_is_written_without_delay() {
    let host = Host::new();
    let state = with_answers(&host).await;
    let is_filled = || state.filled().notified().now_or_never().is_some();
    state.remember("", FIRST, answers(100..1000));
    assert!(!is_filled());
    // Those of others and of other epochs are of other parts, and count all the same.
    state.set_epoch("team", FIRST, Vec::new()).await.unwrap();
    state.remember("team", FIRST, answers(100..200));
    assert!(is_filled());
    let earlier = DeletionEpoch { epoch: 4, ..FIRST };
    state.remember("", earlier, answers(1000..1001));
    state.remember("", FIRST, answers(1001..3000));
    state.store().await.unwrap();
    assert_eq!(state.gathered.lock().len(), 0);
    let kept = [99, 100, 999, 1000, 1001, 2999].map(|number| {
        let is_kept = (100..3000).contains(&number) && number != 1000;
        is_kept.then(|| unihash(number))
    });
    assert_eq!(known(&state, &[99, 100, 999, 1000, 1001, 2999]).await, kept);
    let of_team = state.recall("team", vec![task(199), task(200)]);
    let of_team = of_team.await.unwrap();
    assert!(of_team[0].is_some() && of_team[1].is_none());
}

#[tokio::test]
async fn what_is_gathered_is_bounded() {
    let host = Host::new();
    let state = host.open().await;
    state.remember("", FIRST, answers(0..100_000));
    assert_eq!(state.gathered.lock().len(), 65_536);
}
