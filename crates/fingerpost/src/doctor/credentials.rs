//! Whom a build logs in as: `BB_HASHSERVE_USERNAME` and `BB_HASHSERVE_PASSWORD` if both
//! are set, else `~/.netrc`, where the machine is the whole of `BB_HASHSERVE`.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use fingerpost_hashequiv_client::Credentials;

use super::address::Server;
use super::bitbake::Version;
use super::pairing::is_in_the_clear;
use super::report::Finding;
use super::shown;
use super::variables::Variables;
use crate::client::netrc;

const ID: &str = "credentials";

/// A netrc file, as Python finds it.
#[derive(Default)]
pub(super) struct NetrcFile {
    /// What is in it; empty if there is none.
    pub(super) text: String,
    /// Why Python reads none of it.
    pub(super) refused: Option<&'static str>,
}

impl NetrcFile {
    /// `~/.netrc`. One that cannot be read is none.
    pub(super) fn of_user() -> Self {
        let Some(home) = std::env::var_os("HOME") else {
            return Self::default();
        };
        let path = PathBuf::from(home).join(".netrc");
        let (Ok(text), Ok(found)) = (std::fs::read_to_string(&path), path.metadata()) else {
            return Self::default();
        };
        let is_own = found.uid() == rustix::process::getuid().as_raw();
        let refused = match (is_own, found.mode() & 0o077) {
            (true, 0) => None,
            (true, _) => Some("others may read it: chmod 600 ~/.netrc"),
            (false, _) => Some("it belongs to somebody else: chown it"),
        };
        Self { text, refused }
    }
}

/// Finds the login, and what is odd about it.
pub(super) fn check(
    variables: &Variables,
    version: Option<Version>,
    server: &Server,
    file: &NetrcFile,
) -> (Option<Credentials>, Vec<Finding>) {
    let key = variables.get("BB_HASHSERVE").unwrap_or_default();
    let (login, finding) = find(variables, key, file);
    let Some(login) = login else {
        return (None, vec![finding]);
    };
    match (server, version) {
        (Server::Own { .. }, Some(version)) if !version.knows_websocket_and_logins() => {
            let says = format!("{version} does not log in, and its own server wants no login");
            (None, vec![Finding::ok(ID, says)])
        }
        (Server::Own { .. }, _) => (None, vec![for_own_server(&login.username)]),
        (_, Some(version)) if !version.knows_websocket_and_logins() => {
            let why = format!(
                "{version} does not log in, so builds are anonymous: let an agent log in, or let the \
                 server give anonymous callers what builds need"
            );
            (None, vec![Finding::warning(ID, why)])
        }
        _ => {
            let mut findings = vec![finding];
            let address = server.shared();
            findings.extend(address.filter(|at| is_in_the_clear(at)).map(|_| clear()));
            (Some(login), findings)
        }
    }
}

fn find(variables: &Variables, key: &str, file: &NetrcFile) -> (Option<Credentials>, Finding) {
    let username = variables.get("BB_HASHSERVE_USERNAME");
    if let (Some(username), Some(password)) = (username, variables.password()) {
        let says = format!("logs in as {username} (BB_HASHSERVE_USERNAME)");
        let login = Credentials {
            username: username.to_owned(),
            token: password.reveal().to_owned(),
        };
        return (Some(login), Finding::ok(ID, says));
    }
    let (login, finding) = of_netrc(key, file);
    let half = match (username, variables.password()) {
        (Some(_), None) => "BB_HASHSERVE_PASSWORD",
        (None, Some(_)) => "BB_HASHSERVE_USERNAME",
        _ => return (login, finding),
    };
    let why = format!("{half} is missing, so the other half is not used: set both or none");
    (login, Finding::warning(ID, why))
}

fn of_netrc(key: &str, file: &NetrcFile) -> (Option<Credentials>, Finding) {
    let machines = netrc::machines(&file.text);
    let is_named = machines.iter().flatten().any(|machine| machine == key);
    let Some(login) = netrc::lookup(&file.text, key) else {
        return (None, without(key, machines.iter().flatten()));
    };
    if let Some(why) = file.refused {
        let says = format!("Python reads nothing of ~/.netrc, since {why}");
        return (None, Finding::warning(ID, says));
    }
    let username = &login.username;
    let finding = match is_named {
        true => Finding::ok(ID, format!("logs in as {username} (~/.netrc)")),
        false => Finding::warning(
            ID,
            format!(
                "logs in as {username} by the `default` entry of ~/.netrc, which BitBake takes for \
                 every hash server, its own too, that refuses it and ends the build: replace it by \
                 `machine {}`",
                shown::url(key)
            ),
        ),
    };
    let login = Credentials {
        username: login.username,
        token: login.token.reveal().to_owned(),
    };
    (Some(login), finding)
}

