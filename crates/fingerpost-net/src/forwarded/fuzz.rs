//! A fuzz target of what proxies tell.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    ForwardedBy, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, forwarded, is_host,
};
use crate::{Peer, PeerAddress, ProxyNetwork, Transport, TrustedProxies};

/// Whatever a client writes, and however a trusted proxy adds to it, the client is
/// whom the proxy names, or the proxy itself when it is not clear what that wrote.
/// Whoever is no proxy is believed nothing. A line is `NAME: VALUE`.
pub(crate) fn fuzz_forwarded(data: &[u8]) {
    const CLIENT: &str = "192.0.2.7:0";
    let network: ProxyNetwork = "10.0.0.0/8".parse().expect("a network");
    let proxies = TrustedProxies::new([network]);
    let mut headers = written(data);
    let (proxy, stranger) = (peer("10.0.0.1:1"), peer("192.0.2.9:1"));
    for by in [ForwardedBy::XForwarded, ForwardedBy::Forwarded] {
        let told = forwarded(&proxies, by, &stranger, &headers);
        assert_eq!(told.peer.address, stranger.address);
        assert!(told.host.is_none() && !told.peer.tls);
        let told = forwarded(&proxies, by, &proxy, &headers);
        assert!(told.host.is_none_or(|host| is_host(&host.0)));
    }
    headers.append(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.7"));
    headers.append(header::FORWARDED, HeaderValue::from_static("for=192.0.2.7"));
    let client = peer(CLIENT).address;
    let told = forwarded(&proxies, ForwardedBy::XForwarded, &proxy, &headers);
    assert_eq!(told.peer.address, client);
    let told = forwarded(&proxies, ForwardedBy::Forwarded, &proxy, &headers);
    let known = [&client, &proxy.address];
    assert!(known.contains(&&told.peer.address), "{}", told.peer);
}

fn peer(address: &str) -> Peer {
    Peer {
        address: PeerAddress::Tcp(address.parse().expect("an address")),
        transport: Transport::Tcp,
        listener: "fuzz".into(),
        listener_name: None,
        proxy: None,
        tls: false,
        certificate: None,
    }
}

fn written(data: &[u8]) -> HeaderMap {
    let names = [
        X_FORWARDED_FOR,
        X_FORWARDED_PROTO,
        X_FORWARDED_HOST,
        header::FORWARDED,
    ];
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value)
            && names.contains(&name)
        {
            headers.append(name, value);
        }
    }
    headers
}
