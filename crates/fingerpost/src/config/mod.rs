//! Configuration: read once, at the edge, into one typed tree.
//!
//! [`tree`] declares every key. A value comes from the first of: flag,
//! `FINGERPOST_SECTION__KEY`, the reference server's `HASHSERVER_*`, the file,
//! the default. Whatever is wrong is named by its key and its place.

mod layer;
mod render;
mod secret;
mod tree;
mod values;

use std::path::{Path, PathBuf};

use toml::Table;

pub(crate) use layer::Setting;
pub(crate) use render::{annotated_file, effective, help, manual};
pub(crate) use secret::Secret;
pub(crate) use tree::Config;
pub(crate) use values::{
    Address, AnonymousPermissions, Durability, LogFormat, LogLevel, MaybeAddress,
};

/// Why a configuration is refused. The text names the file and line, the
/// variable or the flag.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadConfig(String);

impl BadConfig {
    fn unknown(origin: &str, path: &str) -> Self {
        Self(format!(
            "{origin}: there is no key {path}; see `fingerpost serve --help`"
        ))
    }

    fn value(origin: &str, why: &str) -> Self {
        Self(format!("{origin}: {}", why.trim_end()))
    }

    fn at(self, origin: &str) -> Self {
        Self(format!("{origin}: {}", self.0))
    }
}

/// Everything outside the file that configuration is made of. Not printed: it
/// has secrets.
#[derive(Default)]
pub(crate) struct Sources {
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    /// The environment.
    pub(crate) environment: Vec<(String, String)>,
    /// What flags set; they come first.
    pub(crate) flags: Vec<Setting>,
    /// Defaults of this way of being called; they come last.
    pub(crate) defaults: Vec<Setting>,
}

impl Sources {
    /// The process's environment, without variables that are not text.
    pub(crate) fn process_environment() -> Vec<(String, String)> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// The configuration in force, and where it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The tree.
    pub(crate) config: Config,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
    /// Every key that something set, as `section.key`.
    set: Vec<String>,
    /// `$STATE_DIRECTORY`, which systemd sets.
    state_directory: Option<PathBuf>,
}

impl Loaded {
    /// Whether anything but the default set `section.key`.
    pub(crate) fn is_set(&self, path: &str) -> bool {
        self.set.iter().any(|known| known == path)
    }

    /// The database file: the key, else `fingerpost.db` in the data directory.
    pub(crate) fn database_path(&self) -> PathBuf {
        match &self.config.database.path {
            Some(path) => path.clone(),
            None => self.data_dir().join(DATABASE_NAME),
        }
    }

    /// The data directory: the key, else systemd's, else the system's when
    /// there is a configuration file, else one below the current directory.
    fn data_dir(&self) -> PathBuf {
        if let Some(dir) = &self.config.server.data_dir {
            return dir.clone();
        }
        if let Some(dir) = &self.state_directory {
            return dir.clone();
        }
        match self.file {
            Some(_) => PathBuf::from(SYSTEM_DATA_DIR),
            None => PathBuf::from(LOCAL_DATA_DIR),
        }
    }
}

/// Reads and merges all sources, and checks the result.
pub(crate) fn load(sources: Sources) -> Result<Loaded, BadConfig> {
    let (file, mut table) = read_file(&sources)?;
    let mut base = Table::new();
    layer::apply(&mut base, &sources.defaults)?;
    for (section, values) in base {
        let known = table.entry(section).or_insert_with(|| Table::new().into());
        if let (Some(known), toml::Value::Table(values)) = (known.as_table_mut(), values) {
            for (key, value) in values {
                known.entry(key).or_insert(value);
            }
        }
    }
    layer::apply(
        &mut table,
        &layer::reference_variables(&sources.environment)?,
    )?;
    layer::apply(&mut table, &layer::own_variables(&sources.environment)?)?;
    layer::apply(&mut table, &sources.flags)?;
    let set = keys_of(&table);
    let mut config: Config = table
        .try_into()
        .map_err(|error| BadConfig(error.message().to_owned()))?;
    config.read_secret_files()?;
    config.check()?;
    config.check_together()?;
    let state_directory = sources.variable("STATE_DIRECTORY");
    let first = state_directory
        .and_then(|dirs| dirs.split(':').next())
        .map(PathBuf::from);
    Ok(Loaded {
        config,
        file,
        set,
        state_directory: first,
    })
}

