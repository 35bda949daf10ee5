//! Flags of `fingerpost serve`. Every one sets a key; those of the reference
//! server keep its names.

use std::path::PathBuf;

use crate::config::{BadConfig, Secret, Setting, Sources, database_setting};

/// Run the server.
///
/// Without any option it serves on 127.0.0.1:8686 from SQLite in
/// ./fingerpost-data. The options of `bitbake-hashserv` are taken as they are.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Configuration file instead of `$FINGERPOST_CONFIG` or
    /// `/etc/fingerpost/fingerpost.toml`.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on: `HOST:PORT`, `[IPV6]:PORT`, `:PORT`, `unix://PATH`
    /// or `ws://HOST:PORT`. Can be given more than once.
    #[arg(short, long, value_name = "ADDR")]
    bind: Vec<String>,
    /// Database: a file, or the URL of a PostgreSQL database, `postgresql://USER@HOST/NAME`.
    /// A database of bitbake-hashserv is never written to.
    #[arg(short, long, value_name = "FILE|URL")]
    database: Option<String>,
    /// Directory for the database when --database is not given.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Log level: error, warning, info, debug or trace.
    #[arg(short, long, value_name = "LEVEL")]
    log: Option<String>,
    /// Server to ask for what is not known here.
    #[arg(short, long, value_name = "ADDR")]
    upstream: Option<String>,
    /// Refuse everything that writes.
    #[arg(short, long)]
    read_only: bool,
    /// Login at PostgreSQL, in place of that of the URL; not used with SQLite.
    #[arg(long, value_name = "USER")]
    db_username: Option<String>,
    /// Password at PostgreSQL, in place of that of the URL; not used with SQLite.
    #[arg(long, value_name = "PASSWORD")]
    db_password: Option<Secret>,
    /// What clients may do without a login, separated by commas or blanks;
    /// empty for nothing.
    #[arg(long, value_name = "PERM[,PERM..]")]
    anon_perms: Option<String>,
    /// User with every permission, made or reset at each start.
    #[arg(long, value_name = "USER")]
    admin_user: Option<String>,
    /// Token of that user. Other users of this machine can see it: better use
    /// --admin-password-file.
    #[arg(long, value_name = "PASSWORD")]
    admin_password: Option<Secret>,
    /// File that holds the token of that user.
    #[arg(long, value_name = "FILE", conflicts_with = "admin_password")]
    admin_password_file: Option<String>,
    /// Let several processes listen on one TCP port.
    #[arg(long)]
    reuseport: bool,
    /// Address for metrics and probes alone; empty for none.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// Write the addresses that were bound to this file, one a line.
    #[arg(long, value_name = "FILE")]
    address_file: Option<String>,
    /// Use the defaults of bitbake-hashserv: bind to
    /// `unix://./hashserve.sock`, database `./hashserv.db`. Also when the program is called by that name.
    #[arg(long)]
    compat: bool,
    /// When the database is one of bitbake-hashserv, import it into
    /// FILE.fingerpost first, and serve that.
    #[arg(long)]
    pub(super) import: bool,
    /// Serve the Mercurial repositories of this configuration file of hgweb.
    #[arg(long, value_name = "FILE")]
    hgweb_config: Option<String>,
    /// Set any key of the configuration; see the list below.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

impl Args {
    /// Everything that configuration is made of, the process's environment
    /// included.
    pub(super) fn sources(&self) -> Result<Sources, BadConfig> {
        Ok(Sources {
            file: self.config.clone(),
            environment: Sources::process_environment(),
            flags: self.settings()?,
            defaults: if self.compat {
                compat_defaults()
            } else {
                Vec::new()
            },
        })
    }

