//! Addresses as operators and BitBake's configuration write them.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// The port of `ws://HOST`.
const WS_PORT: u16 = 80;
/// The port of `wss://HOST`.
const WSS_PORT: u16 = 443;

/// Where a server listens or a client connects, as in `BB_HASHSERVE`.
///
/// Parsed from and shown as:
///
/// | text | meaning |
/// | --- | --- |
/// | `HOST:PORT` | TCP; exactly one colon |
/// | `[V6]:PORT` | TCP on IPv6 |
/// | `:PORT` | TCP on every interface, IPv4 and IPv6 |
/// | `unix://PATH` | Unix stream socket; the path may be relative and longer than 108 bytes |
/// | `ws://HOST[:PORT][/PATH]` | WebSocket, port 80 unless given; no host means every interface |
/// | `wss://HOST[:PORT][/PATH]` | WebSocket over TLS, port 443 unless given; for clients only |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// The interface, or the host to connect to.
        host: Host,
        /// 0 when binding: any free port.
        port: u16,
    },
    /// A Unix stream socket, the path exactly as given.
    Unix(PathBuf),
    /// A WebSocket on a TCP port.
    WebSocket {
        /// The interface, or the host to connect to.
        host: Host,
        /// 0 when binding: any free port.
        port: u16,
        /// Path and query to ask for, starting with `/`. A server takes every path.
        path: String,
        /// Whether the scheme is `wss`.
        tls: bool,
    },
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Every interface, IPv4 and IPv6. Means this machine to a client.
    Any,
    /// A host name or an IPv4 address.
    Name(String),
    /// An IPv6 address, written in brackets.
    V6(Ipv6Addr),
}

/// Why a text is no [`Address`]: a whole sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// None of the known forms.
    #[error(
        "`{0}` is not an address; expected HOST:PORT, [IPV6]:PORT, :PORT, unix://PATH or ws://HOST[:PORT]"
    )]
    Form(String),
    /// More than one colon outside brackets.
    #[error("`{0}` has more than one colon; write an IPv6 address as [IPV6]:PORT")]
    Colons(String),
    /// The port is missing, no number, or above 65535.
    #[error("`{0}` has no valid port; expected a number from 0 to 65535 after the last colon")]
    Port(String),
    /// What is in brackets is no IPv6 address.
    #[error("`{0}` has no valid IPv6 address between its brackets")]
    V6(String),
    /// A host name with characters that no host name has.
    #[error("`{0}` has a host name with blanks or other characters that no host name has")]
    Name(String),
    /// `wss://` or `unix://` with nothing behind it.
    #[error("`{0}` names no host or path")]
    Empty(String),
    /// A NUL byte in a socket path.
    #[error("the socket path holds a NUL byte")]
    Nul,
    /// `unix:PATH` without the slashes.
    #[error(
        "`{0}` lacks two slashes; a Unix socket is written unix:///absolute or unix://./relative"
    )]
    Slashes(String),
}

impl Address {
    /// Whether clients speak WebSocket there.
    pub fn is_websocket(&self) -> bool {
        matches!(self, Self::WebSocket { .. })
    }

    /// Host and port of the two TCP forms.
    pub fn host_port(&self) -> Option<(&Host, u16)> {
        match self {
            Self::Tcp { host, port } | Self::WebSocket { host, port, .. } => Some((host, *port)),
            Self::Unix(_) => None,
        }
    }

    /// The same address on another port; a Unix address stays as it is.
    #[must_use]
    pub fn with_port(mut self, new: u16) -> Self {
        if let Self::Tcp { port, .. } | Self::WebSocket { port, .. } = &mut self {
            *port = new;
        }
        self
    }

    /// The WebSocket over TLS on the same TCP port, which is how BitBake speaks
    /// TLS; a Unix address stays as it is.
    #[must_use]
    pub fn with_tls(self) -> Self {
        match self {
            Self::Tcp { host, port } => Self::WebSocket {
                host,
                port,
                path: "/".to_owned(),
                tls: true,
            },
            Self::WebSocket {
                host, port, path, ..
            } => Self::WebSocket {
                host,
                port,
                path,
                tls: true,
            },
            Self::Unix(path) => Self::Unix(path),
        }
    }

