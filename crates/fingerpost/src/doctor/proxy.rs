//! Whether BitBake's WebSocket client goes through a proxy.

use fingerpost_hashequiv_client::Proxies;
use fingerpost_net::Address;

use super::pairing::is_here;
use super::report::Finding;
use super::shown;

const ID: &str = "proxy";

/// The proxies of a build.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named<'a> {
    pub(super) http: Option<&'a str>,
    pub(super) https: Option<&'a str>,
    /// Names and suffixes of hosts that are connected to directly.
    pub(super) none_for: Option<&'a str>,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// Without a proxy.
    Direct,
    /// Through one of these.
    Through(Box<Proxies>),
    /// Through one that BitBake may speak to, and this program does not.
    Unknown,
}

/// The way to an address, and what to say of it. Only WebSocket goes through proxies, with
/// the Python package `websockets` 15 and newer.
pub(super) fn check(address: &Address, named: Named<'_>) -> (Route, Option<Finding>) {
    let Address::WebSocket {
        host, port, tls, ..
    } = address
    else {
        return (Route::Direct, None);
    };
    let proxy = match tls {
        true => named.https,
        false => named.https.or(named.http),
    };
    let host = host.to_resolve();
    let is_excepted = is_excepted(&host, *port, named.none_for.unwrap_or_default());
    let Some(proxy) = proxy.filter(|_| !is_excepted) else {
        return (Route::Direct, None);
    };
    if is_here(address) {
        let says = format!(
            "BitBake goes through {} to this host itself: add {host} to NO_PROXY and no_proxy (it is \
             tried directly here)",
            shown::url(proxy)
        );
        return (Route::Direct, Some(Finding::warning(ID, says)));
    }
    if proxy.starts_with("socks") {
        let says = format!(
            "through {}, as BitBake does with `websockets` 15 or newer and `python-socks`; SOCKS is \
             not spoken here, so nothing behind it is looked at",
            shown::url(proxy)
        );
        return (Route::Unknown, Some(Finding::not_checked(ID, says)));
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
    (
        Route::Through(Box::new(proxies)),
        Some(Finding::ok(ID, says)),
    )
}

/// As Python decides: `*`, or the end of the name or of name and port.
fn is_excepted(host: &str, port: u16, none_for: &str) -> bool {
    let host = host.to_lowercase();
    let with_port = format!("{host}:{port}");
    none_for.split(',').map(str::trim).any(|except| {
        let except = &*except.trim_start_matches('.').to_lowercase();
        let ends = |name: &str| {
            let before = name.strip_suffix(except);
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        except == "*" || (!except.is_empty() && (ends(&host) || ends(&with_port)))
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    const PROXY: Option<&str> = Some("http://u:hunter2@proxy:3128");

    fn found(address: &str, none_for: &str) -> (Route, Option<Finding>) {
        let named = Named {
            http: None,
            https: PROXY,
            none_for: Some(none_for),
        };
        check(&address.parse().unwrap(), named)
    }

    fn is_proxied(address: &str, none_for: &str) -> bool {
        matches!(found(address, none_for).0, Route::Through(_))
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
        let (route, found) = found("ws://localhost:8686/", "");
        assert!(matches!(route, Route::Direct));
        assert_eq!(found.unwrap().state, State::Warning);
    }

    #[test]
    fn socks_is_left_to_bitbake() {
        let named = Named {
            https: Some("socks5h://u:hunter2@proxy:1080"),
            ..Named::default()
        };
        let (route, found) = check(&"wss://h.example/".parse().unwrap(), named);
        let found = found.unwrap();
        assert!(matches!(route, Route::Unknown));
        assert_eq!(found.state, State::NotChecked);
        assert!(found.says.starts_with("through socks5h://proxy:1080,"));
    }

    #[test]
    fn excepted_hosts_are_reached_directly() {
        for none_for in ["*", ".example", "example", "h.example:443", "a, H.Example"] {
            assert!(!is_proxied("wss://h.example/", none_for), "{none_for}");
        }
        for none_for in ["ample", "h.example:80", "other", ","] {
            assert!(is_proxied("wss://h.example/", none_for), "{none_for}");
        }
    }
}