fn keys_of(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (section, values) in table {
        for (key, _) in values.as_table().into_iter().flatten() {
            keys.push(format!("{section}.{key}"));
        }
    }
    keys
}

/// Reads the file that applies: one that was named must exist, the system's
/// need not.
fn read_file(sources: &Sources) -> Result<(Option<PathBuf>, Table), BadConfig> {
    let named = sources.file.clone();
    let named = named.or_else(|| sources.variable("FINGERPOST_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(SYSTEM_FILE));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok((None, Table::new()));
        }
        Err(error) => {
            return Err(BadConfig(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
    };
    let table = parse_file(&path, &text)?;
    Ok((Some(path), table))
}

/// Checks a whole file against the tree: unknown keys and wrong types are
/// named with their line.
fn parse_file(path: &Path, text: &str) -> Result<Table, BadConfig> {
    let refuse = |why: &str| BadConfig(format!("{}: {}", path.display(), why.trim_end()));
    let config: Config = toml::from_str(text).map_err(|error| refuse(&place(text, &error)))?;
    config.check().map_err(|bad| refuse(&bad.0))?;
    let table: Table = toml::from_str(text).map_err(|error| refuse(&place(text, &error)))?;
    for (secret, file) in [
        ("accounts.admin_password", "accounts.admin_password_file"),
        ("database.password", "database.password_file"),
        ("upstream.password", "upstream.password_file"),
    ] {
        let set = keys_of(&table);
        if set.iter().any(|key| key == secret) && set.iter().any(|key| key == file) {
            return Err(refuse(&format!(
                "{secret} and {file} are both set; choose one"
            )));
        }
    }
    Ok(table)
}

/// Names line and key of an error. The parser's own text would show the line,
/// which may hold a secret.
fn place(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else {
        return error.message().to_owned();
    };
    let before = &text.as_bytes()[..span.start.min(text.len())];
    let number = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    format!("line {number}, {key}: {}", error.message())
}

impl Config {
    /// Checks what types cannot: ranges, and keys that depend on each other.
    fn check(&self) -> Result<(), BadConfig> {
        let refuse = |text: &str| Err(BadConfig(text.to_owned()));
        let database = self.database.path.as_deref().and_then(Path::to_str);
        if database.is_some_and(|path| path.contains("://")) {
            return refuse(
                "database.path is an SQLAlchemy URL, and this version serves SQLite files only; \
                 name a file",
            );
        }
        if self.upstream.miss_seconds > MISS_SECONDS_MAX {
            return refuse("upstream.miss_seconds is at most 30");
        }
        if self.upstream.timeout_ms == 0 || self.upstream.timeout_ms > UPSTREAM_TIMEOUT_MS_MAX {
            return refuse("upstream.timeout_ms is 1 to 20000: clients give up after 30 seconds");
        }
        if self.limits.line_bytes < LINE_BYTES_MIN {
            return refuse("limits.line_bytes is at least 65536, since clients send such lines");
        }
        if self.limits.handshake_seconds == 0 {
            return refuse("limits.handshake_seconds is at least 1");
        }
        if self.limits.message_mib == 0 || self.limits.pending_kib == 0 {
            return refuse("limits.message_mib and limits.pending_kib are at least 1");
        }
        if self.limits.message_seconds == 0 || self.limits.write_stall_seconds == 0 {
            return refuse("limits.message_seconds and limits.write_stall_seconds are at least 1");
        }
        if self.server.stop_seconds > STOP_SECONDS_MAX {
            return refuse("server.stop_seconds is at most 5");
        }
        Ok(())
    }

    /// Checks keys that need each other and may come from different places.
    fn check_together(&self) -> Result<(), BadConfig> {
        let pairs = [
            (
                "accounts.admin_",
                &self.accounts.admin_username,
                &self.accounts.admin_password,
            ),
            (
                "upstream.",
                &self.upstream.username,
                &self.upstream.password,
            ),
        ];
        for (keys, username, password) in pairs {
            if username.is_some() != password.is_some() {
                let why = format!("{keys}username and {keys}password need each other");
                return Err(BadConfig(why));
            }
        }
        if self.upstream.username.is_some() && self.upstream.address.0.is_none() {
            return Err(BadConfig(
                "upstream.username needs upstream.address".to_owned(),
            ));
        }
        Ok(())
    }

    /// Reads each `..._file` of a secret into the secret.
    fn read_secret_files(&mut self) -> Result<(), BadConfig> {
        let secrets = [
            (
                &mut self.accounts.admin_password,
                &self.accounts.admin_password_file,
            ),
            (&mut self.database.password, &self.database.password_file),
            (&mut self.upstream.password, &self.upstream.password_file),
        ];
        for (secret, file) in secrets {
            let Some(path) = file else { continue };
            let read = Secret::read(path)
                .map_err(|error| BadConfig(format!("cannot read {}: {error}", path.display())))?;
            *secret = Some(read);
        }
        Ok(())
    }
}

const DATABASE_NAME: &str = "fingerpost.db";
const SYSTEM_FILE: &str = "/etc/fingerpost/fingerpost.toml";
const SYSTEM_DATA_DIR: &str = "/var/lib/fingerpost";
const LOCAL_DATA_DIR: &str = "./fingerpost-data";

const MISS_SECONDS_MAX: u64 = 30;
const UPSTREAM_TIMEOUT_MS_MAX: u64 = 20_000;
const LINE_BYTES_MIN: u64 = 65_536;
const STOP_SECONDS_MAX: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// A file with `text`, which lives as long as the returned guard.
    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn empty_file() -> tempfile::NamedTempFile {
        file("")
    }

    fn shown(loaded: &Loaded) -> Vec<String> {
        loaded
            .config
            .server
            .bind
            .iter()
            .map(|address| address.0.to_string())
            .collect()
    }

    fn refusal(text: &str, environment: &[(&str, &str)]) -> String {
        let file = file(text);
        let sources = Sources {
            file: Some(file.path().to_owned()),
            environment: variables(environment),
            ..Sources::default()
        };
        load(sources).unwrap_err().to_string()
    }

    #[test]
    fn flag_beats_own_variable_beats_reference_variable_beats_file_beats_default() {
        let file = file("[server]\nbind = ['1.1.1.1:1']\n");
        let own = ("FINGERPOST_SERVER__BIND", "3.3.3.3:3");
        let reference = ("HASHSERVER_BIND", "2.2.2.2:2");
        let bind = |environment: &[(&str, &str)], flags| {
            let sources = Sources {
                file: Some(file.path().to_owned()),
                environment: variables(environment),
                flags,
                ..Sources::default()
            };
            shown(&load(sources).unwrap())
        };
        let flag = Setting::parse("server.bind", "4.4.4.4:4", "--bind").unwrap();
        assert_eq!(bind(&[own, reference], vec![flag]), ["4.4.4.4:4"]);
        assert_eq!(bind(&[own, reference], vec![]), ["3.3.3.3:3"]);
        assert_eq!(bind(&[reference], vec![]), ["2.2.2.2:2"]);
        assert_eq!(bind(&[], vec![]), ["1.1.1.1:1"]);
    }

    #[test]
    fn defaults_of_the_way_of_being_called_come_after_the_file() {
        let given = file("[server]\nbind = ['1.1.1.1:1']\n");
        let sources = |file: &tempfile::NamedTempFile| Sources {
            file: Some(file.path().to_owned()),
            defaults: vec![Setting::parse("server.bind", "unix://x", "--compat").unwrap()],
            ..Sources::default()
        };
        assert_eq!(shown(&load(sources(&given)).unwrap()), ["1.1.1.1:1"]);
        assert_eq!(shown(&load(sources(&empty_file())).unwrap()), ["unix://x"]);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = refusal("[server]\nread_only = true\nbindd = 'x'\n", &[]);
        assert!(text.contains("line 3") && text.contains("bindd"), "{text}");
        let text = refusal("[servr]\n", &[]);
        assert!(text.contains("line 1") && text.contains("servr"), "{text}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line_or_its_variable() {
        let text = refusal("[log]\nlevel = 'loud'\n", &[]);
        assert!(text.contains("line 2") && text.contains("loud"), "{text}");
        let text = refusal("", &[("HASHSERVER_LOG_LEVEL", "loud")]);
        assert!(text.starts_with("HASHSERVER_LOG_LEVEL: "), "{text}");
        let text = refusal("", &[("FINGERPOST_LIMITS__LINE_BYTES", "many")]);
        assert_eq!(
            text,
            "FINGERPOST_LIMITS__LINE_BYTES: \"many\" is no whole number"
        );
        let text = refusal("", &[("FINGERPOST_UPSTREAM__MISS_SECONDS", "31")]);
        assert!(text.starts_with("FINGERPOST_UPSTREAM__MISS_SECONDS: upstream.miss_seconds"));
    }

    #[test]
    fn a_broken_line_with_a_secret_is_not_shown() {
        for line in [
            "admin_password = hunter2",
            "admin_password = \"hunter2",
            "admin_password = 42",
        ] {
            let text = refusal(&format!("[accounts]\n{line}\n"), &[]);
            assert!(text.contains("line 2, admin_password: "), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("42"), "{text}");
        }
    }

    #[test]
    fn an_unknown_variable_of_ours_is_an_error_and_others_are_not() {
        let text = refusal("", &[("FINGERPOST_SERVER__BINDD", "x")]);
        assert!(text.contains("FINGERPOST_SERVER__BINDD") && text.contains("server.bindd"));
        let file = empty_file();
        let sources = Sources {
            file: Some(file.path().to_owned()),
            environment: variables(&[("HASHSERVER_DIR", "x"), ("FINGERPOST_HOME", "y")]),
            ..Sources::default()
        };
        load(sources).unwrap();
    }

    #[test]
    fn a_secret_comes_from_a_file_and_the_higher_layer_decides() {
        let token = file("from-file\n");
        let config = file("[accounts]\nadmin_username = 'a'\nadmin_password = 'from-config'\n");
        let sources = Sources {
            file: Some(config.path().to_owned()),
            environment: variables(&[(
                "FINGERPOST_ACCOUNTS__ADMIN_PASSWORD_FILE",
                token.path().to_str().unwrap(),
            )]),
            ..Sources::default()
        };
        let loaded = load(sources).unwrap();
        assert_eq!(
            loaded.config.accounts.admin_password,
            Some(Secret::new("from-file"))
        );
    }

    #[test]
    fn a_secret_and_its_file_in_one_place_are_refused() {
        let text = refusal("[upstream]\npassword = 'a'\npassword_file = 'b'\n", &[]);
        assert!(text.contains("both set"), "{text}");
    }

    #[test]
    fn the_reference_takes_only_one_for_read_only() {
        let read_only = |text| {
            let file = empty_file();
            let sources = Sources {
                file: Some(file.path().to_owned()),
                environment: variables(&[("HASHSERVER_READ_ONLY", text)]),
                ..Sources::default()
            };
            load(sources).unwrap().config.server.read_only
        };
        assert!(read_only("1"));
        assert!(!read_only("0"));
        assert!(!read_only(""));
    }

    #[test]
    fn the_data_directory_is_the_key_else_systemds_else_the_systems() {
        let file = empty_file();
        let load = |environment: &[(&str, &str)]| {
            let sources = Sources {
                file: Some(file.path().to_owned()),
                environment: variables(environment),
                ..Sources::default()
            };
            load(sources).unwrap().data_dir()
        };
        let state = ("STATE_DIRECTORY", "/srv/a:/srv/b");
        assert_eq!(
            load(&[state, ("FINGERPOST_SERVER__DATA_DIR", "/d")]),
            Path::new("/d")
        );
        assert_eq!(load(&[state]), Path::new("/srv/a"));
        assert_eq!(load(&[]), Path::new("/var/lib/fingerpost"));
    }

    #[test]
    fn a_named_file_must_exist() {
        let sources = Sources {
            file: Some(PathBuf::from("/nonexistent/fingerpost.toml")),
            ..Sources::default()
        };
        let text = load(sources).unwrap_err().to_string();
        assert!(
            text.starts_with("cannot read /nonexistent/fingerpost.toml: "),
            "{text}"
        );
    }
}
