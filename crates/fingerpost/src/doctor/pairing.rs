//! Whether hash server and shared state belong together: a unihash is of use to a build
//! only where the objects of that name are.

use std::path::{Component, Path, PathBuf};

use fingerpost_net::{Address, Host};

use super::address::Server;
use super::mirrors::Mirrors;
use super::report::Finding;
use super::variables::Variables;

const ID: &str = "pairing";

/// What was found out beside the variables.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// Whether an agent listens at the server's address, so that the server is elsewhere.
    pub(super) is_agent: bool,
    /// The network file system that `SSTATE_DIR` is on.
    pub(super) sstate_network: Option<String>,
}

/// Who has the objects beside this build.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Objects {
    /// Whoever fills the mirror or the network directory.
    Others,
    /// Builds of this host.
    Host,
    /// This build directory alone.
    Alone,
}

/// Who asks the hash server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hashes {
    Others,
    Host,
    Alone,
}

/// Compares the two.
pub(super) fn check(variables: &Variables, server: &Server, around: &Around) -> Option<Finding> {
    if !variables.knows("SSTATE_MIRRORS") {
        return Some(Finding::not_checked(ID, "SSTATE_MIRRORS is not known"));
    }
    let objects = objects(variables, around);
    let hashes = match server {
        Server::Off | Server::Unknown => return None,
        Server::AgentOfBuild => Hashes::Others,
        Server::Own { upstream: Some(_) } => Hashes::Others,
        Server::Own { upstream: None } if variables.get("BB_HASHSERVE_DB_DIR").is_some() => {
            Hashes::Host
        }
        Server::Own { upstream: None } => Hashes::Alone,
        Server::At(_) if around.is_agent => Hashes::Others,
        Server::At(address) if is_here(address) => Hashes::Host,
        Server::At(_) => Hashes::Others,
    };
    Some(compare(hashes, objects, variables))
}

fn compare(hashes: Hashes, objects: Objects, variables: &Variables) -> Finding {
    let directory = variables.get("SSTATE_DIR").unwrap_or("SSTATE_DIR");
    match (hashes, objects) {
        (Hashes::Others, Objects::Others) => Finding::ok(
            ID,
            "hash server and sstate are both shared with other hosts",
        ),
        (Hashes::Host, Objects::Host) => {
            Finding::ok(ID, "hash server and sstate are both those of this host")
        }
        (Hashes::Alone, Objects::Alone) => Finding::ok(
            ID,
            "hash server and sstate are both of this build directory",
        ),
        (Hashes::Host, Objects::Others) => Finding::ok(
            ID,
            "hash server of this host, and an sstate mirror: make sure that what fills the mirror \
             asks the same server",
        ),
        (Hashes::Others, Objects::Alone) => Finding::problem(
            ID,
            "the shared hash server names objects that only other builds have: set SSTATE_MIRRORS \
             to the mirror that they fill, or SSTATE_DIR to a shared directory",
        ),
        (Hashes::Others, Objects::Host) => Finding::warning(
            ID,
            format!(
                "the hash server is shared, and the objects that it names are looked for in \
                 {directory} only: set SSTATE_MIRRORS to the mirror of the other hosts, if there is one"
            ),
        ),
        (Hashes::Host, Objects::Alone) => Finding::warning(
            ID,
            "the hash server of this host names objects of other build directories: set SSTATE_DIR \
             to one directory for all of them",
        ),
        (Hashes::Alone, Objects::Host) => Finding::warning(
            ID,
            format!(
                "{directory} is shared and the hash server is not, so little is used again: set \
                 BB_HASHSERVE to a shared server, or BB_HASHSERVE_DB_DIR to a local directory for all builds"
            ),
        ),
        (Hashes::Alone, Objects::Others) => Finding::warning(
            ID,
            "a shared mirror with the hash server of one build directory finds little: set \
             BB_HASHSERVE to the server of whoever fills the mirror, or with `auto` \
             BB_HASHSERVE_UPSTREAM",
        ),
    }
}

fn objects(variables: &Variables, around: &Around) -> Objects {
    if !Mirrors::of(variables).is_empty() || around.sstate_network.is_some() {
        return Objects::Others;
    }
    let (directory, top) = (variables.get("SSTATE_DIR"), variables.get("TOPDIR"));
    match (directory, top) {
        (Some(directory), Some(top)) if !plain(directory).starts_with(plain(top)) => Objects::Host,
        _ => Objects::Alone,
    }
}

