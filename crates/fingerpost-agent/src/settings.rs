//! What an operator sets: flags, variables, and a file with the same names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use fingerpost_hashequiv_client::{ClientOptions, Credentials};
use fingerpost_net::Address;
use fingerpost_program::exit::{Exit, OrExit as _, failure};
use fingerpost_program::log::{LogFormat, LogLevel};
use fingerpost_program::secret::Secret;
use serde::Deserialize;

use crate::loopback::LoopbackAddress;
use crate::names::Names;
use crate::profiles::{self, ProfileSettings};
use crate::{AgentOptions, Profiles};

/// Everything that may be set. What is not set is `None`, and has its default only when
/// it is used.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The server, as `BB_HASHSERVE` would name it: `HOST:PORT`, `unix://PATH`,
    /// `ws://HOST[:PORT]` or `wss://HOST[:PORT]`.
    #[arg(long, value_name = "ADDR", env = "FINGERPOST_AGENT_SERVER")]
    pub(crate) server: Option<ServerAddress>,
    /// Socket to listen on. Default: `agent.sock` in `/run/fingerpost-agent` for root, else
    /// in `$XDG_RUNTIME_DIR/fingerpost`, else in `/tmp/fingerpost-UID`.
    #[arg(long, value_name = "PATH", env = "FINGERPOST_AGENT_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Group whose members may use the socket, beside its user.
    #[arg(long, value_name = "GROUP", env = "FINGERPOST_AGENT_SOCKET_GROUP")]
    pub(crate) socket_group: Option<String>,
    /// Address for builds that cannot use the socket, `127.0.0.1:8686` for example: TCP and
    /// websocket, loopback only, may be repeated. Default: none.
    #[arg(
        long,
        value_name = "ADDR",
        env = "FINGERPOST_AGENT_BIND",
        value_delimiter = ','
    )]
    pub(crate) bind: Option<Vec<LoopbackAddress>>,
    /// Profile of builds that come by such an address, which any user of the host may use;
    /// they never administer. Default: they only look up.
    #[arg(long, value_name = "NAME", env = "FINGERPOST_AGENT_LOOPBACK_PROFILE")]
    pub(crate) loopback_profile: Option<String>,
    /// What builds of certain users and groups may do.
    #[arg(skip)]
    pub(crate) profiles: Vec<ProfileSettings>,
    /// Directory for reports that the server has not seen. Default:
    /// `/var/lib/fingerpost-agent` for root, else `fingerpost-agent` in `$XDG_STATE_HOME`
    /// or `~/.local/state`.
    #[arg(long, value_name = "DIR", env = "FINGERPOST_AGENT_STATE_DIRECTORY")]
    pub(crate) state_directory: Option<PathBuf>,
    /// User to log in as at the server, for builds that do not log in themselves.
    #[arg(long, value_name = "USER", env = "FINGERPOST_AGENT_USERNAME")]
    pub(crate) username: Option<String>,
    /// File that holds that user's token.
    #[arg(long, value_name = "FILE", env = "FINGERPOST_AGENT_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Longest wait of a build for an answer to its look-ups. [default: 2000]
    #[arg(long, value_name = "MS", env = "FINGERPOST_AGENT_LOOKUP_DEADLINE_MS")]
    pub(crate) lookup_deadline_ms: Option<u64>,
    /// Longest wait of a task for the answer to its report. [default: 2000]
    #[arg(long, value_name = "MS", env = "FINGERPOST_AGENT_REPORT_DEADLINE_MS")]
    pub(crate) report_deadline_ms: Option<u64>,
    /// Memory for answers. [default: 16]
    #[arg(long, value_name = "MIB", env = "FINGERPOST_AGENT_MEMORY_MIB")]
    pub(crate) memory_mib: Option<u64>,
    /// Disk for reports that the server has not seen. [default: 256]
    #[arg(long, value_name = "MIB", env = "FINGERPOST_AGENT_SPOOL_MIB")]
    pub(crate) spool_mib: Option<u64>,
    /// Address for metrics and probes, `127.0.0.1:9687` for example. Default: none.
    #[arg(long, value_name = "ADDR", env = "FINGERPOST_AGENT_METRICS")]
    pub(crate) metrics: Option<MetricsAddress>,
    /// Refuse a build's login when the server refuses it, which ends that build.
    #[arg(
        long,
        value_name = "BOOL",
        env = "FINGERPOST_AGENT_STRICT_AUTH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) strict_auth: Option<bool>,
    /// Log level: error, warning, info, debug or trace. [default: info]
    #[arg(short, long, value_name = "LEVEL", env = "FINGERPOST_AGENT_LOG")]
    pub(crate) log: Option<LogLevel>,
    /// Log format: auto, text or json. [default: auto]
    #[arg(long, value_name = "FORMAT", env = "FINGERPOST_AGENT_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

