//! `BB_HASHSERVE` and `BB_HASHSERVE_UPSTREAM`, as the BitBake of that release reads them.

use std::path::Path;

use fingerpost_net::{Address, Host};

use super::bitbake::Version;
use super::report::Finding;
use super::shown::{self, without_login};
use super::variables::Variables;

const ID: &str = "address";
const UPSTREAM: &str = "upstream";

/// Which server a build asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// None.
    Off,
    /// One of its own, which may ask an upstream.
    Own {
        /// `BB_HASHSERVE_UPSTREAM`, if it is an address.
        upstream: Option<Address>,
    },
    /// The one at this address.
    At(Address),
    /// An agent that the class fingerpost starts for a build, which is gone afterwards.
    AgentOfBuild,
    /// Nobody can say.
    Unknown,
}

impl Server {
    /// The server that other builds ask too, and that can be tried.
    pub(super) fn shared(&self) -> Option<&Address> {
        match self {
            Self::At(address) => Some(address),
            Self::Own { upstream } => upstream.as_ref(),
            Self::Off | Self::AgentOfBuild | Self::Unknown => None,
        }
    }
}

/// Reads both variables.
pub(super) fn check(variables: &Variables, version: Option<Version>) -> (Server, Vec<Finding>) {
    let upstream = variables.get("BB_HASHSERVE_UPSTREAM");
    match variables.get("BB_HASHSERVE") {
        None => (Server::Off, vec![off()]),
        Some("auto") => {
            let (upstream, about_upstream) = match upstream {
                Some(text) => {
                    let (address, finding) = read(UPSTREAM, text, version);
                    (address, Some(finding))
                }
                None => (None, None),
            };
            let findings = std::iter::once(own(variables)).chain(about_upstream);
            (Server::Own { upstream }, findings.collect())
        }
        Some(text) if is_agent_of_build(text, variables) => {
            (Server::AgentOfBuild, vec![agent_of_build(text, variables)])
        }
        Some(text) => {
            let (address, finding) = read(ID, text, version);
            let mut findings = vec![finding];
            findings.extend(upstream.map(|_| unused_upstream()));
            (address.map_or(Server::Unknown, Server::At), findings)
        }
    }
}

fn off() -> Finding {
    Finding::warning(
        ID,
        "BB_HASHSERVE is empty, so no hash server is asked: set BB_HASHSERVE to its address, or \
         to `auto` for one of this build directory",
    )
}

fn own(variables: &Variables) -> Finding {
    match variables.get("FINGERPOST_PROGRAM") {
        None => Finding::ok(
            ID,
            "auto: BitBake starts a server of its own for this build directory",
        ),
        Some(_) => Finding::warning(
            ID,
            "BB_HASHSERVE is `auto`, which the class fingerpost also sets when the configured \
             server does not answer: if bitbake warned of that, check that server with --server ADDR",
        ),
    }
}

fn is_agent_of_build(text: &str, variables: &Variables) -> bool {
    let socket = variables.get("FINGERPOST_AGENT_SOCKET");
    let is_there = socket.is_some_and(|socket| text.strip_prefix("unix://") == Some(socket));
    is_there && variables.is_true("FINGERPOST_AGENT")
}

/// By default the agent asks what `BB_HASHSERVE` was before the class set it.
fn agent_of_build(text: &str, variables: &Variables) -> Finding {
    let server = variables.get("FINGERPOST_SERVER");
    let asks = match server.filter(|server| *server != text) {
        Some(server) => format!("asks {}", shown::url(server)),
        None => "asks the BB_HASHSERVE of your configuration".to_owned(),
    };
    Finding::not_checked(
        ID,
        format!(
            "the class fingerpost starts an agent for each build, which {asks}: check that with --server ADDR"
        ),
    )
}

fn unused_upstream() -> Finding {
    Finding::warning(
        UPSTREAM,
        "BB_HASHSERVE_UPSTREAM is used with BB_HASHSERVE = \"auto\" only: empty it, or let the \
         server have that upstream",
    )
}

fn read(id: &'static str, text: &str, version: Option<Version>) -> (Option<Address>, Finding) {
    let (bare, has_login) = without_login(text);
    match parse(&bare, version) {
        Err(why) => (None, Finding::problem(id, why)),
        Ok((address, Some(why))) => (Some(address), Finding::warning(id, why)),
        Ok((address, None)) if has_login => {
            let why = format!(
                "the address of {address} holds a login, and BitBake prints addresses: put it into \
                 BB_HASHSERVE_USERNAME and BB_HASHSERVE_PASSWORD (it is not tried here)"
            );
            (Some(address), Finding::warning(id, why))
        }
        Ok((address, None)) => {
            let reads = match version {
                Some(version) => format!("{address}, as {version} reads it"),
                None => address.to_string(),
            };
            (Some(address), Finding::ok(id, reads))
        }
    }
}

