//! Which names a server answers to.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Request, StatusCode, Uri, header};

use crate::problem::Why;

/// Whether a request is for this server: a web page can give its own name any
/// address, ours too, but it cannot make a browser say another name. An address
/// is no such name, nor is `localhost`.
pub(crate) fn is_ours(names: &[String], uri: &Uri, headers: &HeaderMap) -> bool {
    if names.is_empty() {
        return true;
    }
    // Of HTTP/2 the authority is in the URI.
    let asked = uri.authority().map(|authority| is_named(names, authority));
    let hosts = headers.get_all(header::HOST).iter().map(|host| {
        let authority = Authority::try_from(host.as_bytes());
        authority.is_ok_and(|authority| is_named(names, &authority))
    });
    let mut all = asked.into_iter().chain(hosts).peekable();
    all.peek().is_some() && all.all(|is_ours| is_ours)
}

/// The host that a request is for, without its port: of HTTP/2 from its URI.
pub fn host_of<B>(request: &Request<B>) -> Option<&str> {
    host_in(request.uri(), request.headers())
}

/// As [`host_of`], of a request in parts.
pub(crate) fn host_in<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(host) = uri.host() {
        return Some(host);
    }
    Some(without_port(headers.get(header::HOST)?.to_str().ok()?))
}

/// A host without the port behind it, if there is one.
pub fn without_port(host: &str) -> &str {
    let port = host
        .rfind(':')
        .filter(|colon| !host[*colon..].contains(']'));
    &host[..port.unwrap_or(host.len())]
}

fn is_named(names: &[String], authority: &Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let is_v6 = |inner: &str| {
        inner
            .strip_suffix(']')
            .is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok())
    };
    if host.parse::<Ipv4Addr>().is_ok() || host.strip_prefix('[').is_some_and(is_v6) {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut names = names
        .iter()
        .map(|name| name.strip_suffix('.').unwrap_or(name));
    host.eq_ignore_ascii_case("localhost") || names.any(|name| host.eq_ignore_ascii_case(name))
}

/// Says that it is not.
pub(crate) const MISDIRECTED: Why = Why {
    status: StatusCode::MISDIRECTED_REQUEST,
    code: "wrong-host",
    detail: "this server has another name; it is asked by that, or by an address",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_name_or_an_address_goes() {
        let names = ["farm.example".to_owned(), "b.example.".to_owned()];
        let check = |uri: &str, hosts: &[&str], wanted: bool| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            let told = is_ours(&names, &uri.parse().unwrap(), &headers);
            assert_eq!(told, wanted, "{uri} {hosts:?}");
        };
        for host in [
            "farm.example",
            "FARM.example.:8686",
            "b.example",
            "127.0.0.1:8686",
            "10.1.2.3",
            "[::1]:8686",
            "localhost:8686",
        ] {
            check("/", &[host], true);
            check(&format!("http://{host}/"), &[host], true);
        }
        for host in [
            "evil.example",
            "xfarm.example",
            "farm.example.evil",
            "a@farm.example",
            "127.0.0.1.evil.example",
            "",
            "a b",
        ] {
            check("/", &[host], false);
        }
        check("/", &[], false);
        check("/", &["farm.example", "evil.example"], false);
        check("http://evil.example/", &["farm.example"], false);
        check("http://farm.example/", &["evil.example"], false);
        assert!(is_ours(&[], &Uri::from_static("/"), &HeaderMap::new()));
    }
}
