//! Where an agent listens and keeps what it must not lose: decided here, made in
//! [`directory`], listened on in [`socket`].
//!
//! A home is often on NFS, where neither SQLite's locks hold nor a socket is one for
//! other hosts: by default nothing is ever put there that would be hurt.

mod directory;
mod group;
mod socket;

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fingerpost_program::exit::{Exit, failure};

pub(crate) use self::directory::Directory;
pub(crate) use self::socket::{SocketOptions, bind_socket};

/// What a process finds around it, as far as places depend on it.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// Whom the process acts as.
    pub(crate) uid: u32,
    /// `$RUNTIME_DIRECTORY`: systemd made it for this service.
    pub(crate) runtime_directory: Option<PathBuf>,
    /// `$STATE_DIRECTORY`: the same.
    pub(crate) state_directory: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`, if it is this user's.
    pub(crate) xdg_runtime: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, or `.local/state` in the home.
    pub(crate) xdg_state: Option<PathBuf>,
    /// `$TMPDIR`, or `/tmp`.
    pub(crate) temporary: PathBuf,
    /// The name of the network file system that something is on.
    pub(crate) network: fn(&Path) -> Option<String>,
}

/// Where an agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketPlace {
    /// The socket.
    pub(crate) path: PathBuf,
    /// Its directory, where that is the agent's own.
    pub(crate) directory: Option<Directory>,
    /// What the operator should know about it.
    pub(crate) warning: Option<String>,
}

/// Where an agent keeps reports that the server has not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatePlace {
    /// The directory.
    pub(crate) directory: Directory,
    /// The one that it is in, where that is the agent's own.
    pub(crate) inside: Option<Directory>,
    /// Whether one beside it does as well when another agent has it: builds of one user
    /// on one host may each have an agent.
    pub(crate) may_differ: bool,
    /// What the operator should know about it.
    pub(crate) warning: Option<String>,
}

impl StatePlace {
    /// The directory, and those that do as well, in the order in which to try them.
    pub(crate) fn directories(&self) -> impl Iterator<Item = Directory> {
        let last = if self.may_differ { BESIDE_MAX } else { 1 };
        (1..=last).map(|number| match number {
            1 => self.directory.clone(),
            _ => self.directory.numbered(number),
        })
    }
}

impl Environment {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let mut environment = Self::read(uid, |name| std::env::var_os(name));
        // That of somebody else stays in the environment of `su`, and containers have
        // the variable without the directory.
        environment.xdg_runtime = environment.xdg_runtime.filter(|path| {
            let found = std::fs::metadata(path);
            found.is_ok_and(|found| found.is_dir() && found.uid() == uid)
        });
        environment
    }

    /// That of a process of `uid` with these variables.
    fn read(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        // A relative path is to be passed over, says the specification of XDG.
        let path = |name: &str| {
            let path = variable(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let state = || Some(path("HOME")?.join(".local/state"));
        Self {
            uid,
            runtime_directory: path("RUNTIME_DIRECTORY").map(first),
            state_directory: path("STATE_DIRECTORY").map(first),
            xdg_runtime: path("XDG_RUNTIME_DIR"),
            xdg_state: path("XDG_STATE_HOME").or_else(state),
            temporary: path("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp")),
            network: network_at,
        }
    }

    /// Where to listen: what was asked for, else the agent's own runtime directory.
    pub(crate) fn socket(&self, asked: Option<&Path>) -> anyhow::Result<SocketPlace> {
        let Some(path) = asked else {
            let directory = self.runtime();
            return Ok(SocketPlace {
                path: directory.path.join(SOCKET),
                directory: (self.runtime_directory.is_none()).then_some(directory),
                warning: None,
            });
        };
        let path = absolute(path)?;
        let warning = (self.network)(&path).map(|name| {
            format!(
                "{} is on {name}: the socket works for builds on this host only",
                path.display()
            )
        });
        Ok(SocketPlace {
            path,
            directory: None,
            warning,
        })
    }

    /// Where to keep reports: what was asked for, else what systemd made, else the
    /// system's or the user's place for such things.
    pub(crate) fn state(&self, asked: Option<&Path>) -> anyhow::Result<StatePlace> {
        if let Some(path) = asked {
            return self.state_as_told(absolute(path)?, "choose another --state-directory");
        }
        if let Some(path) = &self.state_directory {
            return self.state_as_told(path.clone(), "let StateDirectory= be on a local disk");
        }
        let usual = match (self.uid, &self.xdg_state) {
            (0, _) => Some(PathBuf::from(SYSTEM_STATE)),
            (_, Some(state)) => Some(state.join(NAME)),
            (_, None) => None,
        };
        let why = match &usual {
            Some(path) => {
                (self.network)(path).map(|name| format!("{} is on {name}", path.display()))
            }
            None => Some("there is no home".to_owned()),
        };
        let (directory, inside, warning) = match (usual, why) {
            (Some(path), None) => (Directory::told(path), None, None),
            (_, why) => {
                let runtime = self.runtime();
                let path = runtime.path.join("state");
                let warning = format!(
                    "{}: reports that the server has not seen are kept in {} and do not outlive a \
                     reboot (--state-directory)",
                    why.unwrap_or_default(),
                    path.display()
                );
                (Directory::private(path), Some(runtime), Some(warning))
            }
        };
        Ok(StatePlace {
            directory,
            inside,
            may_differ: true,
            warning,
        })
    }

    /// Sockets that an agent may listen on which this user would ask, likeliest first.
    pub(crate) fn sockets_to_ask(&self) -> Vec<PathBuf> {
        let own = self.runtime().path.join(SOCKET);
        let mut sockets = vec![own];
        let systems = Path::new(SYSTEM_RUNTIME).join(SOCKET);
        if !sockets.contains(&systems) {
            sockets.push(systems);
        }
        sockets
    }

    fn state_as_told(&self, path: PathBuf, way_out: &str) -> anyhow::Result<StatePlace> {
        if let Some(name) = (self.network)(&path) {
            let why = format!(
                "{} is on {name}, where locks do not hold and reports could be lost: {way_out}",
                path.display()
            );
            return Err(failure(Exit::Configuration, why));
        }
        Ok(StatePlace {
            directory: Directory::told(path),
            inside: None,
            may_differ: false,
            warning: None,
        })
    }

    /// The directory of the socket, by default.
    fn runtime(&self) -> Directory {
        let is_local = |path: &Path| (self.network)(path).is_none();
        if let Some(path) = &self.runtime_directory {
            Directory::told(path.clone())
        } else if self.uid == 0 {
            Directory::shared(PathBuf::from(SYSTEM_RUNTIME))
        } else if let Some(path) = self.xdg_runtime.as_ref().filter(|path| is_local(path)) {
            Directory::private(path.join("fingerpost"))
        } else {
            let temporary = match is_local(&self.temporary) {
                true => &*self.temporary,
                false => Path::new("/tmp"),
            };
            Directory::private(temporary.join(format!("fingerpost-{}", self.uid)))
        }
    }
}

/// systemd names several directories with colons between them.
fn first(path: PathBuf) -> PathBuf {
    let text = path.to_str().and_then(|text| text.split(':').next());
    text.map(PathBuf::from).unwrap_or(path)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
}

/// The network file system that `path`, or what there is of the way to it, is on.
fn network_at(path: &Path) -> Option<String> {
    let there = path.ancestors().find(|ancestor| ancestor.exists())?;
    // What cannot be looked at fails when it is used.
    fingerpost_db::network_file_system(there).ok().flatten()
}

const NAME: &str = "fingerpost-agent";
const SOCKET: &str = "agent.sock";
const SYSTEM_RUNTIME: &str = "/run/fingerpost-agent";
const SYSTEM_STATE: &str = "/var/lib/fingerpost-agent";
/// Agents of one user on one host.
const BESIDE_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(uid: u32, variables: &[(&str, &str)]) -> Environment {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Environment {
            network: |path| path.starts_with("/nfs").then(|| "NFS".to_owned()),
            ..Environment::read(uid, variable)
        }
    }

    #[test]
    fn the_socket_is_where_builds_look_for_it() {
        let check = |uid, variables: &[(&str, &str)], path: &str, directory: Option<u32>| {
            let place = environment(uid, variables).socket(None).unwrap();
            assert_eq!(place.path.to_str(), Some(path));
            let made = place.directory.map(|directory| directory.mode);
            assert_eq!((made, place.warning), (directory, None), "{path}");
        };
        let run = ("XDG_RUNTIME_DIR", "/run/user/7");
        let passed = ("RUNTIME_DIRECTORY", "/run/fingerpost-agent:/run/other");
        check(0, &[run], "/run/fingerpost-agent/agent.sock", Some(0o755));
        check(7, &[run], "/run/user/7/fingerpost/agent.sock", Some(0o700));
        check(7, &[passed, run], "/run/fingerpost-agent/agent.sock", None);
        check(7, &[], "/tmp/fingerpost-7/agent.sock", Some(0o700));
        let relative = ("XDG_RUNTIME_DIR", "run");
        check(7, &[relative], "/tmp/fingerpost-7/agent.sock", Some(0o700));
        let temporary = ("TMPDIR", "/scratch");
        check(
            7,
            &[temporary],
            "/scratch/fingerpost-7/agent.sock",
            Some(0o700),
        );
    }

    #[test]
    fn nothing_is_put_on_nfs_by_default() {
        let far = [
            ("XDG_RUNTIME_DIR", "/nfs/run"),
            ("TMPDIR", "/nfs/tmp"),
            ("HOME", "/nfs/me"),
        ];
        let environment = environment(7, &far);
        let socket = environment.socket(None).unwrap();
        assert_eq!(socket.path.to_str(), Some("/tmp/fingerpost-7/agent.sock"));
        let state = environment.state(None).unwrap();
        assert_eq!(
            state.directory.path.to_str(),
            Some("/tmp/fingerpost-7/state")
        );
        assert_eq!(state.inside, socket.directory);
        let warning = state.warning.unwrap();
        assert!(warning.contains("fingerpost-agent is on NFS"), "{warning}");
    }

    #[test]
    fn state_outlives_a_reboot_where_it_can() {
        let check = |uid, variables: &[(&str, &str)], path: &str, may_differ| {
            let place = environment(uid, variables).state(None).unwrap();
            assert_eq!(place.directory.path.to_str(), Some(path));
            assert_eq!(place.may_differ, may_differ, "{path}");
            place.warning
        };
        let home = ("HOME", "/users/me");
        let xdg = ("XDG_STATE_HOME", "/users/me/state");
        let passed = ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");
        let in_home = "/users/me/.local/state/fingerpost-agent";
        assert_eq!(check(0, &[home], "/var/lib/fingerpost-agent", true), None);
        assert_eq!(check(7, &[home], in_home, true), None);
        let in_state = "/users/me/state/fingerpost-agent";
        assert_eq!(check(7, &[home, xdg], in_state, true), None);
        assert_eq!(check(7, &[home, passed], "/var/lib/a", false), None);
        let without_home = check(7, &[], "/tmp/fingerpost-7/state", true);
        assert!(without_home.unwrap().contains("do not outlive a reboot"));
    }

    #[test]
    fn by_default_a_second_agent_takes_the_next_directory() {
        let environment = environment(7, &[("HOME", "/users/me")]);
        let paths = |place: StatePlace| {
            let directories = place.directories();
            directories.map(|it| it.path).collect::<Vec<_>>()
        };
        let usual = paths(environment.state(None).unwrap());
        let in_home = "/users/me/.local/state/fingerpost-agent";
        assert_eq!(usual[0].to_str(), Some(in_home));
        assert_eq!(usual[1].to_str(), Some(&*format!("{in_home}-2")));
        let asked = environment.state(Some(Path::new("/a"))).unwrap();
        assert_eq!(paths(asked), [PathBuf::from("/a")]);
    }

    #[test]
    fn what_was_asked_for_on_nfs_is_told() {
        let environment = environment(7, &[]);
        let socket = environment.socket(Some(Path::new("/nfs/build/a.sock")));
        let warning = socket.unwrap().warning.unwrap();
        assert!(
            warning.contains("for builds on this host only"),
            "{warning}"
        );
        let state = environment.state(Some(Path::new("/nfs/state")));
        let error = state.unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Configuration);
        assert!(
            error.to_string().starts_with("/nfs/state is on NFS"),
            "{error}"
        );
    }

    #[test]
    fn a_state_directory_of_systemd_on_nfs_is_refused() {
        let environment = environment(7, &[("STATE_DIRECTORY", "/nfs/a")]);
        let error = environment.state(None).unwrap_err().to_string();
        assert!(error.contains("StateDirectory="), "{error}");
    }

    #[test]
    fn the_users_own_agent_is_asked_before_the_systems() {
        let check = |uid, expected: &[&str]| {
            let sockets = environment(uid, &[]).sockets_to_ask();
            let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(sockets, expected);
        };
        let systems = "/run/fingerpost-agent/agent.sock";
        check(7, &["/tmp/fingerpost-7/agent.sock", systems]);
        check(0, &[systems]);
    }

    #[test]
    fn a_path_that_is_not_there_is_judged_by_what_is() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(network_at(&directory.path().join("not/there/yet")), None);
    }
}
