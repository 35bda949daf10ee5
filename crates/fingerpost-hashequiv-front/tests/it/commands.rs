//! Every command through the client.

use fingerpost_hashequiv_client::request::{self, Report};
use fingerpost_hashequiv_client::{Client, ClientError, ClientOptions, Credentials};
use fingerpost_hashequiv_front::DoorOptions;

use crate::world::{Listening, World, taskhash, unihash};

fn admin(world: &Listening) -> Client {
    let credentials = Credentials {
        username: "admin".to_owned(),
        token: "secret".to_owned(),
    };
    Client::new(ClientOptions {
        credentials: Some(credentials),
        ..world.options()
    })
}

fn told(error: &ClientError) -> &str {
    match error {
        ClientError::Told(text) => text,
        other => panic!("not told: {other:?}"),
    }
}

#[tokio::test]
async fn look_ups_and_reports() {
    let world = World::new().await.listen();
    let mut client = world.client();
    assert!(client.call(&request::ping()).await.unwrap().alive);
    let (task, unihash) = (taskhash(1), unihash(1));
    assert_eq!(client.call(&request::get("m", &task)).await.unwrap(), None);
    let report = Report {
        method: "m",
        taskhash: &task,
        outhash: &task,
        unihash: &unihash,
        pn: Some("zlib"),
        outhash_siginfo: Some("a\nb\u{e9}"),
        ..Report::default()
    };
    let row = client.call(&request::report(&report)).await.unwrap();
    assert_eq!(row.unihash.to_text(), unihash);
    let row = client
        .call(&request::get("m", &task))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.unihash.to_text(), unihash);
    let row = client
        .call(&request::get_all("m", &task))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.pn.as_deref(), row.outhash_siginfo.as_deref()),
        (Some("zlib"), Some("a\nb\u{e9}"))
    );
    let row = client
        .call(&request::get_outhash("m", &task, &taskhash(2), true))
        .await
        .unwrap();
    assert_eq!(row.unwrap().unihash.unwrap().to_text(), unihash);
    let row = client
        .call(&request::report_equiv("m", &taskhash(2), &unihash))
        .await
        .unwrap();
    assert_eq!(row.taskhash.to_text(), taskhash(2));
    assert_eq!(
        client.call(&request::backfill_wait()).await.unwrap().tasks,
        0
    );
    assert!(
        client
            .call(&request::get_stats())
            .await
            .unwrap()
            .requests
            .num
            >= 8
    );
    assert!(
        client
            .call(&request::reset_stats())
            .await
            .unwrap()
            .requests
            .num
            >= 9
    );
}

#[tokio::test]
async fn cleaning() {
    let world = World::new().await;
    world.fill(3).await;
    let world = world.listen();
    let mut client = world.client();
    let is = |column: &str, value: String| vec![(column.to_owned(), value)];
    assert_eq!(
        client
            .call(&request::gc_mark("K", &is("taskhash", taskhash(0))))
            .await
            .unwrap()
            .count,
        1
    );
    let conditions = [is("unihash", unihash(1)), is("method", "none".to_owned())];
    assert_eq!(
        client.gc_mark_stream("K", &conditions).await.unwrap(),
        [1, 0]
    );
    let status = client.call(&request::gc_status()).await.unwrap();
    assert_eq!(
        (status.keep, status.remove, status.mark.as_deref()),
        (2, 1, Some("K"))
    );
    assert_eq!(client.call(&request::gc_sweep("K")).await.unwrap().count, 1);
    assert_eq!(
        client
            .call(&request::remove(&is("taskhash", taskhash(1))))
            .await
            .unwrap()
            .count,
        1
    );
    assert_eq!(
        client
            .call(&request::clean_unused(0.0))
            .await
            .unwrap()
            .count,
        0
    );
    assert_eq!(
        client.call(&request::get_db_usage()).await.unwrap().usage["unihashes_v3"].rows,
        1
    );
    let columns = client
        .call(&request::get_db_query_columns())
        .await
        .unwrap()
        .columns;
    assert!(columns.contains(&"outhash_siginfo".to_owned()));
    let error = client.call(&request::gc_sweep("L")).await.unwrap_err();
    assert_eq!(
        told(&error),
        "'L' is not the current mark. Refusing to sweep"
    );
}

