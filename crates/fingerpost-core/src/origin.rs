//! Where a caller comes from, as far as limits are concerned.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The network of a caller, or their user on this machine: what one of them can
/// change at will is left out. A site's IPv6 hosts choose among 2^64 addresses, and
/// neighbours in a /24 are mostly one site's too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// One IPv4 address, see [`Origin::host`].
    Host(Ipv4Addr),
    /// The first three bytes of an IPv4 address, mapped ones included.
    V4([u8; 3]),
    /// The first eight bytes of an IPv6 address.
    V6([u8; 8]),
    /// A user of this machine, at a Unix socket.
    User(u32),
    /// Nobody knows.
    Unknown,
}

impl Origin {
    /// As near as an address tells: one IPv4 address, but a whole IPv6 network.
    pub fn host(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::Host(v4),
            v6 @ IpAddr::V6(_) => v6.into(),
        }
    }

    /// The network of a host; what is none stays as it is.
    pub fn network(self) -> Self {
        match self {
            Self::Host(address) => IpAddr::V4(address).into(),
            other => other,
        }
    }
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [first, second, third, _] = v4.octets();
                Self::V4([first, second, third])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Host(address) => address.fmt(f),
            Self::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0)),
            Self::V6(bytes) => {
                let bits = u128::from(u64::from_be_bytes(bytes)) << 64;
                write!(f, "{}/64", Ipv6Addr::from_bits(bits))
            }
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_have_one_origin() {
        let check = |address: &str, expect: &str| {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(Origin::from(address).to_string(), expect);
        };
        check("192.0.2.1", "192.0.2.0/24");
        check("192.0.2.255", "192.0.2.0/24");
        check("::ffff:192.0.2.7", "192.0.2.0/24");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64");
        check("2001:db8:1:2::", "2001:db8:1:2::/64");
    }

    #[test]
    fn a_host_is_in_its_network() {
        for address in ["192.0.2.1", "::ffff:192.0.2.7", "2001:db8:1:2:3:4:5:6"] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(Origin::host(address).network(), address.into());
        }
        assert_eq!(Origin::User(1).network(), Origin::User(1));
    }
}