    /// What a client on this machine writes to reach a server bound here:
    /// `127.0.0.1` or `[::1]` for every interface, an absolute path for a
    /// relative one.
    #[must_use]
    pub fn for_clients(mut self) -> Self {
        match &mut self {
            Self::Tcp { host, .. } | Self::WebSocket { host, .. } => *host = host.for_clients(),
            Self::Unix(path) => {
                if let Ok(absolute) = std::path::absolute(&*path) {
                    *path = absolute;
                }
            }
        }
        self
    }

    /// The same with the name of this machine in place of every interface; nothing where it is
    /// a single one, or the name is none of a host.
    pub(crate) fn for_others(mut self, name: &str) -> Option<Self> {
        match &mut self {
            Self::Tcp { host, .. } | Self::WebSocket { host, .. }
                if host.is_every() && !matches!(name.split('.').next(), Some("" | "localhost")) =>
            {
                *host = Host::Name(name.to_owned());
            }
            _ => return None,
        }
        self.to_string().parse().ok()
    }
}

impl Host {
    fn for_clients(&self) -> Self {
        match self {
            Self::V6(address) if address.is_unspecified() => Self::V6(Ipv6Addr::LOCALHOST),
            every if every.is_every() => Self::Name("127.0.0.1".to_owned()),
            other => other.clone(),
        }
    }

    /// Whether it is every interface of a machine.
    fn is_every(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => name == "0.0.0.0",
            Self::V6(address) => address.is_unspecified(),
        }
    }

    /// The text that a resolver takes: no brackets, and this machine for [`Host::Any`].
    pub fn to_resolve(&self) -> String {
        match self {
            Self::Any => "localhost".to_owned(),
            Self::Name(name) => name.clone(),
            Self::V6(address) => address.to_string(),
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix://") {
            return parse_unix(path, text);
        }
        if let Some(rest) = text.strip_prefix("ws://") {
            return parse_websocket(rest, text, false);
        }
        if let Some(rest) = text.strip_prefix("wss://") {
            return parse_websocket(rest, text, true);
        }
        if text.starts_with("unix:") {
            return Err(ParseAddressError::Slashes(text.to_owned()));
        }
        if text.contains("://") || text.contains('/') {
            return Err(ParseAddressError::Form(text.to_owned()));
        }
        match parse_host_port(text, text)? {
            (host, Some(port)) => Ok(Self::Tcp { host, port }),
            (_, None) => Err(ParseAddressError::Form(text.to_owned())),
        }
    }
}

fn parse_unix(path: &str, text: &str) -> Result<Address, ParseAddressError> {
    if path.is_empty() {
        return Err(ParseAddressError::Empty(text.to_owned()));
    }
    if path.contains('\0') {
        return Err(ParseAddressError::Nul);
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

fn parse_websocket(rest: &str, text: &str, tls: bool) -> Result<Address, ParseAddressError> {
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(split);
    let (host, port) = parse_host_port(authority, text)?;
    if host == Host::Any && (tls || port.is_none()) {
        return Err(ParseAddressError::Empty(text.to_owned()));
    }
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let default = if tls { WSS_PORT } else { WS_PORT };
    Ok(Address::WebSocket {
        host,
        port: port.unwrap_or(default),
        path,
        tls,
    })
}

/// `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT` or `:PORT`; `text` is for the error.
fn parse_host_port(part: &str, text: &str) -> Result<(Host, Option<u16>), ParseAddressError> {
    if let Some(rest) = part.strip_prefix('[') {
        let (inside, rest) = rest
            .split_once(']')
            .ok_or_else(|| ParseAddressError::V6(text.to_owned()))?;
        let host = inside
            .parse()
            .map_err(|_| ParseAddressError::V6(text.to_owned()))?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port, text)?),
            None if rest.is_empty() => None,
            None => return Err(ParseAddressError::Port(text.to_owned())),
        };
        return Ok((Host::V6(host), port));
    }
    let (name, port) = match part.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            return Err(ParseAddressError::Colons(text.to_owned()));
        }
        Some((name, port)) => (name, Some(parse_port(port, text)?)),
        None => (part, None),
    };
    let plausible = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    match name {
        "" => Ok((Host::Any, port)),
        name if name.chars().all(plausible) => Ok((Host::Name(name.to_owned()), port)),
        _ => Err(ParseAddressError::Name(text.to_owned())),
    }
}

