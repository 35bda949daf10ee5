//! Asking a parent server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_hashequiv::store::Task;
use fingerpost_hashequiv::{Config, Upstream};
use fingerpost_hashequiv_client::{ClientOptions, Credentials, request};
use fingerpost_hashequiv_front::{DoorOptions, NativeUpstream, NativeUpstreamOptions};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use tokio::net::TcpListener;

use crate::world::{Listening, PATIENCE, World, taskhash, unihash};

const SHORT: Duration = Duration::from_millis(300);

/// One that waits long enough for a parent on a machine with other work.
fn upstream(options: ClientOptions) -> NativeUpstream {
    waiting(PATIENCE, options)
}

fn waiting(timeout: Duration, options: ClientOptions) -> NativeUpstream {
    NativeUpstream::start(NativeUpstreamOptions {
        timeout,
        ..NativeUpstreamOptions::to(options)
    })
}

fn task(number: usize) -> Task {
    Task {
        method: Method::from("m"),
        taskhash: Taskhash::parse(&taskhash(number)),
    }
}

async fn parent(count: usize) -> Listening {
    let world = World::new().await;
    world.fill(count).await;
    world.listen()
}

#[tokio::test]
async fn many_callers_share_the_connections() {
    let parent = parent(50).await;
    let upstream = Arc::new(upstream(parent.options()));
    let callers = (0..200).map(|caller| {
        let upstream = Arc::clone(&upstream);
        tokio::spawn(async move {
            let numbers: Vec<_> = (0..20).map(|index| (caller * 7 + index) % 100).collect();
            let mut tasks: Vec<_> = numbers.iter().map(|number| task(*number)).collect();
            // A method with a blank has no form as a line.
            tasks.insert(
                3,
                Task {
                    method: Method::from("m x"),
                    taskhash: Taskhash::parse("t"),
                },
            );
            let mut found = upstream.unihashes(tasks).await.unwrap();
            assert_eq!(found.remove(3), None);
            for (number, found) in numbers.iter().zip(found) {
                let expected = (*number < 50).then(|| Unihash::parse(&unihash(*number)));
                assert_eq!(found, expected);
            }
            let asked = vec![Unihash::parse(&unihash(caller % 100)), Unihash::parse("")];
            assert_eq!(
                upstream.exist(asked).await.unwrap(),
                [caller % 100 < 50, false]
            );
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn rows_come_whole() {
    let parent = parent(0).await;
    let (hash, own) = (taskhash(1), unihash(1));
    let report = request::Report {
        method: "m",
        taskhash: &hash,
        outhash: &hash,
        unihash: &own,
        task: Some("do_package"),
        ..Default::default()
    };
    parent
        .client()
        .call(&request::report(&report))
        .await
        .unwrap();
    let upstream = upstream(parent.options());
    let row = upstream.output_of_task(task(1)).await.unwrap().unwrap();
    assert_eq!(row.metadata.task.as_deref(), Some("do_package"));
    assert_eq!(row.unihash.unwrap().0.to_text(), own);
    let row = upstream
        .output(task(2), Outhash::parse(&hash))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.taskhash.to_text(), hash);
    assert_eq!(
        upstream
            .output(task(2), Outhash::parse("none"))
            .await
            .unwrap(),
        None
    );
    assert_eq!(upstream.output_of_task(task(9)).await.unwrap(), None);
}

#[tokio::test]
async fn an_upstream_may_want_a_login() {
    let parent = parent(1).await;
    let credentials = |token: &str| {
        Some(Credentials {
            username: "admin".to_owned(),
            token: token.to_owned(),
        })
    };
    let good = upstream(ClientOptions {
        credentials: credentials("secret"),
        ..parent.options()
    });
    assert!(good.unihashes(vec![task(0)]).await.unwrap()[0].is_some());
    let bad = upstream(ClientOptions {
        credentials: credentials("wrong"),
        ..parent.options()
    });
    let error = bad.unihashes(vec![task(0)]).await.unwrap_err();
    assert!(
        error.to_string().contains("Unable to authenticate"),
        "{error}"
    );
}

#[tokio::test]
async fn an_upstream_that_is_down_costs_nobody_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let upstream = waiting(SHORT, ClientOptions::to(address.parse().unwrap()));
    // It accepts and is silent: the first caller learns it, with a limit.
    let start = Instant::now();
    upstream.unihashes(vec![task(0)]).await.unwrap_err();
    assert!(start.elapsed() < 20 * SHORT, "{:?}", start.elapsed());
    drop(listener);
    let start = Instant::now();
    for _ in 0..100 {
        upstream.exist(vec![Unihash::parse("x")]).await.unwrap_err();
        upstream.output_of_task(task(0)).await.unwrap_err();
    }
    // A fraction of what 200 waits would be.
    assert!(start.elapsed() < 20 * SHORT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = waiting(
        SHORT,
        ClientOptions::to(address.to_string().parse().unwrap()),
    );
    drop(listener);
    upstream.unihashes(vec![task(0)]).await.unwrap_err();
    let world = World::new().await;
    world.fill(1).await;
    let _back = world.listen_on(&address.to_string());
    let start = Instant::now();
    while upstream.unihashes(vec![task(0)]).await.is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it is never asked again"
        );
        tokio::time::sleep(SHORT / 10).await;
    }
}

#[tokio::test]
async fn a_server_answers_from_its_upstream() {
    let parent = parent(3).await;
    let upstream = Arc::new(upstream(parent.options()));
    let world = World::with(DoorOptions::default(), Config::default(), Some(upstream)).await;
    let mut wire = world.open().await;
    assert_eq!(wire.ask("{\"get-stream\": null}").await, "\"ok\"");
    for number in [0, 9, 2] {
        let expected = if number < 3 {
            unihash(number)
        } else {
            String::new()
        };
        assert_eq!(wire.ask(&format!("m {}", taskhash(number))).await, expected);
    }
    // The parent goes; what it said is here, and what it would say is a miss.
    assert_eq!(wire.ask("END").await, "ok");
    assert!(
        wire.ask("{\"backfill-wait\": null}")
            .await
            .starts_with("{\"tasks\"")
    );
    parent.world.shutdown.start();
    parent.running.await.unwrap().unwrap();
    assert_eq!(wire.ask("{\"get-stream\": null}").await, "\"ok\"");
    assert_eq!(wire.ask(&format!("m {}", taskhash(2))).await, unihash(2));
    assert_eq!(wire.ask(&format!("m {}", taskhash(1))).await, "");
}
