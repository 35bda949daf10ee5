use super::*;

#[tokio::test]
async fn the_first_reporter_names_the_output() {
    let host = Host::new();
    let state = host.open().await;
    assert_eq!(settle(&state, report(1, 1)).await, unihash(1));
    assert_eq!(settle(&state, report(2, 1)).await, unihash(1));
    assert_eq!(settle(&state, report(3, 2)).await, unihash(3));
    let tasks = [task(1), task(2), task(3), task(4)];
    assert_eq!(
        state.provisional("", &tasks),
        [Some(unihash(1)), Some(unihash(1)), Some(unihash(3)), None]
    );
}

#[tokio::test]
async fn a_unihash_is_never_changed_by_a_report() {
    let host = Host::new();
    let state = host.open().await;
    settle(&state, report(1, 1)).await;
    settle(&state, report(2, 2)).await;
    assert_eq!(settle(&state, report(2, 1)).await, unihash(2));
    assert_eq!(settle(&state, equiv(2, 1)).await, unihash(2));
    assert_eq!(settle(&state, equiv(3, 1)).await, unihash(1));
}

#[tokio::test]
async fn what_the_server_said_before_stays_the_answer() {
    let host = Host::new();
    let state = host.open().await;
    let answer = state.settle(report(1, 1), Some(unihash(9))).await.unwrap();
    assert_eq!(answer.unihash, unihash(9));
    // And goes for others with this output too.
    assert_eq!(settle(&state, report(2, 1)).await, unihash(9));
}

#[tokio::test]
async fn namespaces_and_methods_are_worlds_of_their_own() {
    let host = Host::new();
    let state = host.open().await;
    settle(&state, report(1, 1)).await;
    let mut elsewhere = report(2, 1);
    elsewhere.namespace = "team".to_owned();
    assert_eq!(settle(&state, elsewhere).await, unihash(2));
    let mut other_method = report(3, 1);
    other_method.task.method = Method::new("Other");
    assert_eq!(settle(&state, other_method).await, unihash(3));
    assert!(!state.has_spooled("team", &task(1)));
    assert!(state.has_spooled("team", &task(2)));
    assert_eq!(state.provisional("", &[task(2), task(3)]), [None, None]);
}

#[tokio::test]
async fn odd_hashes_are_kept_exactly() {
    let host = Host::new();
    let state = host.open().await;
    let mut odd = report(1, 1);
    odd.task.taskhash = Taskhash::parse("ODD é");
    odd.outhash = Some(Outhash::parse(""));
    assert_eq!(settle(&state, odd.clone()).await, unihash(1));
    drop(state);
    let state = host.open().await;
    assert!(state.has_spooled("", &odd.task));
    let mut other = report(2, 1);
    other.outhash = Some(Outhash::parse(""));
    assert_eq!(settle(&state, other).await, unihash(1));
}

#[tokio::test]
async fn a_report_that_is_repeated_is_spooled_once() {
    let host = Host::new();
    let state = host.open().await;
    for _ in 0..3 {
        assert_eq!(settle(&state, report(1, 1)).await, unihash(1));
    }
    assert_eq!(state.figures().spooled_reports, 1);
    // Somebody else's is another one.
    let by_name = LocalReport {
        user: Some("bob".to_owned()),
        ..report(1, 1)
    };
    settle(&state, by_name).await;
    assert_eq!(state.figures().spooled_reports, 2);
}

#[tokio::test]
async fn a_full_spool_answers_what_is_proposed_and_counts() {
    let mut host = Host::new();
    host.options.spool_bytes_max = 3 * 1024;
    let state = host.open().await;
    settle(&state, report(1, 1)).await;
    settle(&state, report(2, 1)).await;
    let refused = state.settle(report(3, 1), None).await.unwrap();
    let expected = LocalAnswer {
        unihash: unihash(3),
        spooled: false,
    };
    assert_eq!(refused, expected);
    assert!(!state.has_spooled("", &task(3)));
    // What waits already needs no room.
    assert_eq!(settle(&state, report(2, 1)).await, unihash(1));
    let figures = state.figures();
    assert_eq!(
        (figures.spooled_reports, figures.spool_refused_total),
        (2, 1)
    );
    replay(&state, &Server::new(seven)).await;
    assert_eq!(settle(&state, report(3, 1)).await, unihash(3));
}

#[tokio::test]
async fn figures_tell_how_long_the_first_report_has_waited() {
    let host = Host::new();
    let state = host.open().await;
    assert_eq!(state.figures(), StateFigures::default());
    settle(&state, report(1, 1)).await;
    host.clock.advance_micros(5_000_000);
    settle(&state, report(2, 2)).await;
    let figures = state.figures();
    assert_eq!(figures.spooled_age, Some(Duration::from_secs(5)));
    assert_eq!((figures.spooled_reports, figures.provisional), (2, 2));
    let bytes = report(1, 1).request.len() as u64 + 1024;
    assert_eq!(figures.spooled_bytes, 2 * bytes);
    assert!(state.close().await);
    drop(state);
    assert_eq!(host.open().await.figures(), figures);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_come_together_agree() {
    let host = Host::new();
    let state = Arc::new(host.open().await);
    let reports: Vec<_> = (0..200)
        .map(|number| {
            let state = Arc::clone(&state);
            tokio::spawn(async move { settle(&state, report(number, number % 2)).await })
        })
        .collect();
    let mut answers = [const { Vec::new() }; 2];
    for (number, report) in reports.into_iter().enumerate() {
        answers[number % 2].push(report.await.unwrap());
    }
    for of_output in answers {
        assert!(of_output.iter().all(|unihash| *unihash == of_output[0]));
    }
    assert_eq!(state.figures().spooled_reports, 200);
}

#[tokio::test]
async fn after_a_close_the_caller_is_told() {
    let host = Host::new();
    let state = host.open().await;
    assert!(state.close().await);
    let outcome = state.settle(report(1, 1), None).await;
    assert!(matches!(outcome, Err(StateError::Database(_))));
}