    /// Flags with passwords that every user of the machine can read in the
    /// process list.
    pub(super) fn visible_passwords(&self) -> Vec<String> {
        let set = self.set.iter().filter_map(|text| text.split_once('='));
        let mut flags: Vec<_> = set
            .filter(|(path, text)| path.trim().ends_with("password") || has_password(text))
            .map(|(path, _)| format!("--set {path}"))
            .collect();
        if self.database.as_deref().is_some_and(has_password) {
            flags.push("--database".to_owned());
        }
        let own = [
            ("--admin-password", &self.admin_password),
            ("--db-password", &self.db_password),
        ];
        let given = own.into_iter().filter(|(_, text)| text.is_some());
        flags.extend(given.map(|(flag, _)| flag.to_owned()));
        flags
    }

    fn settings(&self) -> Result<Vec<Setting>, BadConfig> {
        let mut settings = Vec::new();
        for text in &self.set {
            let (path, value) = text.split_once('=').unwrap_or((text, ""));
            let origin = format!("--set {path}");
            settings.push(Setting::parse(path.trim(), value.trim(), &origin)?);
        }
        if !self.bind.is_empty() {
            settings.push(Setting::new("server.bind", self.bind.clone(), "--bind"));
        }
        if let Some(text) = &self.database {
            settings.push(database_setting(text, "--database")?);
        }
        for (path, flag, text) in self.texts() {
            if let Some(text) = text {
                settings.push(Setting::parse(path, text, flag)?);
            }
        }
        for (path, flag, given) in [
            ("server.read_only", "--read-only", self.read_only),
            ("server.reuse_port", "--reuseport", self.reuseport),
        ] {
            if given {
                settings.push(Setting::new(path, true, flag));
            }
        }
        Ok(settings)
    }

    fn texts(&self) -> [(&'static str, &'static str, Option<&str>); 12] {
        [
            ("server.data_dir", "--data-dir", self.data_dir.as_deref()),
            ("log.level", "--log", self.log.as_deref()),
            ("upstream.address", "--upstream", self.upstream.as_deref()),
            (
                "database.username",
                "--db-username",
                self.db_username.as_deref(),
            ),
            (
                "database.password",
                "--db-password",
                self.db_password.as_ref().map(Secret::reveal),
            ),
            (
                "accounts.anonymous_permissions",
                "--anon-perms",
                self.anon_perms.as_deref(),
            ),
            (
                "accounts.admin_username",
                "--admin-user",
                self.admin_user.as_deref(),
            ),
            (
                "accounts.admin_password",
                "--admin-password",
                self.admin_password.as_ref().map(Secret::reveal),
            ),
            (
                "accounts.admin_password_file",
                "--admin-password-file",
                self.admin_password_file.as_deref(),
            ),
            ("metrics.bind", "--metrics", self.metrics.as_deref()),
            (
                "hg.hgweb_config",
                "--hgweb-config",
                self.hgweb_config.as_deref(),
            ),
            (
                "server.address_file",
                "--address-file",
                self.address_file.as_deref(),
            ),
        ]
    }
}

/// Whether it is a URL with a password before the host, as `scheme://user:password@host`.
fn has_password(text: &str) -> bool {
    let place = text.split_once("://").map_or("", |(_, rest)| rest);
    let login = place
        .split('/')
        .next()
        .and_then(|place| place.rsplit_once('@'));
    login.is_some_and(|(login, _)| login.contains(':'))
}