impl Settings {
    /// These, and those of the file for what these do not set: `named`, which must exist,
    /// or the system's, which need not.
    pub(crate) fn with_file(self, named: Option<&Path>) -> anyhow::Result<Self> {
        let path = named.unwrap_or_else(|| Path::new(SYSTEM_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(self);
            }
            Err(error) => {
                let why = format!("cannot read {}: {error}", path.display());
                return Err(failure(Exit::Configuration, why));
            }
        };
        let file = parse(&text).map_err(|why| {
            let why = format!("{}: {why}", path.display());
            failure(Exit::Configuration, why)
        })?;
        Ok(self.or(file))
    }

    fn or(self, other: Self) -> Self {
        Self {
            server: self.server.or(other.server),
            socket: self.socket.or(other.socket),
            socket_group: self.socket_group.or(other.socket_group),
            bind: self.bind.or(other.bind),
            loopback_profile: self.loopback_profile.or(other.loopback_profile),
            // There is no flag for them.
            profiles: other.profiles,
            state_directory: self.state_directory.or(other.state_directory),
            username: self.username.or(other.username),
            password_file: self.password_file.or(other.password_file),
            lookup_deadline_ms: self.lookup_deadline_ms.or(other.lookup_deadline_ms),
            report_deadline_ms: self.report_deadline_ms.or(other.report_deadline_ms),
            memory_mib: self.memory_mib.or(other.memory_mib),
            spool_mib: self.spool_mib.or(other.spool_mib),
            metrics: self.metrics.or(other.metrics),
            strict_auth: self.strict_auth.or(other.strict_auth),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
        }
    }

    /// The agent's options, with reports kept in `state`.
    ///
    /// # Errors
    ///
    /// There is no server; a number is out of its range; user and token do not come
    /// together.
    pub(crate) fn options(&self, state: PathBuf) -> anyhow::Result<AgentOptions> {
        let Some(ServerAddress(address)) = &self.server else {
            let why = "which server? fingerpost agent --server ADDR, as BB_HASHSERVE would name it";
            return Err(failure(Exit::Configuration, why));
        };
        let mut server = ClientOptions::to(address.clone());
        server.credentials = self.credentials()?;
        let defaults = AgentOptions::to(server, state);
        let milliseconds = |name, value: Option<u64>, default| match value {
            None => Ok(default),
            Some(value) => within(name, value, 1..=DEADLINE_MS_MAX).map(Duration::from_millis),
        };
        let mebibytes = |name, value: Option<u64>, default| match value {
            None => Ok(default),
            Some(value) => within(name, value, 1..=MIB_MAX).map(|value| value << 20),
        };
        let lookup = milliseconds(
            "lookup_deadline_ms",
            self.lookup_deadline_ms,
            defaults.lookup_deadline,
        )?;
        let report = milliseconds(
            "report_deadline_ms",
            self.report_deadline_ms,
            defaults.report_deadline,
        )?;
        Ok(AgentOptions {
            lookup_deadline: lookup,
            report_deadline: report,
            memory_bytes: mebibytes("memory_mib", self.memory_mib, defaults.memory_bytes)?,
            spool_bytes_max: mebibytes("spool_mib", self.spool_mib, defaults.spool_bytes_max)?,
            strict_auth: self.strict_auth.unwrap_or(defaults.strict_auth),
            ..defaults
        })
    }

