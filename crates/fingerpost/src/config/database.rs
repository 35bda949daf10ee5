//! Which database is chosen: a SQLite file, or one of PostgreSQL.

use std::time::Duration;

use fingerpost_db::postgres::PostgresSettings;
use toml::{Table, Value};

use super::check::{NUMBER_MAX, check_range};
use super::{BadConfig, Config, Secret, Setting};

/// The keys that choose a database; each kind replaces the other.
const FILE_KEYS: &[(&str, &str)] = &[("database", "path")];
const SERVER_KEYS: &[(&str, &str)] = &[("postgresql", "url"), ("postgresql", "url_file")];

/// What the primary is called beside its replicas.
pub(crate) const PRIMARY: &str = "primary";

/// What `--database` sets, and the reference's variable: a file, or the URL of a
/// PostgreSQL database as SQLAlchemy or libpq write it.
pub(crate) fn database_setting(text: &str, origin: &str) -> Result<Setting, BadConfig> {
    match is_postgresql(text) {
        true => Setting::parse("postgresql.url", text, origin),
        false => Setting::parse("database.path", text, origin),
    }
}

/// Whether it is the URL of a PostgreSQL database.
pub(crate) fn is_postgresql(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    let dialect = scheme.split('+').next().unwrap_or_default();
    matches!(dialect, "postgresql" | "postgres")
}

/// Takes the other kind of database out of lower layers.
pub(super) fn replace(table: &mut Table, section: &str, key: &str) {
    let others = match (section, key) {
        set if FILE_KEYS.contains(&set) => SERVER_KEYS,
        set if SERVER_KEYS.contains(&set) => FILE_KEYS,
        _ => return,
    };
    for (section, key) in others {
        if let Some(Value::Table(section)) = table.get_mut(*section) {
            section.remove(*key);
        }
    }
}

/// Takes a database out of the `defaults` if the file says one.
pub(super) fn give_way(defaults: &mut Table, file: &Table) {
    for (section, key) in FILE_KEYS.iter().chain(SERVER_KEYS) {
        let is_set = file.get(*section).and_then(|section| section.get(*key));
        if is_set.is_some() {
            replace(defaults, section, key);
        }
    }
}

impl Config {
    /// Whether the database is one of PostgreSQL.
    pub(crate) const fn uses_postgresql(&self) -> bool {
        self.postgresql.url.is_some()
    }

    /// How the configured PostgreSQL database is reached; `None` for a file.
    pub(crate) fn postgresql_primary(&self) -> Result<Option<PostgresSettings>, BadConfig> {
        let url = self.postgresql.url.as_ref();
        let settings = |url| self.postgresql_settings("postgresql.url", url);
        url.map(settings).transpose()
    }

    /// How its replicas are reached, with their names.
    pub(crate) fn postgresql_replicas(&self) -> Result<Vec<(String, PostgresSettings)>, BadConfig> {
        let replicas = self.postgresql.replicas.iter();
        let settings = replicas.map(|(name, url)| {
            let key = format!("postgresql.replicas.{name}");
            Ok((name.clone(), self.postgresql_settings(&key, url)?))
        });
        settings.collect()
    }

    fn postgresql_settings(&self, key: &str, url: &Secret) -> Result<PostgresSettings, BadConfig> {
        let keys = &self.postgresql;
        let settings = PostgresSettings::from_url(url.reveal())
            .map_err(|error| BadConfig(format!("{key}: {error}")))?;
        let password = self.database.password.as_ref().map(Secret::reveal);
        let mut settings = settings.login(self.database.username.as_deref(), password);
        if let Ok(password) = std::env::var("PGPASSWORD") {
            settings = settings.with_password_unless_given(&password);
        }
        settings.connections_max = usize::try_from(keys.connections).unwrap_or(usize::MAX);
        settings.statement_cache = keys.statement_cache;
        settings.connect_timeout = Duration::from_millis(keys.connect_timeout_ms);
        settings.statement_timeout = Duration::from_millis(keys.statement_timeout_ms);
        settings.acquire_timeout = Duration::from_millis(keys.acquire_timeout_ms);
        settings.deadline = Duration::from_millis(keys.deadline_ms);
        settings.migration_timeout = Duration::from_secs(keys.migration_timeout_s);
        settings.allow_asynchronous_commit = keys.allow_asynchronous_commit;
        Ok(settings)
    }

