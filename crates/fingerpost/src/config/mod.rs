//! Configuration: read once, at the edge, into one typed tree.
//!
//! [`tree`] declares every key. A value comes from the first of: flag,
//! `FINGERPOST_SECTION__KEY`, the reference server's `HASHSERVER_*`, the file,
//! the default. Whatever is wrong is named by its key and its place.

mod accounts;
mod check;
mod database;
mod file;
mod hg;
mod keys;
mod layer;
mod namespaces;
mod oidc;
mod redirect;
mod render;
mod retention;
mod secret_files;
mod tables;
mod tls;
mod tree;
mod values;

use std::path::PathBuf;

use toml::Table;

pub(crate) use fingerpost_program::log::{LogFormat, LogLevel};
pub(crate) use fingerpost_program::secret::Secret;

pub(crate) use database::{PRIMARY, database_setting, is_postgresql};
pub(crate) use hg::is_printable_url;
pub(crate) use layer::Setting;
pub(crate) use namespaces::FIRST_LISTENER;
pub(crate) use oidc::Oidc;
pub(crate) use render::{annotated_file, effective, help, manual};
pub(crate) use tables::{Further, Namespace, ObjectPlace, RedirectTarget};
pub(crate) use tree::{Accounts, Cache, Config, Hg, Redirect, Server, Snapshots, Traces};
pub(crate) use values::{
    Address, AnonymousPermissions, Durability, ForwardedBy, MaybeAddress, ProxyNetwork, ReadWrite,
    TlsMode, TlsVersion,
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
#[derive(Clone, Debug)]
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
    let (file, mut table) = file::read(&sources)?;
    let mut base = Table::new();
    layer::apply(&mut base, &sources.defaults)?;
    database::give_way(&mut base, &table);
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
    secret_files::read(&mut table)?;
    let config: Config = table
        .try_into()
        .map_err(|error| BadConfig(error.message().to_owned()))?;
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

const DATABASE_NAME: &str = "fingerpost.db";
const SYSTEM_DATA_DIR: &str = "/var/lib/fingerpost";
const LOCAL_DATA_DIR: &str = "./fingerpost-data";

#[cfg(test)]
mod tests {
    use std::path::Path;

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
    fn a_shared_store_of_answers_needs_a_secret() {
        let loaded = |flags: &[(&'static str, &'static str)]| {
            let setting =
                |(name, value): &(&'static str, &'static str)| Setting::new(name, *value, "a flag");
            load(Sources {
                flags: flags.iter().map(setting).collect(),
                ..Sources::default()
            })
        };
        let url = ("cache.valkey_url", "redis://127.0.0.1");
        assert!(loaded(&[url]).is_err());
        assert!(loaded(&[url, ("cache.secret", "too short")]).is_err());
        assert!(loaded(&[url, ("cache.secret", "long enough for this")]).is_ok());
    }

    #[test]
    fn who_is_behind_a_proxy_is_told_by_trusted_ones_only() {
        let network = "[server]\ntrusted_proxies = ['10.0.0.0/33']\n";
        assert!(refusal(network, &[]).contains("no network"));
        for text in [
            "[server]\nproxy_protocol = true\n",
            "[server.listeners.x]\nbind = [':1']\nproxy_protocol = true\n",
        ] {
            assert!(refusal(text, &[]).contains("needs server.trusted_proxies"));
        }
        let file = empty_file();
        let sources = Sources {
            file: Some(file.path().to_owned()),
            environment: variables(&[
                ("FINGERPOST_SERVER__TRUSTED_PROXIES", "10.0.0.0/8,unix"),
                ("FINGERPOST_SERVER__PROXY_PROTOCOL", "true"),
                ("FINGERPOST_SERVER__FORWARDED_BY", "forwarded"),
            ]),
            ..Sources::default()
        };
        assert_eq!(
            load(sources).unwrap().config.server.trusted_proxies.len(),
            2
        );
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
}
