//! TCP ports for builds that cannot use the socket: on this host only. Websockets come to
//! the same ports, and web pages may not open them: whoever sends an `Origin` is refused.

use std::net::IpAddr;
use std::str::FromStr;

use fingerpost_net::{Address, BindOptions, Host, Listener, bind};
use fingerpost_program::sockets::unbound;
use serde::Deserialize;

/// An address that only this host reaches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct LoopbackAddress(Address);

impl FromStr for LoopbackAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: Address = text
            .parse()
            .map_err(|error: fingerpost_net::ParseAddressError| error.to_string())?;
        match &address {
            Address::Unix(_) => Err(format!("`{text}` is a socket: --socket PATH is for those")),
            Address::WebSocket { tls: true, .. } => Err(format!(
                "`{text}` would need a certificate, and nobody else hears what stays on a host: \
                 write ws:// or HOST:PORT"
            )),
            Address::Tcp { host, .. } | Address::WebSocket { host, .. } if is_loopback(host) => {
                Ok(Self(address))
            }
            _ => Err(format!(
                "`{text}` can be reached from other machines, or may be, and an agent is for its \
                 own host: write 127.0.0.1:PORT or [::1]:PORT"
            )),
        }
    }
}

/// Other names may mean other addresses tomorrow.
fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Any => false,
        Host::V6(ip) => IpAddr::V6(*ip).to_canonical().is_loopback(),
        Host::Name(name) => {
            let ip = name.parse::<IpAddr>();
            name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
        }
    }
}

impl TryFrom<String> for LoopbackAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Listens there.
///
/// # Errors
///
/// Somebody else does.
pub(crate) fn listen(address: &LoopbackAddress) -> anyhow::Result<Listener> {
    let listener = bind(&address.0, &BindOptions::default());
    listener.map_err(|error| unbound(error, "--bind ADDR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_host_alone_reaches_is_taken() {
        for text in [
            "127.0.0.1:8686",
            "127.8.0.1:1",
            "[::1]:0",
            "[::ffff:127.0.0.1]:1",
            "localhost:8686",
            "ws://127.0.0.1:8686",
        ] {
            text.parse::<LoopbackAddress>().expect(text);
        }
        let check = |text: &str, words: &str| {
            let why = text.parse::<LoopbackAddress>().unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        for text in [
            "0.0.0.0:1",
            ":1",
            "[::]:1",
            "192.0.2.1:1",
            "builder:1",
            "ws://:1",
        ] {
            check(text, "can be reached from other machines");
        }
        check("unix:///run/a.sock", "--socket PATH is for those");
        check("wss://127.0.0.1:1", "would need a certificate");
        check("127.0.0.1", "is not an address");
    }
}
