//! TCP addresses.

use std::net::TcpListener;

use fingerpost_net::{Address, BindOptions, Listener, bind};
use tokio::net::TcpStream;

use crate::world::{Plan, get, listener};

fn bind_error(address: &str) -> String {
    let address: Address = address.parse().expect("a valid address");
    bind(&address, &BindOptions::default())
        .expect_err("must not be bound")
        .to_string()
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[tokio::test]
async fn no_host_means_both_families() {
    let world = Plan {
        listen: ":0".to_owned(),
        ..Plan::default()
    }
    .start();
    let (_, port) = world.address.host_port().expect("a TCP address");
    assert_eq!(world.address.to_string(), format!("127.0.0.1:{port}"));
    TcpStream::connect(("127.0.0.1", port)).await.expect("IPv4");
    if has_ipv6() {
        TcpStream::connect(("::1", port)).await.expect("IPv6");
    }
    // What an IPv4 peer is called does not depend on the socket's family.
    let mut client = world.connect().await;
    let own = client.0.local_addr().expect("connected");
    client.send("who\n").await;
    client.expect(format!("{own} Tcp :{port}\n")).await;
}

#[test]
fn the_ipv6_wildcard_alone_leaves_ipv4_free() {
    if has_ipv6() {
        let six = listener("[::]:0");
        let (_, port) = six.address().host_port().expect("a TCP address");
        assert_eq!(six.client_address().to_string(), format!("[::1]:{port}"));
        TcpListener::bind(("127.0.0.1", port)).expect("not ours");
    }
}

#[tokio::test]
async fn a_name_is_bound_on_all_its_addresses_and_one_port() {
    let world = Plan {
        listen: "ws://localhost:0".to_owned(),
        ..Plan::default()
    }
    .start();
    let (_, port) = world.address.host_port().expect("a TCP address");
    assert_eq!(world.address.to_string(), format!("ws://localhost:{port}"));
    TcpStream::connect(("localhost", port))
        .await
        .expect("listening");
}

#[test]
fn a_taken_port_is_an_error_that_names_who_has_it() {
    let first = listener("127.0.0.1:0");
    let error = bind_error(&first.address().to_string());
    let expect = format!(
        "{} is taken by process {} (",
        first.address(),
        std::process::id()
    );
    assert!(error.starts_with(&expect), "{error}");
    assert!(
        error.ends_with("): stop it, or listen on another address"),
        "{error}"
    );
}

#[test]
fn a_port_is_shared_when_both_ask_for_it() {
    let options = BindOptions {
        reuse_port: true,
        ..BindOptions::default()
    };
    let any: Address = "127.0.0.1:0".parse().expect("a valid address");
    let first = bind(&any, &options).expect("a free port");
    bind(first.address(), &options).expect("shared");
    bind(first.address(), &BindOptions::default()).expect_err("not asked for");
}

#[test]
fn what_cannot_be_listened_on_is_said() {
    assert!(bind_error("wss://127.0.0.1:0").contains("tls.certificate"));
    assert!(bind_error("192.0.2.1:0").contains("no interface"));
}

#[tokio::test]
async fn an_inherited_socket_serves() {
    let inherited = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listener = Listener::from_tcp(inherited).expect("a socket");
    let address = listener.client_address();
    let (shutdown, metrics) = <(fingerpost_net::Shutdown, std::sync::Arc<_>)>::default();
    let options = fingerpost_net::ServerOptions::default();
    let server =
        fingerpost_net::Server::new(crate::world::Echo, options, metrics, shutdown.clone());
    let server = tokio::spawn(server.listen(listener).run());
    assert!(get(&address, "/healthz").await.ends_with("ok\n"));
    shutdown.start();
    assert_eq!(server.await.expect("no panic").expect("no failure"), 0);
}

#[test]
fn a_wildcard_is_exposed_and_loopback_is_not() {
    let bound = listener(":0");
    let (_, port) = bound.address().host_port().expect("a TCP address");
    assert_eq!(bound.address().to_string(), format!(":{port}"));
    assert!(bound.is_exposed());
    assert!(!listener("127.0.0.1:0").is_exposed());
}