    /// Checks where the database is, and the limits of its use.
    pub(super) fn check_database(&self) -> Result<(), BadConfig> {
        let path = self.database.path.as_deref().and_then(|path| path.to_str());
        if let Some(path) = path.filter(|path| path.contains("://")) {
            let way_out = match is_postgresql(path) {
                true => "a PostgreSQL database is set with postgresql.url",
                false => "name a SQLite file, or a PostgreSQL database with postgresql.url",
            };
            return Err(BadConfig(format!("database.path is a URL; {way_out}")));
        }
        let keys = &self.postgresql;
        let milliseconds = [
            ("postgresql.connect_timeout_ms", keys.connect_timeout_ms),
            ("postgresql.statement_timeout_ms", keys.statement_timeout_ms),
            ("postgresql.acquire_timeout_ms", keys.acquire_timeout_ms),
            ("postgresql.deadline_ms", keys.deadline_ms),
        ];
        for (key, number) in milliseconds {
            check_range(key, number, 1..=NUMBER_MAX)?;
        }
        let seconds = [
            ("postgresql.migration_timeout_s", keys.migration_timeout_s),
            ("postgresql.start_timeout_s", keys.start_timeout_s),
        ];
        for (key, number) in seconds {
            check_range(key, number, 1..=86_400)?;
        }
        check_range("postgresql.connections", keys.connections, 1..=10_000)?;
        if keys.replicas.contains_key(PRIMARY) {
            let why = "postgresql.replicas.primary: that is the name of the database of the URL";
            return Err(BadConfig(why.to_owned()));
        }
        self.postgresql_primary()?;
        self.postgresql_replicas()?;
        Ok(())
    }

    /// Checks what may come from different places.
    pub(super) fn check_database_together(&self) -> Result<(), BadConfig> {
        let refuse = |why: &str| Err(BadConfig(why.to_owned()));
        if self.uses_postgresql() && self.database.path.is_some() {
            return refuse("database.path and postgresql.url are both set; choose one");
        }
        if !self.uses_postgresql() && !self.postgresql.replicas.is_empty() {
            return refuse("postgresql.replicas need postgresql.url, their primary");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{BadConfig, Loaded, Setting, Sources, database_setting, load};

    fn loaded(
        file: &str,
        environment: &[(&str, &str)],
        flags: Vec<Setting>,
    ) -> Result<Loaded, BadConfig> {
        let given = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(given.path(), file).unwrap();
        let variables = environment.iter();
        load(Sources {
            file: Some(given.path().to_owned()),
            environment: variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            flags,
            defaults: vec![Setting::new("database.path", "./x.db", "--compat")],
        })
    }

    fn flag(text: &str) -> Vec<Setting> {
        vec![database_setting(text, "--database").unwrap()]
    }

    #[test]
    fn the_highest_place_that_names_a_database_chooses_it() {
        let check = |file: &str, environment: &[(&str, &str)], flags, expected: Option<&str>| {
            let config = loaded(file, environment, flags).unwrap().config;
            let primary = config.postgresql_primary().unwrap();
            let target = primary.map(|settings| settings.target());
            assert_eq!(target.as_deref(), expected, "{file}");
            assert_eq!(config.database.path.is_some(), expected.is_none());
        };
        let (url, of_file) = ("postgresql://a/b", Some("postgresql://a:5432/b"));
        let text = format!("[postgresql]\nurl = '{url}'\n");
        check("", &[], vec![], None);
        check(&text, &[], vec![], of_file);
        check(&text, &[], flag("/x.db"), None);
        check(&text, &[("HASHSERVER_DB", "/x.db")], vec![], None);
        let reference = ("HASHSERVER_DB", "postgresql+asyncpg://u:p@c:1/d");
        let path = "[database]\npath = '/x.db'\n";
        check(path, &[reference], vec![], Some("postgresql://c:1/d"));
        check(path, &[reference], flag(url), of_file);
        let own = ("FINGERPOST_POSTGRESQL__URL", url);
        check(path, &[reference, own], vec![], of_file);
        check(path, &[], flag("postgresql+psycopg://a/b"), of_file);
    }

    #[test]
    fn a_login_of_its_own_replaces_that_of_the_url() {
        let environment = [
            ("HASHSERVER_DB", "postgresql+asyncpg://a:hidden@c/d"),
            ("HASHSERVER_DB_USERNAME", "somebody"),
            ("HASHSERVER_DB_PASSWORD", "hunter2"),
        ];
        let config = loaded("", &environment, vec![]).unwrap().config;
        let settings = config.postgresql_primary().unwrap().unwrap();
        let shown = format!("{settings:?}{config:?}");
        assert!(shown.contains("somebody"), "{shown}");
        assert!(
            !shown.contains("hidden\"") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_a_password() {
        let check = |file: &str, expected: &str| {
            let said = loaded(file, &[], vec![]).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        };
        check(
            "[database]\npath = '/x'\n[postgresql]\nurl = 'postgresql://a/b'\n",
            "database.path and postgresql.url are both set; choose one",
        );
        check(
            "[database]\npath = 'postgresql://a:hunter2@c/d'\n",
            "set with postgresql.url",
        );
        check("[database]\npath = 'mysql://a:hunter2@c/d'\n", "SQLite");
        check(
            "[postgresql]\nurl = 'mysql://a:hunter2@c/d'\n",
            "line 2: postgresql.url: a PostgreSQL URL begins with",
        );
        check(
            "[postgresql]\nurl = 'postgresql://a:hunter2@c:x/d'\n",
            "line 2: postgresql.url: ",
        );
        check("[postgresql]\nconnections = 0\n", "line 2: postgresql.conn");
        check(
            "[postgresql.replicas]\na = 'postgresql://a/b'\n",
            "need postgresql.url",
        );
        check(
            "[postgresql.replicas]\na = 'postgresql:///b'\n",
            "line 2: postgresql.replicas.a: the PostgreSQL URL names no host",
        );
    }
}
