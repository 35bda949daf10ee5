//! Whose word about others is taken.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::PeerAddress;

/// Where trusted proxies are: a network as CIDR, one address, or `unix`, which is
/// every process that connects to a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyNetwork {
    /// TCP peers with these addresses.
    Ip(IpNet),
    /// Peers of Unix sockets.
    Unix,
}

/// Why a text is no [`ProxyNetwork`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no network; write 10.0.0.0/8, 10.1.2.3, fd00::/8 or unix")]
pub struct ParseProxyNetworkError(String);

impl FromStr for ProxyNetwork {
    type Err = ParseProxyNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let network = network.ok_or_else(|| ParseProxyNetworkError(text.to_owned()))?;
        Ok(Self::Ip(network))
    }
}

impl fmt::Display for ProxyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(network) => network.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// The proxies whose word about their clients is taken. Empty: nobody's. Cheap to
/// clone.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[ProxyNetwork]>);

impl TrustedProxies {
    /// Those in any of `networks`.
    pub fn new(networks: impl IntoIterator<Item = ProxyNetwork>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether `peer` is one of them.
    pub fn trust(&self, peer: &PeerAddress) -> bool {
        match peer {
            PeerAddress::Tcp(address) => self.trust_ip(address.ip()),
            PeerAddress::Unix { .. } | PeerAddress::Unnamed => self.0.contains(&ProxyNetwork::Unix),
        }
    }

    pub(crate) fn trust_ip(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| match network {
            ProxyNetwork::Ip(network) => network.contains(&address),
            ProxyNetwork::Unix => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_and_unix_are_told_apart() {
        let parse = |text: &str| text.parse::<ProxyNetwork>();
        let proxies = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(|text| parse(text).expect(text));
        let proxies = TrustedProxies::new(proxies);
        for (address, trusted) in [
            ("10.255.0.1:1", true),
            ("11.0.0.1:1", false),
            ("192.0.2.7:1", true),
            ("192.0.2.8:1", false),
            ("[fd00::1]:1", true),
            ("[fe00::1]:1", false),
            ("[::ffff:10.0.0.1]:1", true),
        ] {
            let peer = PeerAddress::Tcp(address.parse().expect(address));
            assert_eq!(proxies.trust(&peer), trusted, "{address}");
        }
        assert!(!proxies.trust(&PeerAddress::Unnamed));
        assert!(TrustedProxies::new([ProxyNetwork::Unix]).trust(&PeerAddress::Unnamed));
        for wrong in ["", "10.0.0.0/33", "example.org", "10.0.0.0/8 "] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