fn compat_defaults() -> Vec<Setting> {
    let origin = "--compat";
    vec![
        Setting::new("server.bind", vec!["unix://./hashserve.sock"], origin),
        Setting::new("database.path", "./hashserv.db", origin),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::{Loaded, load};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// What a command line leads to, with no environment and an empty file.
    fn loaded(words: &[&str]) -> Result<Loaded, BadConfig> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = Line::parse_from([&["serve"], words].concat());
        let sources = Sources {
            file: Some(file.path().to_owned()),
            environment: Vec::new(),
            ..line.args.sources()?
        };
        load(sources)
    }

    #[test]
    fn the_references_command_line_is_taken_as_it_is() {
        let config = loaded(&[
            "-b",
            ":8686",
            "-d",
            "/srv/x.db",
            "-l",
            "WARNING",
            "-u",
            "ws://up",
            "-r",
            "--anon-perms",
            "@read",
            "--admin-user",
            "admin",
            "--admin-password",
            "pw",
            "--reuseport",
        ])
        .unwrap()
        .config;
        assert_eq!(config.server.bind[0].0.to_string(), ":8686");
        assert_eq!(config.database.path.unwrap().to_str(), Some("/srv/x.db"));
        assert_eq!(config.accounts.anonymous_permissions.0.stored(), ["@read"]);
        assert_eq!(config.accounts.admin_password.unwrap().reveal(), "pw");
        assert!(config.server.read_only && config.server.reuse_port);
        assert!(config.upstream.address.0.is_some());
    }

    #[test]
    fn a_database_server_is_taken_as_the_reference_takes_it() {
        let url = "postgresql+asyncpg://me:hidden@db/farm";
        let words = ["-d", url, "--db-username", "u", "--db-password", "pw"];
        let config = loaded(&words).unwrap().config;
        let settings = config.postgresql_primary().unwrap().unwrap();
        assert_eq!(settings.target(), "postgresql://db:5432/farm");
        assert_eq!(config.database.path, None);
        let args = Line::parse_from([&["serve"][..], &words].concat()).args;
        assert_eq!(args.visible_passwords(), ["--database", "--db-password"]);
        let config = loaded(&["--compat", "-d", "postgres://db/farm"]).unwrap();
        assert!(config.config.uses_postgresql());
        let said = loaded(&["-d", "mysql://u:hunter2@db/farm"]).unwrap_err();
        assert!(
            said.to_string()
                .starts_with("--database: database.path is a URL; ")
        );
        assert!(!said.to_string().contains("hunter2"), "{said}");
    }

    #[test]
    fn compat_changes_two_defaults_and_flags_beat_it() {
        let config = loaded(&["--compat"]).unwrap().config;
        assert_eq!(
            config.server.bind[0].0.to_string(),
            "unix://./hashserve.sock"
        );
        assert_eq!(
            config.database.path.unwrap().to_str(),
            Some("./hashserv.db")
        );
        let config = loaded(&["--compat", "-b", ":1"]).unwrap().config;
        assert_eq!(config.server.bind[0].0.to_string(), ":1");
    }

    #[test]
    fn wrong_combinations_are_refused_by_name() {
        let refusal = |words: &[&str]| loaded(words).unwrap_err().to_string();
        assert!(refusal(&["--anon-perms", "@all"]).contains("--anon-perms: @all cannot be given"));
        assert!(refusal(&["--anon-perms", "@x"]).contains("unknown permission @x"));
        assert!(refusal(&["--admin-user", "a"]).contains("need each other"));
        assert!(refusal(&["-l", "loud"]).starts_with("--log: "));
        assert!(refusal(&["-b", "nowhere"]).starts_with("--bind: "));
        assert!(refusal(&["--set", "a.b=c"]).contains("there is no key a.b"));
    }

    #[test]
    fn a_read_only_server_may_have_an_upstream() {
        assert!(loaded(&["-r", "-u", "host:1"]).is_ok());
    }

    #[test]
    fn empty_anonymous_permissions_are_none() {
        let config = loaded(&["--anon-perms", ""]).unwrap().config;
        assert!(config.accounts.anonymous_permissions.0.is_empty());
    }

    #[test]
    fn repositories_of_hgweb_are_one_flag_away() {
        let config = loaded(&["--hgweb-config", "/etc/hgweb"]).unwrap().config;
        assert_eq!(config.hg.hgweb_config.unwrap().to_str(), Some("/etc/hgweb"));
    }

    #[test]
    fn any_key_can_be_set() {
        let config = loaded(&["--set", "limits.handshake_seconds=3"])
            .unwrap()
            .config;
        assert_eq!(config.limits.handshake_seconds, 3);
    }
}
