//! What proxies tell of their clients in headers of HTTP.
//!
//! Every client can send such headers. They are read only when the other end of
//! the connection is a trusted proxy, and of a list only from the right as far as
//! trusted proxies wrote it. What is odd makes a client unknown, never somebody else.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, header};

use crate::{Peer, PeerAddress, TrustedProxies};

mod elements;
mod fuzz;

use elements::{Element, elements};
pub(crate) use fuzz::fuzz_forwarded;

/// Which headers of trusted proxies are read. One kind only: a proxy that writes one
/// passes the other on as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// The host, with a port or without, that a client of a trusted proxy asked for: at
/// most 255 bytes of letters, digits and `.-_:[]`. Among a request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedHost(pub Arc<str>);

/// The client of one request.
pub(crate) struct Client<'a> {
    pub(crate) peer: Cow<'a, Peer>,
    pub(crate) host: Option<ForwardedHost>,
}

/// Who sends the request: whoever connected, unless that is a trusted proxy.
pub(crate) fn forwarded<'a>(
    proxies: &TrustedProxies,
    by: ForwardedBy,
    connected: &'a Peer,
    headers: &HeaderMap,
) -> Client<'a> {
    if !proxies.trust(&connected.address) {
        return Client {
            peer: Cow::Borrowed(connected),
            host: None,
        };
    }
    let mut peer = connected.clone();
    let told = match by {
        ForwardedBy::XForwarded => from_x_forwarded(proxies, headers),
        ForwardedBy::Forwarded => from_forwarded(proxies, headers),
    };
    // The proxy's own, which says nothing of its clients.
    peer.certificate = None;
    if let Some(address) = told.address {
        peer.address = PeerAddress::Tcp(address);
    }
    match told.proto {
        Said::Nothing => {}
        Said::One(proto) => peer.tls = is_tls(&proto),
        Said::Odd => peer.tls = false,
    }
    let host = match told.host {
        Said::One(host) if is_host(&host) => Some(ForwardedHost(host.into())),
        _ => None,
    };
    Client {
        peer: Cow::Owned(peer),
        host,
    }
}

/// What the headers say of the client.
struct Told {
    address: Option<SocketAddr>,
    proto: Said,
    host: Said,
}

/// A value that may be given once.
enum Said {
    Nothing,
    One(String),
    /// It is not clear which value the trusted proxy wrote.
    Odd,
}

fn from_x_forwarded(proxies: &TrustedProxies, headers: &HeaderMap) -> Told {
    let hops = list(headers, &X_FORWARDED_FOR);
    let client = client(proxies, hops.iter().map(|hop| address(hop)));
    let place = client.map(|(place, _)| place);
    // A single value is the last proxy's; a list has to be as long as that of the
    // addresses, so that it is known which value is the client's.
    let said = |name| {
        let values = list(headers, name);
        match (values.as_slice(), place) {
            ([], _) => Said::Nothing,
            ([one], _) => Said::One(one.clone()),
            (many, Some(place)) if many.len() == hops.len() => Said::One(many[place].clone()),
            _ => Said::Odd,
        }
    };
    Told {
        address: client.map(|(_, address)| address),
        proto: said(&X_FORWARDED_PROTO),
        host: said(&X_FORWARDED_HOST),
    }
}

fn from_forwarded(proxies: &TrustedProxies, headers: &HeaderMap) -> Told {
    let nothing = |proto| Told {
        address: None,
        proto,
        host: Said::Nothing,
    };
    let lines = headers.get_all(header::FORWARDED).iter();
    let lines = lines.map(|line| elements(line.to_str().ok()?));
    let Some(hops) = lines.collect::<Option<Vec<_>>>() else {
        return nothing(Said::Odd);
    };
    let mut hops: Vec<Element> = hops.into_iter().flatten().collect();
    let addresses = hops.iter().map(|hop| address(hop.client.as_deref()?));
    let Some((place, address)) = client(proxies, addresses) else {
        return nothing(match hops.is_empty() {
            true => Said::Nothing,
            false => Said::Odd,
        });
    };
    let hop = hops.swap_remove(place);
    let said = |value: Option<String>| value.map_or(Said::Nothing, Said::One);
    Told {
        address: Some(address),
        proto: said(hop.proto),
        host: said(hop.host),
    }
}

/// The rightmost address that is no trusted proxy's, and its place: what is to the
/// left of it anybody may have written. The last trusted one, if nobody knows whom it
/// served.
fn client(
    proxies: &TrustedProxies,
    hops: impl DoubleEndedIterator<Item = Option<SocketAddr>> + ExactSizeIterator,
) -> Option<(usize, SocketAddr)> {
    let mut found = None;
    for (place, hop) in hops.enumerate().rev().take(HOPS_MAX) {
        let Some(address) = hop else { break };
        found = Some((place, address));
        if !proxies.trust_ip(address.ip()) {
            break;
        }
    }
    found
}

/// The values of all lines of a header, in order. A line that is no text is one odd
/// value.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(|value| value.trim_matches([' ', '\t']).to_owned())
        .filter(|value| !value.is_empty())
        .collect()
}

/// An address with a port, or without, which is 0 then.
fn address(text: &str) -> Option<SocketAddr> {
    let ip = text.parse::<IpAddr>().ok().or_else(|| {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::from)
    });
    let (ip, port) = match ip {
        Some(ip) => (ip, 0),
        None => {
            let address: SocketAddr = text.parse().ok()?;
            (address.ip(), address.port())
        }
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

fn is_tls(proto: &str) -> bool {
    proto.eq_ignore_ascii_case("https") || proto.eq_ignore_ascii_case("wss")
}

fn is_host(host: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(known)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// More proxies in a row than anybody has.
const HOPS_MAX: usize = 32;
const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