    /// The profiles of an agent that `uid` runs on a host with these names.
    ///
    /// # Errors
    ///
    /// They contradict each other, or the server cannot do what they say.
    pub(crate) fn profiles(&self, names: &Names, uid: u32) -> anyhow::Result<Profiles> {
        let loopback = self.loopback_profile.as_deref();
        let server = self.server.as_ref().map(|server| &server.0);
        profiles::read(&self.profiles, loopback, names, uid, server)
    }

    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        match (&self.username, &self.password_file) {
            (None, None) => Ok(None),
            (Some(username), Some(file)) => {
                let token = Secret::read(file);
                let failed = format!("cannot read {}", file.display());
                Ok(Some(Credentials {
                    username: username.clone(),
                    token: token
                        .or_exit(Exit::Configuration, failed)?
                        .reveal()
                        .to_owned(),
                }))
            }
            _ => {
                let why = "username and password_file need each other";
                Err(failure(Exit::Configuration, why))
            }
        }
    }
}

/// Reads a file; what is wrong is named with its line. It holds no secrets.
fn parse(text: &str) -> Result<Settings, String> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().trim_end();
        let Some(span) = error.span() else {
            return message.to_owned();
        };
        let before = &text.as_bytes()[..span.start.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line}: {message}")
    })
}

fn within(name: &str, value: u64, range: std::ops::RangeInclusive<u64>) -> anyhow::Result<u64> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    let why = format!("{name} is {value}, and must be from {least} to {most}");
    Err(failure(Exit::Configuration, why))
}

/// The server that an agent asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ServerAddress(pub(crate) Address);

/// Where metrics are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct MetricsAddress(pub(crate) Address);

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") || text.starts_with("http://") {
            return Err(format!(
                "an agent asks by BitBake's protocol, and `{text}` is a URL of HTTP: write \
                 HOST:PORT, ws://HOST or wss://HOST"
            ));
        }
        text.parse().map(Self).map_err(say)
    }
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(say)
    }
}

fn say(error: impl fmt::Display) -> String {
    error.to_string()
}

impl TryFrom<String> for ServerAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for MetricsAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