/// The address, and what speaks against it; or what must be written in its place.
fn parse(text: &str, version: Option<Version>) -> Result<(Address, Option<String>), String> {
    if text.trim() != text {
        return Err(format!("remove the blanks around `{}`", text.trim()));
    }
    if let Some(variable) = unexpanded(text) {
        return Err(format!(
            "BitBake has no variable {variable}, and leaves it in the address: write its value, or set it"
        ));
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    if let Some(scheme @ ("http" | "https")) = scheme {
        return Err(other_scheme(text, scheme, version));
    }
    let address: Address = text
        .parse()
        .map_err(|error| format!("BitBake cannot read the address: {error}"))?;
    let doubt = match &address {
        Address::Unix(path) => unix(path)?,
        Address::Tcp { host, port } => tcp(host, *port)?,
        Address::WebSocket { .. } => {
            speaks_websocket(version)?;
            None
        }
    };
    Ok((address, doubt))
}

/// The first `${NAME}` of a text, which is there only where BitBake does not know the name:
/// nearly all variables of the environment.
fn unexpanded(text: &str) -> Option<&str> {
    let begin = text.find("${")?;
    let length = text[begin..].find('}')? + 1;
    Some(&text[begin..begin + length])
}

fn other_scheme(text: &str, scheme: &str, version: Option<Version>) -> String {
    let host = shown::authority(text).unwrap_or_else(|| "HOST".to_owned());
    let has_websocket = version.is_none_or(Version::knows_websocket_and_logins);
    match (has_websocket, scheme) {
        (true, "https") => format!(
            "BitBake does not speak {scheme}:// to hash servers: write wss://{host}/ (the same port)"
        ),
        (true, _) => format!(
            "BitBake does not speak {scheme}:// to hash servers: write ws://{host}/ (the same port) or HOST:PORT"
        ),
        (false, _) => {
            let host = shown::host(text).unwrap_or_else(|| "HOST".to_owned());
            format!(
                "this BitBake does not speak {scheme}:// to hash servers: write {host}:PORT, or \
                 let an agent ask the server"
            )
        }
    }
}

/// BitBake changes into the socket's directory and names the socket there, so only that
/// name has a limit, and a path without directory fails.
fn unix(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    let name = path.file_name().unwrap_or_default();
    if name.len() > SOCKET_NAME_BYTES_MAX {
        return Err(format!(
            "the socket's name has {} bytes, and {SOCKET_NAME_BYTES_MAX} is the limit: rename {shown}",
            name.len()
        ));
    }
    if path
        .parent()
        .is_none_or(|parent| parent.as_os_str().is_empty())
    {
        return Err(format!(
            "BitBake fails on a socket without a directory: write unix://./{shown}, or better the \
             absolute path"
        ));
    }
    Ok(path.is_relative().then(|| {
        format!(
            "{shown} is found from the directory that BitBake runs in only: write the absolute path"
        )
    }))
}

fn tcp(host: &Host, port: u16) -> Result<Option<String>, String> {
    match (host, port) {
        (_, 0) => Err("port 0 is for servers that want any port: write the server's".to_owned()),
        (Host::Any, port) => Err(format!(
            "`:{port}` is for servers; a build must name the host: write localhost:{port}"
        )),
        _ => Ok(None),
    }
}

fn speaks_websocket(version: Option<Version>) -> Result<(), String> {
    match version {
        Some(version) if !version.knows_websocket_and_logins() => Err(format!(
            "{version} does not know ws:// and wss://, which came with scarthgap (5.0): write \
             HOST:PORT, or let an agent ask the server"
        )),
        _ => Ok(()),
    }
}

/// What a socket address holds on Linux, without the byte that ends it.
const SOCKET_NAME_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::super::variables::set;
    use super::*;

    fn checked(values: &[(&str, &str)]) -> (Server, Vec<Finding>) {
        let variables = set(values);
        let version = Version::of(&variables);
        check(&variables, version)
    }

    /// The state and the sentence of the only finding about this address.
    fn about(address: &str, version: &str) -> (State, String) {
        let (_, mut found) = checked(&[("BB_HASHSERVE", address), ("BB_VERSION", version)]);
        assert_eq!(found.len(), 1, "{found:?}");
        let found = found.remove(0);
        assert_eq!(found.id, ID);
        (found.state, found.says)
    }

    fn refused(address: &str, version: &str, words: &str) {
        let (state, says) = about(address, version);
        assert_eq!(state, State::Problem, "{address}: {says}");
        assert!(says.contains(words), "{address}: {says}");
    }

    #[test]
    fn a_release_reads_what_it_knows() {
        for (address, version) in [
            ("h:8686", "1.46.0"),
            ("[::1]:8686", "2.0.0"),
            ("unix:///run/a.sock", "2.0.0"),
            ("wss://h/ns/x", "2.8.0"),
        ] {
            assert_eq!(about(address, version).0, State::Ok, "{address}");
        }
        refused("wss://h/", "2.0.0", "BitBake 2.0 (kirkstone) does not know");
    }

    #[test]
    fn what_must_be_written_is_said() {
        refused("https://h:8443/x", "2.8.0", "write wss://h:8443/");
        refused("https://h/x", "2.0.0", "write h:PORT");
        refused(":8686", "2.8.0", "write localhost:8686");
        refused("h:0", "2.8.0", "port 0");
        refused("unix://a.sock", "2.8.0", "write unix://./a.sock");
        refused("unix:/a.sock", "2.8.0", "two slashes");
        refused("::1:8686", "2.8.0", "[IPV6]:PORT");
        refused(" h:1", "2.8.0", "blanks around `h:1`");
        refused("h", "2.8.0", "not an address");
        let runtime = "unix://${XDG_RUNTIME_DIR}/a.sock";
        refused(runtime, "2.8.0", "no variable ${XDG_RUNTIME_DIR},");
    }

    #[test]
    fn only_the_name_of_a_socket_has_a_limit() {
        let long = "d".repeat(200);
        assert_eq!(about(&format!("unix:///{long}/s"), "2.8.0").0, State::Ok);
        refused(&format!("unix:///d/{long}"), "2.8.0", "200 bytes");
        let (state, says) = about("unix://./a.sock", "2.8.0");
        assert!(
            state == State::Warning && says.contains("absolute"),
            "{says}"
        );
    }

    #[test]
    fn a_login_in_an_address_is_not_shown() {
        for address in ["wss://u:hunter2@h/", "https://u:hunter2@h/", "u:hunter2@h"] {
            let (state, says) = about(address, "2.8.0");
            assert_ne!(state, State::Ok);
            assert!(!says.contains("hunter2"), "{says}");
        }
    }

    #[test]
    fn an_upstream_is_for_builds_with_a_server_of_their_own() {
        let upstream = ("BB_HASHSERVE_UPSTREAM", "h:8686");
        let (server, found) = checked(&[("BB_HASHSERVE", "auto"), upstream]);
        assert_eq!(server.shared().unwrap().to_string(), "h:8686");
        assert!(
            found.iter().all(|found| found.state == State::Ok),
            "{found:?}"
        );
        let (_, found) = checked(&[("BB_HASHSERVE", "other:1"), upstream]);
        assert_eq!((found[1].id, found[1].state), (UPSTREAM, State::Warning));
    }

    #[test]
    fn the_agent_of_a_build_is_gone_after_it() {
        let socket = ("FINGERPOST_AGENT_SOCKET", "/build/agent.sock");
        let address = ("BB_HASHSERVE", "unix:///build/agent.sock");
        let wanted = ("FINGERPOST_AGENT", "1");
        let said = |server: &str| {
            let server = ("FINGERPOST_SERVER", server);
            let (found, mut said) = checked(&[wanted, socket, address, server]);
            assert_eq!(found, Server::AgentOfBuild);
            said.remove(0).says
        };
        assert!(said("wss://u:hunter2@h/").contains("asks wss://h/: check"));
        assert!(said(address.1).contains("asks the BB_HASHSERVE of your configuration:"));
        let other = ("BB_HASHSERVE", "unix:///run/agent.sock");
        for values in [
            [wanted, socket, other],
            [wanted, address, other],
            [socket, address, address],
        ] {
            assert!(matches!(checked(&values).0, Server::At(_)));
        }
    }

    #[test]
    fn the_class_may_have_set_auto() {
        let class = ("FINGERPOST_PROGRAM", "fingerpost");
        let (server, found) = checked(&[("BB_HASHSERVE", "auto"), class]);
        assert_eq!(server, Server::Own { upstream: None });
        assert_eq!(found[0].state, State::Warning);
    }
}
