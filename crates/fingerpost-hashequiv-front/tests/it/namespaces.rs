//! One namespace for each connection of the native door.

use fingerpost_core::{Permission, PermissionSet};
use fingerpost_hashequiv::Config;
use fingerpost_hashequiv::namespace::NamespaceConfig;
use fingerpost_hashequiv_client::{Client, ClientOptions, request};
use fingerpost_hashequiv_front::PlacementOptions;
use fingerpost_net::Address;
use prometheus_client::registry::Registry;

use crate::world::{HANDSHAKE, Listening, Wire, World, taskhash, unihash};

/// `release` falls back to `default`, `lab` to nothing and has one member.
pub(crate) async fn world() -> World {
    let config = Config {
        anonymous: PermissionSet::of(&[Permission::Read, Permission::Report, Permission::DbAdmin]),
        namespaces: vec![
            NamespaceConfig {
                fallback: Some("default".to_owned()),
                ..NamespaceConfig::named("release")
            },
            NamespaceConfig {
                anonymous: Some(PermissionSet::of(&[Permission::Read])),
                members: Some(vec!["bot".to_owned()]),
                ..NamespaceConfig::named("lab")
            },
        ],
        ..Config::default()
    };
    let pair = |name: &str, namespace: &str| (name.to_owned(), namespace.to_owned());
    let placement = PlacementOptions {
        listeners: vec![pair("second", "release")],
        hosts: vec![pair("Release.example", "release")],
        users: vec![pair("bot", "lab"), pair("admin", "lab")],
    };
    let world = World::placed(config, placement).await;
    let report = PermissionSet::of(&[Permission::Read, Permission::Report]);
    let accounts = world.service.accounts();
    accounts.ensure_admin("bot", "botsecret").await.unwrap();
    accounts.set_permissions("bot", report).await.unwrap();
    world
}

async fn open(world: &World, listener: Option<&str>) -> Wire {
    let mut wire = world.connect_by(listener);
    wire.send(HANDSHAKE).await;
    wire
}

async fn report(wire: &mut Wire, task: usize) -> String {
    let line = format!(
        "{{\"report-equiv\": {{\"method\": \"m\", \"taskhash\": \"{}\", \"unihash\": \"{}\"}}}}",
        taskhash(task),
        unihash(task)
    );
    wire.ask(&line).await
}

async fn knows(wire: &mut Wire, task: usize) -> bool {
    let line = format!(
        "{{\"get\": {{\"method\": \"m\", \"taskhash\": \"{}\"}}}}",
        taskhash(task)
    );
    wire.ask(&line).await != "null"
}

fn auth(user: &str, token: &str) -> String {
    format!("{{\"auth\": {{\"username\": \"{user}\", \"token\": \"{token}\"}}}}")
}

#[tokio::test]
async fn a_listener_says_where_its_callers_work() {
    let world = world().await;
    let (mut first, mut second) = (open(&world, None).await, open(&world, Some("second")).await);
    report(&mut first, 1).await;
    report(&mut second, 2).await;
    assert!(knows(&mut first, 1).await && !knows(&mut first, 2).await);
    assert!(knows(&mut second, 1).await && knows(&mut second, 2).await);
    // The stream looks into the same namespace, and again from memory.
    for _ in 0..2 {
        assert_eq!(second.ask("{\"get-stream\": null}").await, "\"ok\"");
        let answer = second.ask(&format!("m {}", taskhash(1))).await;
        assert_eq!(answer, unihash(1));
        assert_eq!(second.ask("END").await, "ok");
    }
    let mut other = open(&world, None).await;
    assert_eq!(other.ask("{\"get-stream\": null}").await, "\"ok\"");
    assert_eq!(other.ask(&format!("m {}", taskhash(2))).await, "");
}

