//! What an operator sets: flags, variables, and a file with the same names.

mod server;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use fingerpost_net::Address;
use fingerpost_program::exit::{Exit, failure};
use fingerpost_program::log::{LogFormat, LogLevel};
use fingerpost_signatures::Policy;
use serde::{Deserialize, Deserializer};

use self::server::Oidc;
pub(crate) use self::server::ServerAddress;

use crate::loopback::LoopbackAddress;
use crate::names::Names;
use crate::profiles::{self, ProfileSettings};
use crate::{AgentOptions, Profiles};

/// Everything that may be set. What is not set is `None`, and has its default only when
/// it is used.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The server: one of Fingerpost's as `https://HOST[:PORT]`, any other as `BB_HASHSERVE`
    /// would name it, `HOST:PORT`, `unix://PATH`, `ws://HOST[:PORT]` or `wss://HOST[:PORT]`.
    /// Several of HTTPS may be given, the preferred one first.
    #[arg(
        long,
        value_name = "ADDR",
        env = "FINGERPOST_AGENT_SERVER",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "server::servers")]
    pub(crate) server: Option<Vec<ServerAddress>>,
    /// The server's namespace. Default: that which it puts the agent's login into.
    #[arg(long, value_name = "NAME", env = "FINGERPOST_AGENT_NAMESPACE")]
    pub(crate) namespace: Option<String>,
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
    /// User to log in as at the server, for look-ups and reports. Default: whom each build
    /// logs in as.
    #[arg(long, value_name = "USER", env = "FINGERPOST_AGENT_USERNAME")]
    pub(crate) username: Option<String>,
    /// File that holds that user's token.
    #[arg(long, value_name = "FILE", env = "FINGERPOST_AGENT_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// File that holds a bearer token for the server; it is read again when it changes.
    #[arg(long, value_name = "FILE", env = "FINGERPOST_AGENT_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Show the server what the CI system says about this job: `github:AUDIENCE`,
    /// `env:VARIABLE` (GitLab's `id_tokens`) or `file:PATH`.
    #[arg(long, value_name = "SOURCE", env = "FINGERPOST_AGENT_OIDC")]
    pub(crate) oidc: Option<Oidc>,
    /// Certificate for the server, PEM, with its chain.
    #[arg(long, value_name = "FILE", env = "FINGERPOST_AGENT_CLIENT_CERTIFICATE")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE", env = "FINGERPOST_AGENT_CLIENT_KEY")]
    pub(crate) client_key: Option<PathBuf>,
    /// Keep a snapshot of the server's mappings on this host. [default: true]
    #[arg(
        long,
        value_name = "BOOL",
        env = "FINGERPOST_AGENT_SNAPSHOTS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) snapshots: Option<bool>,
    /// Disk for it. [default: 4096]
    #[arg(long, value_name = "MIB", env = "FINGERPOST_AGENT_SNAPSHOT_MIB")]
    pub(crate) snapshot_mib: Option<u64>,
    /// Key ring of those whose snapshots are believed. Default: whoever made them is.
    #[arg(long, value_name = "FILE", env = "FINGERPOST_AGENT_PUBLISHERS")]
    pub(crate) publishers: Option<PathBuf>,
    /// Signatures of answers: off, prefer (what is signed must verify) or require. What is
    /// refused is a miss. [default: off]
    #[arg(long, value_name = "POLICY", env = "FINGERPOST_AGENT_SIGNATURES")]
    #[serde(deserialize_with = "policy")]
    pub(crate) signatures: Option<Policy>,
    /// Key ring of those whose signatures are believed.
    #[arg(long, value_name = "FILE", env = "FINGERPOST_AGENT_RING")]
    pub(crate) ring: Option<PathBuf>,
    /// Sign what is reported, with the newest active key of this key ring, for builds whose
    /// profile says so.
    #[arg(long, value_name = "RING", env = "FINGERPOST_AGENT_SIGN_WITH")]
    pub(crate) sign_with: Option<PathBuf>,
    /// Namespaces that the server's falls back to, whose rows are believed too.
    #[arg(
        long,
        value_name = "NAME",
        env = "FINGERPOST_AGENT_FALLBACKS",
        value_delimiter = ','
    )]
    pub(crate) fallbacks: Option<Vec<String>>,
    /// How old what is remembered may be while the server is away. [default: 24]
    #[arg(long, value_name = "HOURS", env = "FINGERPOST_AGENT_MAX_OFFLINE_HOURS")]
    pub(crate) max_offline_hours: Option<u64>,
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
    /// How long a report waits for the server at least. [default: 30]
    #[arg(long, value_name = "DAYS", env = "FINGERPOST_AGENT_SPOOL_DAYS")]
    pub(crate) spool_days: Option<u64>,
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
            namespace: self.namespace.or(other.namespace),
            token_file: self.token_file.or(other.token_file),
            oidc: self.oidc.or(other.oidc),
            client_certificate: self.client_certificate.or(other.client_certificate),
            client_key: self.client_key.or(other.client_key),
            snapshots: self.snapshots.or(other.snapshots),
            snapshot_mib: self.snapshot_mib.or(other.snapshot_mib),
            publishers: self.publishers.or(other.publishers),
            signatures: self.signatures.or(other.signatures),
            ring: self.ring.or(other.ring),
            sign_with: self.sign_with.or(other.sign_with),
            fallbacks: self.fallbacks.or(other.fallbacks),
            max_offline_hours: self.max_offline_hours.or(other.max_offline_hours),
            lookup_deadline_ms: self.lookup_deadline_ms.or(other.lookup_deadline_ms),
            report_deadline_ms: self.report_deadline_ms.or(other.report_deadline_ms),
            memory_mib: self.memory_mib.or(other.memory_mib),
            spool_mib: self.spool_mib.or(other.spool_mib),
            spool_days: self.spool_days.or(other.spool_days),
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
    /// There is no server; a number is out of its range; what is shown to the server, or
    /// believed, is incomplete.
    pub(crate) fn options(&self, state: PathBuf) -> anyhow::Result<AgentOptions> {
        let servers = self.servers()?;
        let defaults = AgentOptions::to(servers.native, state);
        let milliseconds = |name, value: Option<u64>, default| match value {
            None => Ok(default),
            Some(value) => within(name, value, 1..=DEADLINE_MS_MAX).map(Duration::from_millis),
        };
        let max_offline_age = match self.max_offline_hours {
            None => defaults.max_offline_age,
            Some(hours) => {
                let hours = within("max_offline_hours", hours, 0..=HOURS_MAX)?;
                Duration::from_secs(hours * 3600)
            }
        };
        let spool_age_max = match self.spool_days {
            None => defaults.spool_age_max,
            Some(days) => {
                let days = within("spool_days", days, 1..=DAYS_MAX)?;
                Duration::from_secs(days * 86_400)
            }
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
            http: servers.http,
            trust: self.trust()?,
            snapshots: self.snapshot_options()?,
            max_offline_age,
            lookup_deadline: lookup,
            report_deadline: report,
            memory_bytes: within_mib("memory_mib", self.memory_mib, defaults.memory_bytes)?,
            spool_bytes_max: within_mib("spool_mib", self.spool_mib, defaults.spool_bytes_max)?,
            spool_age_max,
            strict_auth: self.strict_auth.unwrap_or(defaults.strict_auth),
            ..defaults
        })
    }

    /// The files of keys that it believes or signs with.
    pub(crate) fn rings(&self) -> Vec<PathBuf> {
        let rings = [&self.ring, &self.sign_with, &self.publishers];
        rings.into_iter().flatten().cloned().collect()
    }

    /// The profiles of an agent that `uid` runs on a host with these names.
    ///
    /// # Errors
    ///
    /// They contradict each other, or the server cannot do what they say.
    pub(crate) fn profiles(&self, names: &Names, uid: u32) -> anyhow::Result<Profiles> {
        let loopback = self.loopback_profile.as_deref();
        let server = self.server.as_deref().and_then(<[_]>::first);
        let server = server.map(ServerAddress::native).transpose()?;
        profiles::read(&self.profiles, loopback, names, uid, server.as_ref())
    }

    /// The servers, for people.
    pub(crate) fn server_names(&self) -> String {
        let servers = self.server.as_deref().unwrap_or_default();
        let names: Vec<_> = servers.iter().map(ToString::to_string).collect();
        names.join(", ")
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

fn within_mib(name: &str, value: Option<u64>, default: u64) -> anyhow::Result<u64> {
    match value {
        None => Ok(default),
        Some(value) => within(name, value, 1..=MIB_MAX).map(|value| value << 20),
    }
}

fn policy<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Policy>, D::Error> {
    let word = String::deserialize(from)?;
    word.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Where metrics are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct MetricsAddress(pub(crate) Address);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(say)
    }
}