#[tokio::test]
async fn users() {
    let world = World::new().await.listen();
    let mut admin = admin(&world);
    let read = ["@read".to_owned()];
    let bob = admin.call(&request::new_user("bob", &read)).await.unwrap();
    assert_eq!(bob.permissions, read);
    let error = admin
        .call(&request::new_user("bob", &read))
        .await
        .unwrap_err();
    assert_eq!(told(&error), "Cannot create new user 'bob'");
    // The server has closed; the client logs in again by itself.
    let report = ["@report".to_owned()];
    let changed = admin
        .call(&request::set_user_perms("bob", &report))
        .await
        .unwrap();
    assert_eq!(changed.permissions, report);
    assert_eq!(
        admin
            .call(&request::get_user(Some("bob")))
            .await
            .unwrap()
            .unwrap()
            .username,
        "bob"
    );
    assert_eq!(
        admin
            .call(&request::get_all_users())
            .await
            .unwrap()
            .users
            .len(),
        2
    );
    let credentials = Credentials {
        username: "bob".to_owned(),
        token: bob.token,
    };
    let options = ClientOptions {
        credentials: Some(credentials),
        ..world.options()
    };
    let mut own = Client::new(options.clone());
    let token = own.call(&request::refresh_token(None)).await.unwrap().token;
    let mut outdated = Client::new(options.clone());
    let error = outdated.connect().await.unwrap_err();
    assert_eq!(told(&error), "Unable to authenticate as bob");
    let credentials = Credentials {
        username: "bob".to_owned(),
        token,
    };
    let mut own = Client::new(ClientOptions {
        credentials: Some(credentials),
        ..options
    });
    assert_eq!(
        own.call(&request::get_user(None))
            .await
            .unwrap()
            .unwrap()
            .username,
        "bob"
    );
    assert_eq!(
        own.call(&request::delete_user(None))
            .await
            .unwrap()
            .username,
        "bob"
    );
}

#[tokio::test]
async fn becoming_another_user() {
    let world = World::new().await.listen();
    let mut first = admin(&world);
    first.call(&request::new_user("eve", &[])).await.unwrap();
    let credentials = Credentials {
        username: "admin".to_owned(),
        token: "secret".to_owned(),
    };
    let options = ClientOptions {
        credentials: Some(credentials),
        become_user: Some("eve".to_owned()),
        ..world.options()
    };
    let mut eve = Client::new(options);
    assert_eq!(
        eve.call(&request::get_user(None))
            .await
            .unwrap()
            .unwrap()
            .username,
        "eve"
    );
    let error = eve.call(&request::get_all_users()).await.unwrap_err();
    assert_eq!(
        told(&error),
        "eve is not allowed to access permissions(s) @user-admin"
    );
}

#[tokio::test]
async fn batches_are_pipelined_and_answered_in_order() {
    const KEYS: usize = 20_000;
    let world = World::new().await;
    world.fill(50).await;
    let world = world.listen();
    for window_lines in [1, 7, 100_000] {
        let mut client = Client::new(ClientOptions {
            window_lines,
            ..world.options()
        });
        let keys = if window_lines == 100_000 { KEYS } else { 500 };
        let keys: Vec<_> = (0..keys).map(|task| ("m", taskhash(task % 100))).collect();
        let answers = client.unihashes(&keys).await.unwrap();
        for (index, answer) in answers.iter().enumerate() {
            let task = index % 100;
            assert_eq!(*answer, (task < 50).then(|| unihash(task)), "{index}");
        }
        let asked = [
            unihash(1),
            "END".to_owned(),
            unihash(99),
            String::new(),
            unihash(2),
        ];
        assert_eq!(
            client.exist(&asked).await.unwrap(),
            [true, false, false, false, true]
        );
        let unaskable = [("m x", taskhash(0)), ("m", taskhash(0)), ("", taskhash(0))];
        let answers = client.unihashes(&unaskable).await.unwrap();
        assert_eq!(answers, [None, Some(unihash(0)), None]);
        assert!(client.call(&request::ping()).await.unwrap().alive);
        assert_eq!(
            client.unihashes::<&str, &str>(&[]).await.unwrap(),
            Vec::new()
        );
    }
}

#[tokio::test]
async fn a_message_of_5_mib_goes_both_ways() {
    let world = World::new().await.listen();
    let siginfo = "drwxr-xr-x   \u{e9}\u{1f600} path with  blanks \n".repeat(140_000);
    assert!(siginfo.len() > 5 << 20);
    let (task, unihash) = (taskhash(1), unihash(1));
    let report = Report {
        method: "m",
        taskhash: &task,
        outhash: &task,
        unihash: &unihash,
        outhash_siginfo: Some(&siginfo),
        ..Report::default()
    };
    let mut client = world.client();
    client.call(&request::report(&report)).await.unwrap();
    let row = client
        .call(&request::get_all("m", &task))
        .await
        .unwrap()
        .unwrap();
    assert!(row.outhash_siginfo.as_deref() == Some(&siginfo));
    assert!(client.call(&request::ping()).await.unwrap().alive);
}

#[tokio::test]
async fn the_client_reconnects_after_a_restart() {
    let first = World::new().await.listen();
    let mut client = first.client();
    client.call(&request::ping()).await.unwrap();
    first.world.shutdown.start();
    first.running.await.unwrap().unwrap();
    let error = client.call(&request::ping()).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    // A server that closes on what it does not know is asked four times.
    let second = World::with(DoorOptions::default(), Default::default(), None)
        .await
        .listen();
    let mut client = second.client();
    let error = client.call(&request::get_user(None)).await.unwrap_err();
    assert!(told(&error).starts_with("Anonymous user"));
    assert!(client.call(&request::ping()).await.unwrap().alive);
}
