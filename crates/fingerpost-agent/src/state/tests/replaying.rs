use serde_json::Value;

use super::*;

fn requests(reports: &[LocalReport]) -> Vec<String> {
    let requests = reports.iter().map(|report| report.request.clone());
    requests.collect()
}

fn letters(host: &Host) -> Vec<Value> {
    let text = host.read("dead-letters.ndjson");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[tokio::test]
async fn reports_arrive_in_their_order_and_the_servers_word_counts() {
    let host = Host::new();
    let state = host.open().await;
    let reports: Vec<_> = (10..15)
        .rev()
        .map(|number| report(number, number))
        .collect();
    for report in &reports {
        settle(&state, report.clone()).await;
    }
    let server = Server::new(seven);
    let replayed = replay(&state, &server).await;
    assert_eq!(server.taken(), requests(&reports));
    assert_eq!(
        (replayed.delivered, waiting(&state), replayed.away),
        (5, 0, false)
    );
    let words: Vec<_> = replayed.words.into_iter().map(|word| word.task).collect();
    let tasks: Vec<_> = reports.into_iter().map(|report| report.task).collect();
    assert_eq!(words, tasks);
    assert_eq!(state.provisional("", &tasks), vec![None; 5]);
    assert!(!state.is_provisional());
    assert_eq!(state.figures().delivered_total, 5);
    assert_eq!(replay(&state, &server).await.delivered, 0);
}

/// The first step of a replay.
async fn step(state: &State, deliver: &impl Deliver) -> Replayed {
    state.replay().await.step(deliver).await.unwrap()
}

#[tokio::test]
async fn batches_are_bounded_in_reports_and_in_bytes() {
    let host = Host::new();
    let state = host.open().await;
    for number in 0..100 {
        settle(&state, report(number, number)).await;
    }
    let server = Server::new(seven);
    assert_eq!(step(&state, &server).await.delivered, 64);
    assert_eq!(step(&state, &server).await.delivered, 36);
    for number in 0..3 {
        let mut large = report(number, number);
        large.request = "x".repeat(3 << 20);
        settle(&state, large).await;
    }
    assert_eq!(step(&state, &server).await.delivered, 2);
    assert_eq!(step(&state, &server).await.delivered, 1);
}

#[tokio::test]
async fn who_is_away_gets_the_same_report_next_time() {
    let host = Host::new();
    let state = host.open().await;
    let reports = [report(1, 1), report(2, 2), report(3, 3)];
    for report in &reports {
        settle(&state, report.clone()).await;
    }
    let failing = Server::new(|report: &Spooled| {
        if report.task == task(2) {
            away(report)
        } else {
            seven(report)
        }
    });
    // The third went along with the second.
    let replayed = replay(&state, &failing).await;
    assert_eq!(
        (replayed.delivered, waiting(&state), replayed.away),
        (2, 1, true)
    );
    assert_eq!(told(&state, 2), Some(unihash(2)));
    let server = Server::new(seven);
    assert!(replay(&state, &server).await.done);
    assert_eq!(server.taken(), requests(&reports[1..2]));
}

/// Takes reports after a while, and notes who is on the way together.
#[derive(Default)]
struct Slow {
    on_the_way: Mutex<Vec<String>>,
    together: Mutex<Vec<Vec<String>>>,
    alone: Mutex<u64>,
}

impl Deliver for Slow {
    async fn deliver(&self, report: &Spooled, alone: bool) -> Result<Delivered, NotDelivered> {
        self.on_the_way.lock().push(report.request.clone());
        tokio::task::yield_now().await;
        let all = std::mem::take(&mut *self.on_the_way.lock());
        assert!(!alone || all.len() == 1);
        *self.alone.lock() += u64::from(alone);
        if !all.is_empty() {
            self.together.lock().push(all);
        }
        let unihash = Some(unihash(7));
        Ok(Delivered { unihash })
    }
}

#[tokio::test]
async fn reports_whose_order_decides_do_not_go_together() {
    let host = Host::new();
    let state = host.open().await;
    // The fourth has the output of the third, the sixth is about the task of the fifth.
    let reports = [
        report(1, 1),
        report(2, 2),
        report(3, 3),
        report(4, 3),
        report(5, 5),
        report(5, 6),
        report(7, 7),
        report(8, 8),
    ];
    for report in &reports {
        settle(&state, report.clone()).await;
    }
    let slow = Slow::default();
    assert_eq!(replay(&state, &slow).await.delivered, 8);
    let parts = [&reports[..1], &reports[1..3], &reports[3..5], &reports[5..]];
    assert_eq!(*slow.together.lock(), parts.map(requests));
    assert_eq!(*slow.alone.lock(), 1);
}

#[tokio::test]
async fn behind_reports_that_are_held_the_next_one_goes_alone() {
    struct HoldsTwo(Mutex<Vec<(String, bool)>>);

    impl Deliver for HoldsTwo {
        async fn deliver(&self, report: &Spooled, alone: bool) -> Result<Delivered, NotDelivered> {
            self.0.lock().push((report.request.clone(), alone));
            let unihash = Some(unihash(7));
            match [task(1), task(2)].contains(&report.task) {
                true => Err(NotDelivered::Held),
                false => Ok(Delivered { unihash }),
            }
        }
    }

    let host = Host::new();
    let state = host.open().await;
    let reports = [1, 2, 3, 4, 5].map(|number| report(number, number));
    for report in &reports {
        settle(&state, report.clone()).await;
    }
    let server = HoldsTwo(Mutex::default());
    assert_eq!(replay(&state, &server).await.delivered, 3);
    let alone = [true, true, true, false, false];
    let expect: Vec<_> = requests(&reports).into_iter().zip(alone).collect();
    assert_eq!(*server.0.lock(), expect);
}

#[tokio::test]
async fn a_task_with_another_report_is_what_the_server_says() {
    let host = Host::new();
    let state = host.open().await;
    settle(&state, report(1, 1)).await;
    settle(&state, report(1, 2)).await;
    let server = Server::new(|report: &Spooled| {
        let second = report.request.contains(&hash(2, 2));
        if second { away(report) } else { seven(report) }
    });
    assert!(replay(&state, &server).await.away);
    assert!(state.has_spooled("", &task(1)));
    assert_eq!(told(&state, 1), Some(unihash(7)));
    assert_eq!(settle(&state, report(3, 2)).await, unihash(7));
    assert!(replay(&state, &Server::new(seven)).await.done);
    assert_eq!(told(&state, 1), None);
}

#[tokio::test]
async fn a_crash_before_the_removal_delivers_again() {
    let host = Host::new();
    let state = host.open().await;
    let mut expected = Vec::new();
    for number in 0..3 {
        settle(&state, report(number, number)).await;
        expected.push(report(number, number).request);
    }
    let keys = Mutex::new(Vec::new());
    let noting = |report: &Spooled| {
        keys.lock().push(report.key);
        seven(report)
    };
    // The third report never returns: the agent is killed while it is on its way.
    struct Dying<'a, S>(&'a S);
    impl<S: Deliver> Deliver for Dying<'_, S> {
        async fn deliver(&self, report: &Spooled, alone: bool) -> Result<Delivered, NotDelivered> {
            let delivered = self.0.deliver(report, alone).await;
            if report.task == task(2) {
                std::future::pending::<()>().await;
            }
            delivered
        }
    }
    let server = Server::new(noting);
    {
        let dying = Dying(&server);
        let replay = replay(&state, &dying);
        tokio::pin!(replay);
        while server.taken().len() < 3 {
            tokio::select! {
                biased;
                _ = &mut replay => panic!("a replay that ends"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    drop(state);
    let state = host.open().await;
    assert_eq!(told(&state, 0), Some(unihash(0)));
    assert_eq!(replay(&state, &server).await.delivered, 3);
    assert_eq!(server.taken(), [&expected[..], &expected[..]].concat());
    // A door that wants them knows them again.
    let keys = keys.into_inner();
    assert_eq!(keys[..3], keys[3..]);
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn refused_reports_are_dead_letters_and_do_not_hold_up_others() {
    let host = Host::new();
    let state = host.open().await;
    let named = LocalReport {
        user: Some("bob".to_owned()),
        ..report(1, 1)
    };
    settle(&state, named.clone()).await;
    settle(&state, report(2, 2)).await;
    host.clock.advance_micros(1_000_000);
    let server = Server::new(|report: &Spooled| {
        if report.task == task(1) {
            refusing(report)
        } else {
            seven(report)
        }
    });
    let replayed = replay(&state, &server).await;
    assert_eq!(
        (replayed.delivered, replayed.refused, waiting(&state)),
        (1, 1, 0)
    );
    assert_eq!(told(&state, 1), None);
    let letters = letters(&host);
    let [letter] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(letter["why"], "Permission denied");
    assert_eq!(letter["command"], "report");
    assert_eq!(letter["user"], "bob");
    assert_eq!(letter["request"], named.request);
    assert_eq!(letter["reported"], "2023-11-14T22:13:20Z");
    assert_eq!(letter["at"], "2023-11-14T22:13:21Z");
    assert_eq!(letter["key"].as_str().unwrap().len(), 32);
    assert_eq!(state.figures().dead_total, 1);
}

#[tokio::test]
async fn dead_letters_take_bounded_room() {
    let mut host = Host::new();
    host.options.dead_letter_bytes_max = 2000;
    let state = host.open().await;
    for number in 0..20 {
        settle(&state, report(number, number)).await;
        replay(&state, &Server::new(refusing)).await;
    }
    let (now, before) = (
        host.read("dead-letters.ndjson"),
        host.read("dead-letters.ndjson.old"),
    );
    assert!(now.len() <= 2000, "{} bytes", now.len());
    assert!(
        (1000..=2000).contains(&before.len()),
        "{} bytes",
        before.len()
    );
    assert!(now.contains(&hash(1, 19)));
}

#[tokio::test]
async fn a_torn_dead_letter_spoils_no_other() {
    let host = Host::new();
    let state = host.open().await;
    let path = host.options.directory.join("dead-letters.ndjson");
    std::fs::write(path, "{\"at\":\"2023").unwrap();
    settle(&state, report(1, 1)).await;
    replay(&state, &Server::new(refusing)).await;
    let text = host.read("dead-letters.ndjson");
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["why"], "Permission denied");
}

#[tokio::test]
async fn a_report_is_not_removed_before_it_is_a_dead_letter() {
    let host = Host::new();
    let state = host.open().await;
    settle(&state, report(1, 1)).await;
    let path = host.options.directory.join("dead-letters.ndjson");
    std::fs::create_dir(&path).unwrap();
    let outcome = try_replay(&state, &Server::new(refusing)).await;
    assert!(matches!(outcome, Err(StateError::Io { .. })));
    assert!(state.has_spooled("", &task(1)));
    std::fs::remove_dir(&path).unwrap();
    assert_eq!(replay(&state, &Server::new(refusing)).await.refused, 1);
}

#[tokio::test]
async fn only_old_reports_are_given_up_and_only_while_the_server_is_away() {
    let host = Host::new();
    let age_max = i64::try_from(host.options.spool_age_max.as_micros()).unwrap();
    let state = host.open().await;
    for number in 0..70 {
        settle(&state, report(number, number)).await;
    }
    host.clock.advance_micros(age_max);
    settle(&state, report(100, 100)).await;
    replay(&state, &Server::new(away)).await;
    state.tend().await.unwrap();
    assert_eq!(state.figures().spooled_reports, 71);
    host.clock.advance_micros(1);
    drop(state);
    // After a long rest the server is asked first.
    let state = host.open().await;
    assert_eq!(state.expire().await.unwrap(), 0);
    replay(&state, &Server::new(away)).await;
    assert_eq!(state.expire().await.unwrap(), 70);
    assert_eq!(letters(&host).len(), 70);
    assert_eq!(state.figures().dead_total, 70);
    assert_eq!(told(&state, 100), Some(unihash(100)));
    assert_eq!(told(&state, 0), None);
}

#[tokio::test]
async fn a_held_report_holds_its_task_and_nothing_else() {
    let host = Host::new();
    let state = host.open().await;
    let by_name = LocalReport {
        user: Some("bob".to_owned()),
        ..report(1, 1)
    };
    let reports = [by_name, report(2, 2), report(1, 3), report(3, 3)];
    for report in &reports {
        settle(&state, report.clone()).await;
    }
    let without_login = Server::new(|report: &Spooled| match report.user {
        Some(_) => Err(NotDelivered::Held),
        None => seven(report),
    });
    let replayed = replay(&state, &without_login).await;
    assert_eq!(
        (replayed.delivered, replayed.held, replayed.done),
        (2, 2, true)
    );
    assert_eq!(told(&state, 1), Some(unihash(1)));
    let server = Server::new(seven);
    replay(&state, &server).await;
    assert_eq!(server.taken(), [&*reports[0].request, &*reports[2].request]);
}

#[tokio::test]
async fn what_is_held_for_too_long_is_given_up() {
    let host = Host::new();
    let state = host.open().await;
    settle(&state, report(1, 1)).await;
    let age_max = i64::try_from(host.options.spool_age_max.as_micros()).unwrap();
    host.clock.advance_micros(age_max + 1);
    let server = Server::new(|_: &Spooled| Err(NotDelivered::Held));
    replay(&state, &server).await;
    state.tend().await.unwrap();
    assert_eq!(waiting(&state), 0);
    assert_eq!(letters(&host).len(), 1);
}
