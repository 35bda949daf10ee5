//! Who a request is believed to be from.

use axum::http::HeaderValue;

use super::*;
use crate::Transport;

const PROXY: &str = "10.0.0.1:4000";

/// A peer as the server knows it, before any header.
fn connected(address: &str, proxies: &TrustedProxies) -> Peer {
    let address = PeerAddress::Tcp(address.parse().expect("an address"));
    Peer {
        address,
        proxy: proxies.trust(&address).then(|| Arc::new(address)),
        transport: Transport::Tcp,
        listener: "here".into(),
        listener_name: None,
        tls: false,
        certificate: Some("cn:proxy".into()),
    }
}

fn proxies() -> TrustedProxies {
    let networks = ["10.0.0.0/8", "127.0.0.0/8"];
    TrustedProxies::new(networks.map(|text| text.parse().expect("a network")))
}

fn client_of(by: ForwardedBy, peer: &str, lines: &[(&'static str, &str)]) -> Client<'static> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        headers.append(HeaderName::from_static(name), value);
    }
    let proxies = proxies();
    let connected = connected(peer, &proxies);
    let client = forwarded(&proxies, by, &connected, &headers);
    Client {
        peer: Cow::Owned(client.peer.into_owned()),
        host: client.host,
    }
}

/// Who the headers of a trusted proxy make a request to be from.
fn check(lines: &[(&'static str, &str)], address: &str, tls: bool) {
    let by = match lines.iter().any(|(name, _)| *name == "forwarded") {
        true => ForwardedBy::Forwarded,
        false => ForwardedBy::XForwarded,
    };
    let client = client_of(by, PROXY, lines);
    assert_eq!(client.peer.to_string(), address, "{lines:?}");
    assert_eq!(client.peer.tls, tls, "{lines:?}");
    assert!(!client.peer.is_local(), "{lines:?}");
}

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";

#[test]
fn the_rightmost_address_that_is_no_proxys_is_the_client() {
    check(&[(FOR, "192.0.2.1")], "192.0.2.1", false);
    check(&[(FOR, "127.0.0.1, 192.0.2.1")], "192.0.2.1", false);
    check(
        &[(FOR, "192.0.2.9, 192.0.2.1, 10.3.3.3")],
        "192.0.2.1",
        false,
    );
    check(
        &[(FOR, "192.0.2.9"), (FOR, "192.0.2.1,10.3.3.3")],
        "192.0.2.1",
        false,
    );
    check(&[(FOR, "10.4.4.4, 10.3.3.3")], "10.4.4.4", false);
    check(&[(FOR, "192.0.2.1:555")], "192.0.2.1:555", false);
    check(&[(FOR, "[2001:db8::1]:5")], "[2001:db8::1]:5", false);
    check(&[(FOR, "[2001:db8::1]")], "2001:db8::1", false);
    check(&[(FOR, "2001:db8::1")], "2001:db8::1", false);
    check(&[(FOR, "::ffff:192.0.2.1")], "192.0.2.1", false);
}

#[test]
fn odd_values_make_nobody_else_of_a_client() {
    check(&[], PROXY, false);
    for odd in [
        "",
        "unknown",
        "192.0.2.1 x",
        "192.0.2.1, nobody",
        "192.0.2.300",
        "\u{e9}",
        "1",
    ] {
        check(&[(FOR, odd)], PROXY, false);
    }
    check(&[(FOR, "192.0.2.1, nobody, 10.3.3.3")], "10.3.3.3", false);
    check(&[(FOR, "192.0.2.1, \t,")], "192.0.2.1", false);
    let long = format!("192.0.2.1{}", ", 10.0.0.9".repeat(5000));
    check(&[(FOR, &long)], "10.0.0.9", false);
    check(&[("x_forwarded_for", "192.0.2.1")], PROXY, false);
}

#[test]
fn only_a_clear_https_counts_as_tls() {
    let client = (FOR, "192.0.2.1");
    check(&[client, (PROTO, "https")], "192.0.2.1", true);
    check(&[client, (PROTO, "HTTPS")], "192.0.2.1", true);
    check(&[client, (PROTO, "http")], "192.0.2.1", false);
    check(
        &[client, (PROTO, "https"), (PROTO, "http")],
        "192.0.2.1",
        false,
    );
    check(&[client, (PROTO, "https, https")], "192.0.2.1", false);
    check(&[client, (PROTO, "httpss")], "192.0.2.1", false);
    let chain = (FOR, "192.0.2.9, 192.0.2.1, 10.3.3.3");
    check(&[chain, (PROTO, "https,http,https")], "192.0.2.1", false);
    check(&[chain, (PROTO, "http,https,http")], "192.0.2.1", true);
    check(&[chain, (PROTO, "https")], "192.0.2.1", true);
}

#[test]
fn a_proxy_that_comes_through_tls_does_not_hide_that_its_client_does_not() {
    let proxies = proxies();
    let mut peer = connected(PROXY, &proxies);
    peer.tls = true;
    let mut headers = HeaderMap::new();
    headers.append(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
    headers.append(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    let client = forwarded(&proxies, ForwardedBy::XForwarded, &peer, &headers).peer;
    assert!(!client.tls);
    assert_eq!(client.certificate, None, "it is the proxy's");
}

#[test]
fn nobody_else_is_believed() {
    let lines = [
        (FOR, "192.0.2.1"),
        (PROTO, "https"),
        ("x-forwarded-host", "evil"),
    ];
    let client = client_of(ForwardedBy::XForwarded, "203.0.113.5:1", &lines);
    assert_eq!(client.peer.to_string(), "203.0.113.5:1");
    assert!(!client.peer.tls && client.host.is_none());
    assert!(client.peer.certificate.is_some());
}

#[test]
fn one_kind_of_header_is_read_and_the_other_is_the_clients() {
    let lines = [
        (FOR, "192.0.2.1"),
        ("forwarded", "for=192.0.2.66;proto=https"),
    ];
    let x = client_of(ForwardedBy::XForwarded, PROXY, &lines).peer;
    assert_eq!((x.to_string().as_str(), x.tls), ("192.0.2.1", false));
    let rfc = client_of(ForwardedBy::Forwarded, PROXY, &lines).peer;
    assert_eq!((rfc.to_string().as_str(), rfc.tls), ("192.0.2.66", true));
}

#[test]
fn forwarded_is_read_as_its_rfc_says() {
    let name = "forwarded";
    check(&[(name, "for=192.0.2.1;proto=https")], "192.0.2.1", true);
    check(
        &[(name, "for=\"[2001:db8::1]:80\"")],
        "[2001:db8::1]:80",
        false,
    );
    check(
        &[(name, "for=127.0.0.1;proto=https, for=192.0.2.1")],
        "192.0.2.1",
        false,
    );
    check(
        &[(name, "for=192.0.2.1;proto=https"), (name, "for=10.3.3.3")],
        "192.0.2.1",
        true,
    );
    for odd in [
        "for=_hidden;proto=https",
        "for=unknown",
        "for=\"x, for=192.0.2.1",
        "proto=https",
    ] {
        check(&[(name, odd)], PROXY, false);
    }
}

#[test]
fn a_client_of_a_proxy_on_this_machine_is_not_local() {
    let none = TrustedProxies::default();
    assert!(connected("127.0.0.1:1", &none).is_local());
    assert!(!connected("192.0.2.1:1", &none).is_local());
    let client = client_of(
        ForwardedBy::XForwarded,
        "127.0.0.1:1",
        &[(FOR, "127.0.0.1")],
    );
    assert!(!client.peer.is_local());
    let unknown = client_of(ForwardedBy::XForwarded, "127.0.0.1:1", &[]).peer;
    assert!(!unknown.is_local());
    // What it sent to the proxy others may have read.
    assert!(!unknown.is_private() && connected("127.0.0.1:1", &none).is_private());
}

#[test]
fn the_host_is_told_if_it_is_one() {
    let host = |value| {
        let client = client_of(
            ForwardedBy::XForwarded,
            PROXY,
            &[("x-forwarded-host", value)],
        );
        client.host.map(|host| host.0.to_string())
    };
    assert_eq!(
        host("build.example:8443").as_deref(),
        Some("build.example:8443")
    );
    for odd in ["", "a, b", "a/b", "a b", "a@b", &"a".repeat(256)] {
        assert_eq!(host(odd), None, "{odd}");
    }
}
