//! Hosts that no proxy is asked for: `NO_PROXY`.

use std::net::IpAddr;

use ipnet::IpNet;

/// A list of hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Exempt {
    everything: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    host: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Hosts {
    /// A name and all below it, in small letters.
    Domain(String),
    Net(IpNet),
}

impl Exempt {
    /// Reads names, `.domain`s, addresses and networks with commas or blanks between
    /// them; a port may follow a name or an address. `*` is every host.
    pub(super) fn parse(text: &str) -> Self {
        let words = || {
            let words = text.split([',', ' ', '\t']).map(str::trim);
            words.filter(|word| !word.is_empty())
        };
        Self {
            everything: words().any(|word| word == "*"),
            rules: words().filter_map(Rule::parse).collect(),
        }
    }

    /// Whether a host is asked directly: one of the list, or this host.
    pub(super) fn has(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let ip = host.parse::<IpAddr>().ok();
        let is_own = match ip {
            Some(ip) => ip.to_canonical().is_loopback(),
            None => host == "localhost" || host.ends_with(".localhost"),
        };
        is_own || self.everything || self.rules.iter().any(|rule| rule.has(&host, ip, port))
    }
}

impl Rule {
    fn parse(word: &str) -> Option<Self> {
        if let Some(net) = net(word) {
            let host = Hosts::Net(net);
            return Some(Self { host, port: None });
        }
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (word, None),
        };
        let host = match net(host) {
            Some(net) => Hosts::Net(net),
            None => {
                let domain = host.strip_prefix('*').unwrap_or(host);
                let domain = domain.trim_matches('.').to_ascii_lowercase();
                Hosts::Domain((!domain.is_empty()).then_some(domain)?)
            }
        };
        Some(Self { host, port })
    }

    fn has(&self, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
        let is_host = match (&self.host, ip) {
            (Hosts::Net(net), Some(ip)) => net.contains(&ip.to_canonical()),
            (Hosts::Domain(domain), None) => {
                let above = host.strip_suffix(domain.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            _ => false,
        };
        is_host && self.port.is_none_or(|only| only == port)
    }
}

/// An address or a network, in brackets or not.
fn net(word: &str) -> Option<IpNet> {
    let bare = word
        .strip_prefix('[')
        .and_then(|word| word.strip_suffix(']'));
    let bare = bare.unwrap_or(word);
    let address = || bare.parse::<IpAddr>().ok().map(IpNet::from);
    bare.parse().ok().or_else(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, host: &str, expect: bool) {
        assert_eq!(Exempt::parse(list).has(host, 443), expect, "{list} {host}");
    }

    #[test]
    fn a_domain_means_itself_and_what_is_below() {
        for list in [
            "farm.example",
            ".farm.example",
            "*.Farm.example",
            "a b,farm.example",
        ] {
            check(list, "farm.example", true);
            check(list, "hash.FARM.example.", true);
            check(list, "notfarm.example", false);
            check(list, "farm.example.org", false);
        }
        check("*", "anything", true);
        check(".,:,x:y", "farm.example", false);
    }

    #[test]
    fn networks_hold_addresses() {
        check("10.0.0.0/8", "10.1.2.3", true);
        check("10.0.0.0/8", "11.1.2.3", false);
        check("fd00::/8, 192.0.2.7", "[fd00::1]", true);
        check("fd00::/8, 192.0.2.7", "192.0.2.7", true);
        check("10.0.0.0/8", "10.example", false);
    }

    #[test]
    fn a_port_narrows() {
        check("farm.example:443", "farm.example", true);
        check("farm.example:8443", "farm.example", false);
        check("192.0.2.7:443", "192.0.2.7", true);
        check("[fd00::1]:8443", "fd00::1", false);
    }
}
