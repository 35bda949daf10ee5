//! Whether BitBake's WebSocket client would go through a proxy, which we do not.

use fingerpost_net::Address;

use super::report::Finding;
use super::shown;

/// The proxies of a build.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proxies<'a> {
    pub(super) http: Option<&'a str>,
    pub(super) https: Option<&'a str>,
    /// Names and suffixes of hosts that are connected to directly.
    pub(super) none_for: Option<&'a str>,
}

/// What to say of the proxy of this address, if there is one. Only WebSocket goes through
/// proxies, with the Python package `websockets` 15 and newer.
pub(super) fn check(address: &Address, proxies: Proxies<'_>) -> Option<Finding> {
    let Address::WebSocket {
        host, port, tls, ..
    } = address
    else {
        return None;
    };
    let proxy = match tls {
        true => proxies.https,
        false => proxies.https.or(proxies.http),
    }?;
    let host = host.to_resolve();
    if is_excepted(&host, *port, proxies.none_for.unwrap_or_default()) {
        return None;
    }
    let says = format!(
        "BitBake with `websockets` 15 or newer goes through {}, which is not tried here: if {host} is \
         reached directly, add it to NO_PROXY",
        shown::url(proxy)
    );
    Some(Finding::not_checked("proxy", says))
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
    use super::*;

    const PROXY: Option<&str> = Some("http://u:hunter2@proxy:3128");

    fn found(address: &str, none_for: &str) -> Option<Finding> {
        let proxies = Proxies {
            http: None,
            https: PROXY,
            none_for: Some(none_for),
        };
        check(&address.parse().unwrap(), proxies)
    }

    #[test]
    fn only_websockets_go_through_proxies() {
        assert!(found("h:8686", "").is_none());
        let says = found("wss://h.example/", "").unwrap().says;
        assert!(
            says.contains("http://proxy:3128") && !says.contains("hunter2"),
            "{says}"
        );
    }

    #[test]
    fn excepted_hosts_are_reached_directly() {
        for none_for in ["*", ".example", "example", "h.example:443", "a, h.example"] {
            assert!(found("wss://h.example/", none_for).is_none(), "{none_for}");
        }
        for none_for in ["ample", "h.example:80", "other", ","] {
            assert!(found("wss://h.example/", none_for).is_some(), "{none_for}");
        }
    }
}