#[tokio::test]
async fn a_login_moves_whoever_chose_nothing() {
    let world = world().await;
    let mut wire = open(&world, None).await;
    report(&mut wire, 1).await;
    assert!(wire.ask(&auth("bot", "botsecret")).await.contains("true"));
    assert!(!knows(&mut wire, 1).await);
    report(&mut wire, 2).await;
    assert!(knows(&mut wire, 2).await);
    // The listener's choice stays.
    let mut wire = open(&world, Some("second")).await;
    wire.ask(&auth("bot", "botsecret")).await;
    assert!(knows(&mut wire, 1).await && !knows(&mut wire, 2).await);
}

#[tokio::test]
async fn requests_are_counted_where_their_caller_works() {
    let world = world().await;
    let mut wire = open(&world, Some("second")).await;
    report(&mut wire, 1).await;
    wire.ask("{\"get-stream\": null}").await;
    wire.ask(&format!("m {}", taskhash(1))).await;
    let mut wire = open(&world, None).await;
    knows(&mut wire, 1).await;
    wire.ask(&auth("bot", "botsecret")).await;
    knows(&mut wire, 1).await;
    report(&mut wire, 1).await;
    let mut registry = Registry::with_prefix("fingerpost");
    world.door.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"requests_total{command="report-equiv",outcome="ok",namespace="release"} 1"#,
        r#"requests_total{command="get-stream",outcome="ok",namespace="release"} 1"#,
        r#"stream_lines_total{stream="get-stream",namespace="release"} 1"#,
        r#"stream_lines_total{stream="get-stream",namespace="default"} 0"#,
        r#"requests_total{command="get",outcome="ok",namespace="default"} 1"#,
        r#"requests_total{command="get",outcome="ok",namespace="lab"} 1"#,
        r#"requests_total{command="report-equiv",outcome="ok",namespace="lab"} 1"#,
    ] {
        let line = format!("fingerpost_hashequiv_{line}\n");
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn who_logs_in_after_somebody_is_not_placed_with_them() {
    let world = world().await;
    let accounts = world.service.accounts();
    accounts.ensure_admin("eve", "evesecret").await.unwrap();
    let mut wire = open(&world, None).await;
    report(&mut wire, 1).await;
    wire.ask(&auth("bot", "botsecret")).await;
    assert!(!knows(&mut wire, 1).await);
    assert!(wire.ask(&auth("eve", "evesecret")).await.contains("true"));
    assert!(knows(&mut wire, 1).await);
}

#[tokio::test]
async fn choosing_a_namespace_gives_no_right_in_it() {
    let world = world().await;
    let mut wire = open(&world, None).await;
    // The administrator is placed in a namespace of which she is no member.
    wire.ask(&auth("admin", "secret")).await;
    assert!(!knows(&mut wire, 1).await);
    let refused = report(&mut wire, 1).await;
    assert!(refused.contains("is not allowed"), "{refused}");
}

async fn by_path(listening: &Listening, path: &str) -> Client {
    let Address::Tcp { host, port } = listening.tcp.clone() else {
        panic!("no TCP address")
    };
    let address = Address::WebSocket {
        host,
        port,
        path: path.to_owned(),
        tls: false,
    };
    Client::new(ClientOptions::to(address))
}

#[tokio::test]
async fn the_path_of_a_websocket_names_a_namespace() {
    let listening = world().await.listen();
    let (task, name) = (taskhash(1), unihash(1));
    let mut release = by_path(&listening, "/ns/release").await;
    let report = request::report_equiv("m", &task, &name);
    release.call(&report).await.unwrap();
    let known = async |path: &str| {
        let mut client = by_path(&listening, path).await;
        client.unihashes(&[("m", task.clone())]).await.unwrap()[0].is_some()
    };
    assert!(known("/ns/release").await && known("/ns/release/any").await);
    assert!(!known("/ns/lab").await && !known("/any/path").await);
    let mut nowhere = by_path(&listening, "/ns/nowhere").await;
    assert!(nowhere.call(&request::ping()).await.is_err());
}