const SYSTEM_FILE: &str = "/etc/fingerpost/agent.toml";
/// What waits longer is no deadline any more.
const DEADLINE_MS_MAX: u64 = 60_000;
/// A TiB.
const MIB_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn flags(words: &[&str]) -> Settings {
        Line::parse_from([&["agent"], words].concat()).settings
    }

    fn options(settings: &Settings) -> anyhow::Result<AgentOptions> {
        settings.options("/state".into())
    }

    fn refusal(settings: &Settings) -> String {
        let error = options(settings).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Configuration);
        error.to_string()
    }

    #[test]
    fn a_server_is_enough() {
        for address in ["h:8686", "unix:///run/x", "ws://h:80/x", "wss://h:443"] {
            let options = options(&flags(&["--server", address])).unwrap();
            assert_eq!(options.server.address.to_string(), address);
            assert_eq!(options.lookup_deadline, Duration::from_secs(2));
            assert_eq!(options.memory_bytes, 16 << 20);
            assert!(!options.strict_auth && options.server.credentials.is_none());
        }
        assert!(refusal(&flags(&[])).starts_with("which server?"));
    }

    #[test]
    fn every_flag_is_a_key_of_the_file() {
        let keys = [
            ("server", "h:1"),
            ("socket", "/run/x.sock"),
            ("socket_group", "builders"),
            ("bind", "127.0.0.1:6"),
            ("loopback_profile", "local"),
            ("state_directory", "/state"),
            ("username", "ann"),
            ("password_file", "/token"),
            ("lookup_deadline_ms", "1"),
            ("report_deadline_ms", "2"),
            ("memory_mib", "3"),
            ("spool_mib", "4"),
            ("metrics", "127.0.0.1:5"),
            ("strict_auth", "true"),
            ("log", "debug"),
            ("log_format", "json"),
        ];
        let is_text = |value: &str| value != "true" && value.parse::<u64>().is_err();
        let mut file = String::new();
        let mut words = vec!["agent".to_owned()];
        for (key, value) in keys {
            let quoted = match key {
                "bind" => format!("['{value}']"),
                _ if is_text(value) => format!("'{value}'"),
                _ => value.to_owned(),
            };
            file += &format!("{key} = {quoted}\n");
            words.push(format!("--{}={value}", key.replace('_', "-")));
        }
        let from_flags = Line::parse_from(words).settings;
        let from_file = parse(&file).unwrap();
        assert_eq!(format!("{from_flags:?}"), format!("{from_file:?}"));
        assert!(!format!("{from_file:?}").contains("None"), "{from_file:?}");
        // And each is taken from the file where no flag sets it.
        let merged = Settings::default().or(from_file);
        assert_eq!(format!("{merged:?}"), format!("{from_flags:?}"));
    }

    #[test]
    fn a_flag_counts_more_than_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "server = 'far:1'\nstrict_auth = true\nspool_mib = 9\n",
        )
        .unwrap();
        let given = flags(&["--server", "near:1", "--strict-auth=false"]);
        let settings = given.with_file(Some(file.path())).unwrap();
        let options = options(&settings).unwrap();
        assert_eq!(options.server.address.to_string(), "near:1");
        assert_eq!(options.spool_bytes_max, 9 << 20);
        assert!(!options.strict_auth);
        assert_eq!(flags(&["--strict-auth"]).strict_auth, Some(true));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named_with_its_line() {
        let check = |text: &str, words: &str| {
            let why = parse(text).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        check(
            "server = 'h:1'\nservre = 'h:1'\n",
            "line 2: unknown field `servre`",
        );
        check("\n\nmemory_mib = 'x'", "line 3: invalid type");
        check(
            "server = 'https://h'",
            "line 1: an agent asks by BitBake's protocol",
        );
        check("log = 'loud'", "no log level");
        check("bind = ['0.0.0.0:1']", "line 1: `0.0.0.0:1` can be reached");
        check(
            "[[profiles]]\nname = 'a'\nuser = 'b'",
            "line 3: unknown field `user`",
        );
        let error = Settings::default().with_file(Some(Path::new("/not/there")));
        assert_eq!(Exit::of(&error.unwrap_err()), Exit::Configuration);
    }

    #[test]
    fn the_example_is_right_when_it_is_switched_on() {
        let example = include_str!("../../../deploy/debian/agent.toml");
        let lines = example.lines().filter_map(|line| line.strip_prefix('#'));
        let settings = lines.filter(|line| !line.starts_with(' '));
        let settings = parse(&settings.collect::<Vec<_>>().join("\n")).unwrap();
        assert!(settings.server.is_some() && settings.bind.is_some());
        let profiles = settings.profiles(&Names::default(), 990);
        assert!(profiles.is_ok() && settings.profiles.len() == 1);
    }

    #[test]
    fn numbers_have_a_range() {
        let check = |flag: &str, words: &str| {
            let said = refusal(&flags(&["--server", "h:1", flag]));
            assert_eq!(said, words);
        };
        check(
            "--lookup-deadline-ms=0",
            "lookup_deadline_ms is 0, and must be from 1 to 60000",
        );
        check(
            "--report-deadline-ms=60001",
            "report_deadline_ms is 60001, and must be from 1 to 60000",
        );
        check(
            "--memory-mib=0",
            "memory_mib is 0, and must be from 1 to 1048576",
        );
    }

    #[test]
    fn a_user_has_a_token_and_the_token_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "token\n").unwrap();
        let path = file.path().to_str().unwrap();
        let login = flags(&["--server=h:1", "--username=ann", "--password-file", path]);
        let credentials = options(&login).unwrap().server.credentials.unwrap();
        assert_eq!(
            (&*credentials.username, &*credentials.token),
            ("ann", "token")
        );
        let said = refusal(&flags(&["--server=h:1", "--username=ann"]));
        assert!(said.contains("need each other"), "{said}");
    }
}