fn say(error: impl fmt::Display) -> String {
    error.to_string()
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
/// A year.
const HOURS_MAX: u64 = 366 * 24;
/// Ten of them.
const DAYS_MAX: u64 = 3_660;
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

    pub(super) fn flags(words: &[&str]) -> Settings {
        Line::parse_from([&["agent"], words].concat()).settings
    }

    pub(super) fn options(settings: &Settings) -> anyhow::Result<AgentOptions> {
        settings.options("/state".into())
    }

    pub(super) fn refusal(settings: &Settings) -> String {
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
            assert!(options.http.is_none());
            assert!(!options.strict_auth && options.server.credentials.is_none());
        }
        let never = flags(&["--server=h:1", "--spool-days=0"]);
        assert_eq!(
            refusal(&never),
            "spool_days is 0, and must be from 1 to 3660"
        );
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
            ("namespace", "main"),
            ("token_file", "/bearer"),
            ("oidc", "env:JOB"),
            ("client_certificate", "/c.pem"),
            ("client_key", "/k.pem"),
            ("snapshots", "true"),
            ("snapshot_mib", "6"),
            ("publishers", "/p.toml"),
            ("signatures", "prefer"),
            ("ring", "/r.toml"),
            ("sign_with", "/s.toml"),
            ("fallbacks", "main"),
            ("max_offline_hours", "7"),
            ("lookup_deadline_ms", "1"),
            ("report_deadline_ms", "2"),
            ("memory_mib", "3"),
            ("spool_mib", "4"),
            ("spool_days", "8"),
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
                "bind" | "fallbacks" => format!("['{value}']"),
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
            "server = 'far:1'\nstrict_auth = true\nspool_mib = 9\nspool_days = 2\n",
        )
        .unwrap();
        let given = flags(&["--server", "near:1", "--strict-auth=false"]);
        let settings = given.with_file(Some(file.path())).unwrap();
        let options = options(&settings).unwrap();
        assert_eq!(options.server.address.to_string(), "near:1");
        assert_eq!(options.spool_bytes_max, 9 << 20);
        assert_eq!(options.spool_age_max, Duration::from_secs(2 * 86_400));
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
            "server = 'https://u:p@h'",
            "line 1: a server's URL has no login in it",
        );
        check("server = 1", "the address of a server, or a list of them");
        check(
            "signatures = 'always'",
            "line 1: expected off, prefer or require",
        );
        check("oidc = 'gitlab'", "line 1: expected github:AUDIENCE");
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