/// No login, and whether somebody thought that there is one.
fn without<'a>(key: &str, mut machines: impl Iterator<Item = &'a String>) -> Finding {
    let host = shown::host(key).or_else(|| Some(key.rsplit_once(':')?.0.to_owned()));
    let is_alike = |machine: &&String| {
        let machine = machine.trim_end_matches('/');
        machine == key.trim_end_matches('/') || host.as_deref() == Some(machine)
    };
    match machines.find(is_alike) {
        None => Finding::ok(ID, "no login: the server is asked as an anonymous caller"),
        Some(machine) => Finding::warning(
            ID,
            format!(
                "`machine {}` in ~/.netrc is not used for the hash server: BitBake looks for \
                 `machine {}`, the whole of BB_HASHSERVE, letter for letter",
                shown::url(machine),
                shown::url(key)
            ),
        ),
    }
}

fn for_own_server(username: &str) -> Finding {
    Finding::problem(
        ID,
        format!(
            "with `auto` a build logs in as {username} at its own server, which refuses that, and a \
             refused login ends the build: empty BB_HASHSERVE_USERNAME and BB_HASHSERVE_PASSWORD, and \
             have no `default` in ~/.netrc"
        ),
    )
}

fn clear() -> Finding {
    Finding::warning(
        "cleartext",
        "the token can be read on the way, and Fingerpost refuses such logins by default: use \
         wss://, or let an agent log in",
    )
}

#[cfg(test)]
mod tests {
    use super::super::address;
    use super::super::report::State;
    use super::super::variables::set;
    use super::*;

    const USERNAME: (&str, &str) = ("BB_HASHSERVE_USERNAME", "builder");
    const PASSWORD: (&str, &str) = ("BB_HASHSERVE_PASSWORD", "hunter2");

    fn checked(values: &[(&str, &str)], netrc: &str) -> (Option<Credentials>, Vec<Finding>) {
        let variables = set(values);
        let version = Version::of(&variables);
        let (server, _) = address::check(&variables, version);
        let file = NetrcFile {
            text: netrc.to_owned(),
            refused: None,
        };
        let (login, found) = check(&variables, version, &server, &file);
        assert!(found.iter().all(|found| !found.says.contains("hunter2")));
        (login, found)
    }

    fn first(values: &[(&str, &str)], netrc: &str) -> (bool, State, String) {
        let (login, mut found) = checked(values, netrc);
        let found = found.remove(0);
        (login.is_some(), found.state, found.says)
    }

    #[test]
    fn both_variables_count_before_the_file() {
        let netrc = "machine wss://h/ login other password hunter2";
        let server = ("BB_HASHSERVE", "wss://h/");
        let (_, state, says) = first(&[server, USERNAME, PASSWORD], netrc);
        assert_eq!(
            (state, &*says),
            (State::Ok, "logs in as builder (BB_HASHSERVE_USERNAME)")
        );
        let (is_login, state, says) = first(&[server, USERNAME], netrc);
        assert!(is_login && state == State::Warning, "{says}");
        assert!(says.starts_with("BB_HASHSERVE_PASSWORD is missing"));
        let (_, state, says) = first(&[server], netrc);
        assert_eq!((state, &*says), (State::Ok, "logs in as other (~/.netrc)"));
    }

    #[test]
    fn the_key_that_bitbake_looks_for_is_told() {
        for machine in ["h", "wss://h"] {
            let netrc = format!("machine {machine} login u password hunter2");
            let (is_login, state, says) = first(&[("BB_HASHSERVE", "wss://h/")], &netrc);
            assert!(!is_login && state == State::Warning);
            assert!(says.contains("`machine wss://h/`"), "{says}");
        }
        let netrc = "machine elsewhere login u password hunter2";
        assert_eq!(first(&[("BB_HASHSERVE", "h:1")], netrc).1, State::Ok);
    }

    #[test]
    fn the_own_server_of_a_build_refuses_every_login() {
        let auto = ("BB_HASHSERVE", "auto");
        for (values, netrc) in [
            (&[auto, USERNAME, PASSWORD][..], ""),
            (&[auto], "default login u password hunter2"),
        ] {
            let (is_login, state, says) = first(values, netrc);
            assert!(!is_login && state == State::Problem, "{says}");
        }
        assert_eq!(first(&[auto], "").1, State::Ok);
    }

    #[test]
    fn old_releases_do_not_log_in() {
        let kirkstone = ("BB_VERSION", "2.0.0");
        for (server, expected) in [("h:1", State::Warning), ("auto", State::Ok)] {
            let values = [("BB_HASHSERVE", server), USERNAME, PASSWORD, kirkstone];
            let (is_login, state, says) = first(&values, "");
            assert!(!is_login && state == expected, "{server}: {says}");
        }
    }

    #[test]
    fn a_login_without_tls_is_warned_of() {
        let (_, found) = checked(&[("BB_HASHSERVE", "h:1"), USERNAME, PASSWORD], "");
        assert_eq!((found[1].id, found[1].state), ("cleartext", State::Warning));
    }

    #[test]
    fn a_file_that_python_refuses_has_no_login() {
        let variables = set(&[("BB_HASHSERVE", "wss://h/")]);
        let file = NetrcFile {
            text: "machine wss://h/ login u password hunter2".to_owned(),
            refused: Some("others may read it"),
        };
        let (login, found) = check(&variables, None, &Server::Unknown, &file);
        assert!(login.is_none());
        assert_eq!(found[0].state, State::Warning);
    }
}