fn parse_port(port: &str, text: &str) -> Result<u16, ParseAddressError> {
    // `u16::from_str` takes a leading plus, which no address has.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| ParseAddressError::Port(text.to_owned()))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Name(name) => f.write_str(name),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::WebSocket {
                host,
                port,
                path,
                tls,
            } => {
                let scheme = if *tls { "wss" } else { "ws" };
                let path = if path == "/" { "" } else { path };
                write!(f, "{scheme}://{host}:{port}{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        let address: Address = text.parse().expect(text);
        assert_eq!(address.to_string(), shown, "{text}");
        assert_eq!(shown.parse::<Address>().as_ref(), Ok(&address), "{shown}");
    }

    fn refused(text: &str, words: &str) {
        let error = text.parse::<Address>().expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }

    #[test]
    fn every_form_is_parsed_and_shown_again() {
        check("127.0.0.1:8686", "127.0.0.1:8686");
        check("hash.example.com:1", "hash.example.com:1");
        check("[::1]:8686", "[::1]:8686");
        check("[0:0:0:0:0:0:0:1]:8686", "[::1]:8686");
        check(":8686", ":8686");
        check("localhost:0", "localhost:0");
        check("unix:///run/x.sock", "unix:///run/x.sock");
        check("unix://./x.sock", "unix://./x.sock");
        check("unix://x.sock", "unix://x.sock");
        check("ws://host", "ws://host:80");
        check("ws://host:81/", "ws://host:81");
        check("ws://host:81/a/b?c=d", "ws://host:81/a/b?c=d");
        check("ws://[::1]:81", "ws://[::1]:81");
        check("ws://:81", "ws://:81");
        check("wss://host", "wss://host:443");
        check("wss://[::1]/x", "wss://[::1]:443/x");
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        refused("", "not an address");
        refused("host", "not an address");
        refused("http://host:1", "not an address");
        refused("/run/x.sock", "not an address");
        refused("unix:/run/x.sock", "two slashes");
        refused("unix://", "names no host or path");
        refused("ws://", "names no host or path");
        refused("wss://:443", "names no host or path");
        refused("::1:8686", "more than one colon");
        refused("host:", "no valid port");
        refused("host:+1", "no valid port");
        refused("host:65536", "no valid port");
        refused("[::1]", "not an address");
        refused("[::1]8686", "no valid port");
        refused("[::1:8686", "IPv6");
        refused("[host]:1", "IPv6");
        refused("a b:1", "no host name has");
    }

    #[test]
    fn other_machines_are_sent_to_this_ones_name() {
        let shown = |text: &str, name| {
            let address: Address = text.parse().unwrap();
            address.for_others(name).map(|address| address.to_string())
        };
        for every in [":8686", "0.0.0.0:8686", "[::]:8686"] {
            assert_eq!(shown(every, "farm-7").as_deref(), Some("farm-7:8686"));
        }
        assert_eq!(shown("127.0.0.1:8686", "farm-7"), None);
        assert_eq!(shown("unix:///run/x.sock", "farm-7"), None);
        for nobody in ["a b", "localhost", "localhost.localdomain", "(none)", ""] {
            assert_eq!(shown(":8686", nobody), None, "{nobody}");
        }
    }

    #[test]
    fn clients_are_sent_to_a_real_interface() {
        let shown = |text: &str| {
            text.parse::<Address>()
                .expect("a valid address")
                .for_clients()
                .to_string()
        };
        assert_eq!(shown(":1"), "127.0.0.1:1");
        assert_eq!(shown("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(shown("[::]:1"), "[::1]:1");
        assert_eq!(shown("ws://:1"), "ws://127.0.0.1:1");
        assert!(shown("unix://./x").starts_with("unix:///"));
    }
}
