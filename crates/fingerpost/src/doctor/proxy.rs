//! Whether BitBake's WebSocket client goes through a proxy.

use fingerpost_hashequiv_client::Proxies;
use fingerpost_net::Address;

use super::pairing::is_here;
use super::report::Finding;
use super::shown;

const ID: &str = "proxy";

/// The proxies of a build. BitBake hands on the names in capitals alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named<'a> {
    pub(super) http: Option<&'a str>,
    pub(super) https: Option<&'a str>,
    /// Names and suffixes of hosts that are connected to directly.
    pub(super) none_for: Option<&'a str>,
}

/// The proxies for the way to an address, nothing where there is none, and what to say of
/// it. Only WebSocket goes through proxies, with the Python package `websockets` 15 and
/// newer.
pub(super) fn check(address: &Address, named: Named<'_>) -> (Option<Proxies>, Option<Finding>) {
    let Address::WebSocket {
        host, port, tls, ..
    } = address
    else {
        return (None, None);
    };
    let proxy = match tls {
        true => named.https,
        false => named.https.or(named.http),
    };
    let host = host.to_resolve();
    let is_excepted = is_excepted(&host, *port, named.none_for.unwrap_or_default());
    let Some(proxy) = proxy.filter(|_| !is_excepted) else {
        return (None, None);
    };
    if is_here(address) {
        let says = format!(
            "BitBake goes through {} to this host itself: add {host} to NO_PROXY (it is tried directly \
             here)",
            shown::url(proxy)
        );
        return (None, Some(Finding::warning(ID, says)));
    }
    let says = format!(
        "through {}, as BitBake does with `websockets` 15 or newer",
        shown::url(proxy)
    );
    let proxies = Proxies::from_environment(|name| {
        let value = match name {
            "HTTP_PROXY" => named.http,
            "HTTPS_PROXY" => named.https,
            _ => None,
        };
        value.map(str::to_owned)
    });
    (Some(proxies), Some(Finding::ok(ID, says)))
}

/// As Python decides: `*`, or the end of the name or of name and port.
fn is_excepted(host: &str, port: u16, none_for: &str) -> bool {
    let with_port = format!("{host}:{port}");
    none_for.split(',').map(str::trim).any(|except| {
        let except = except.trim_start_matches('.');
        let ends = |name: &str| {
            let before = name.strip_suffix(except);
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        except == "*" || (!except.is_empty() && (ends(host) || ends(&with_port)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    const PROXY: Option<&str> = Some("http://u:hunter2@proxy:3128");

    fn found(address: &str, none_for: &str) -> (Option<Proxies>, Option<Finding>) {
        let named = Named {
            http: None,
            https: PROXY,
            none_for: Some(none_for),
        };
        check(&address.parse().unwrap(), named)
    }

    fn is_proxied(address: &str, none_for: &str) -> bool {
        found(address, none_for).0.is_some()
    }

    #[test]
    fn only_websockets_go_through_proxies() {
        assert!(!is_proxied("h:8686", ""));
        assert!(is_proxied("ws://h.example/", ""));
        let says = found("wss://h.example/", "").1.unwrap().says;
        assert!(
            says.contains("http://proxy:3128") && !says.contains("hunter2"),
            "{says}"
        );
    }

    #[test]
    fn a_proxy_before_this_host_is_warned_of() {
        let (proxies, found) = found("ws://localhost:8686/", "");
        assert!(proxies.is_none());
        assert_eq!(found.unwrap().state, State::Warning);
    }

    #[test]
    fn excepted_hosts_are_reached_directly() {
        for none_for in ["*", ".example", "example", "h.example:443", "a, h.example"] {
            assert!(!is_proxied("wss://h.example/", none_for), "{none_for}");
        }
        for none_for in ["ample", "h.example:80", "other", ","] {
            assert!(is_proxied("wss://h.example/", none_for), "{none_for}");
        }
    }
}
