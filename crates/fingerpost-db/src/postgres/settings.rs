//! How a database is reached and used.

use std::fmt;
use std::time::Duration;

use super::tls::Tls;
use super::url::{self, UrlError};

/// How a database is reached and used. [`PostgresSettings::from_url`] has the
/// defaults. `Debug` shows no password.
#[derive(Clone)]
pub struct PostgresSettings {
    /// Where it is and who we are there, with the password.
    pub(crate) config: tokio_postgres::Config,
    /// How connections are protected; `sslmode` and `sslrootcert` of the URL.
    pub tls: Tls,
    /// Connections at most, without one for each poller; at least 1.
    pub connections_max: usize,
    /// Whether statements are prepared once for each connection. Has to be off
    /// behind PgBouncer in transaction mode, where a connection means nothing
    /// between transactions; reads are transactions then as well.
    pub statement_cache: bool,
    /// How long making a connection takes at most, TLS and login included.
    pub connect_timeout: Duration,
    /// How long a statement runs at most; the server ends it then. Whole
    /// milliseconds.
    pub statement_timeout: Duration,
    /// How long a job waits for a connection, and how long it goes on making
    /// new ones when they are lost.
    pub acquire_timeout: Duration,
    /// How long a job takes in all before its commit, its repetitions included.
    pub deadline: Duration,
    /// How often a job runs at most when it conflicts with others.
    pub attempts_max: u32,
    /// How long the statements of migrations take at most, each.
    pub migration_timeout: Duration,
    /// The name that the server shows for our connections.
    pub application_name: String,
    /// Opens databases too whose commits are answered before they are durable
    /// (`synchronous_commit = off`); a warning is logged.
    pub allow_asynchronous_commit: bool,
}

impl PostgresSettings {
    /// The defaults for the database of a URL in libpq's form,
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`: 10
    /// connections, prepared statements, 10 s for a statement, 30 s for a job.
    ///
    /// # Errors
    ///
    /// A sentence that names what is wrong, and shows no password.
    pub fn from_url(url: &str) -> Result<Self, UrlError> {
        let (config, tls) = url::parse(url)?;
        let application_name = config.get_application_name().unwrap_or("fingerpost");
        Ok(Self {
            application_name: application_name.to_owned(),
            connect_timeout: *config
                .get_connect_timeout()
                .unwrap_or(&Duration::from_secs(5)),
            config,
            tls,
            connections_max: 10,
            statement_cache: true,
            statement_timeout: Duration::from_secs(10),
            acquire_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            attempts_max: 10,
            migration_timeout: Duration::from_secs(600),
            allow_asynchronous_commit: false,
        })
    }

    /// Takes this password if the URL has none. A command line can be read by
    /// everybody on the machine; an environment cannot.
    #[must_use]
    pub fn with_password_unless_given(mut self, password: &str) -> Self {
        if self.config.get_password().is_none() {
            self.config.password(password);
        }
        self
    }

    /// With another user or password than those of the URL.
    #[must_use]
    pub fn login(mut self, user: Option<&str>, password: Option<&str>) -> Self {
        if let Some(user) = user {
            self.config.user(user);
        }
        if let Some(password) = password {
            self.config.password(password);
        }
        self
    }

    /// The database as sentences name it: `postgresql://HOST:PORT/DATABASE`.
    pub fn target(&self) -> String {
        url::shown(&self.config)
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("target", &self.target())
            .field("user", &self.config.get_user())
            .field("tls", &self.tls)
            .field("connections_max", &self.connections_max)
            .field("statement_cache", &self.statement_cache)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("deadline", &self.deadline)
            .field("attempts_max", &self.attempts_max)
            .field("migration_timeout", &self.migration_timeout)
            .field("application_name", &self.application_name)
            .field("allow_asynchronous_commit", &self.allow_asynchronous_commit)
            .finish()
    }
}