/// The path without `..`: `${TOPDIR}/../sstate-cache` is not in `TOPDIR`.
fn plain(path: &str) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => _ = plain.pop(),
            other => plain.push(other),
        }
    }
    plain
}

/// Whether the server is on this host.
pub(super) fn is_here(address: &Address) -> bool {
    match address.host_port() {
        None | Some((Host::Any, _)) => true,
        Some((Host::V6(host), _)) => host.is_loopback(),
        Some((Host::Name(name), _)) => name == "localhost" || name.starts_with("127."),
    }
}

/// Whether what is sent to the server can be read on the way.
pub(super) fn is_in_the_clear(address: &Address) -> bool {
    let is_plain = matches!(
        address,
        Address::Tcp { .. } | Address::WebSocket { tls: false, .. }
    );
    is_plain && !is_here(address)
}

#[cfg(test)]
mod tests {
    use super::super::address;
    use super::super::report::State;
    use super::super::variables::set;
    use super::*;

    const MIRROR: (&str, &str) = ("SSTATE_MIRRORS", "file://.* https://h/PATH");
    const INSIDE: (&str, &str) = ("SSTATE_DIR", "/build/sstate-cache");
    const OUTSIDE: (&str, &str) = ("SSTATE_DIR", "/srv/sstate");

    fn around(values: &[(&str, &str)], around: &Around) -> State {
        let variables = set(values);
        let (server, _) = address::check(&variables, None);
        check(&variables, &server, around).unwrap().state
    }

    fn state(server: &str, more: &[(&str, &str)]) -> State {
        let values = [&[("BB_HASHSERVE", server)], more].concat();
        around(&values, &Around::default())
    }

    #[test]
    fn a_shared_server_needs_shared_objects() {
        assert_eq!(state("wss://h/", &[]), State::Problem);
        assert_eq!(state("wss://h/", &[INSIDE]), State::Problem);
        assert_eq!(state("wss://h/", &[OUTSIDE]), State::Warning);
        assert_eq!(state("wss://h/", &[MIRROR]), State::Ok);
        let upstream = ("BB_HASHSERVE_UPSTREAM", "h:1");
        assert_eq!(state("auto", &[upstream]), State::Problem);
        assert_eq!(state("auto", &[upstream, MIRROR]), State::Ok);
    }

    #[test]
    fn shared_objects_need_a_shared_server() {
        assert_eq!(state("auto", &[MIRROR]), State::Warning);
        assert_eq!(state("auto", &[OUTSIDE]), State::Warning);
        assert_eq!(state("auto", &[INSIDE]), State::Ok);
        let database = ("BB_HASHSERVE_DB_DIR", "/srv/sstate");
        assert_eq!(state("auto", &[OUTSIDE, database]), State::Ok);
    }

    #[test]
    fn a_directory_beside_the_build_is_not_of_this_build_alone() {
        let beside = ("SSTATE_DIR", "/build/../sstate-cache");
        assert_eq!(state("auto", &[beside]), State::Warning);
        let within = ("SSTATE_DIR", "/build/x/../sstate-cache");
        assert_eq!(state("auto", &[within]), State::Ok);
    }

    #[test]
    fn a_server_of_this_host_goes_with_a_directory_of_this_host() {
        for server in ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:///run/s"] {
            assert_eq!(state(server, &[OUTSIDE]), State::Ok, "{server}");
            assert_eq!(state(server, &[INSIDE]), State::Warning, "{server}");
        }
    }

    #[test]
    fn the_server_of_an_agent_is_elsewhere() {
        let agent = Around {
            is_agent: true,
            ..Around::default()
        };
        let server = ("BB_HASHSERVE", "unix:///run/s");
        assert_eq!(around(&[server, INSIDE], &agent), State::Problem);
        let nfs = Around {
            sstate_network: Some("NFS".to_owned()),
            ..agent
        };
        assert_eq!(around(&[server, OUTSIDE], &nfs), State::Ok);
        let of_build = [
            ("FINGERPOST_AGENT", "1"),
            ("FINGERPOST_AGENT_SOCKET", "/run/s"),
            INSIDE,
        ];
        assert_eq!(state("unix:///run/s", &of_build), State::Problem);
    }

    #[test]
    fn a_login_can_be_read_on_the_way_without_tls() {
        let in_the_clear = |text: &str| is_in_the_clear(&text.parse().unwrap());
        assert!(in_the_clear("h:1") && in_the_clear("ws://h/"));
        assert!(!in_the_clear("wss://h/") && !in_the_clear("127.0.0.1:1"));
        assert!(!in_the_clear("unix:///run/s"));
    }
}
