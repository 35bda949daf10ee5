//! From settings to connections.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::ClientConfig;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresOpenError;
use super::settings::PostgresSettings;
use super::tls;

/// What the server needs beyond its own limit to say that it was reached.
const GRACE: Duration = Duration::from_secs(2);
/// Rest of a connection after which the peer is asked whether it is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Makes pools of connections.
pub(crate) struct Connector {
    pub(crate) settings: PostgresSettings,
    tls: Option<ClientConfig>,
}

impl Connector {
    /// Reads the certificates.
    pub(crate) fn new(settings: PostgresSettings) -> Result<Self, PostgresOpenError> {
        let tls = tls::client_config(&settings.tls).map_err(|reason| PostgresOpenError::Tls {
            target: settings.target(),
            reason,
        })?;
        Ok(Self { settings, tls })
    }

    /// A pool of so many connections, none of which is made yet.
    pub(crate) fn pool(&self, size: usize) -> Pool {
        let how = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let config = self.config();
        let manager = match &self.tls {
            Some(tls) => Manager::from_config(config, MakeRustlsConnect::new(tls.clone()), how),
            None => Manager::from_config(config, NoTls, how),
        };
        Pool::builder(manager)
            .max_size(size.max(1))
            .wait_timeout(Some(self.settings.acquire_timeout))
            .create_timeout(Some(self.settings.connect_timeout))
            .recycle_timeout(Some(self.settings.connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime can have limits")
    }

    /// With a connection of our own the limits are options of the session. A
    /// pool between us and the server would hand them to others, or refuse them.
    fn config(&self) -> Config {
        let settings = &self.settings;
        let mut config = settings.config.clone();
        config
            .application_name(&settings.application_name)
            .connect_timeout(settings.connect_timeout)
            .keepalives_idle(KEEPALIVE_IDLE)
            .tcp_user_timeout(settings.statement_timeout + GRACE);
        if settings.statement_cache {
            let own = format!(
                "-c statement_timeout={} -c idle_in_transaction_session_timeout={}",
                millis(settings.statement_timeout),
                millis(settings.deadline)
            );
            let options = match config.get_options() {
                Some(given) => format!("{given} {own}"),
                None => own,
            };
            config.options(options);
        }
        config
    }

    /// How long we wait for the answer to a statement.
    pub(crate) fn answer_limit(&self) -> Duration {
        self.settings.statement_timeout + GRACE
    }

    /// The limits within one transaction, as statements, where the session has
    /// none.
    pub(crate) fn local_limits(&self) -> String {
        if self.settings.statement_cache {
            return String::new();
        }
        local_limits(self.settings.statement_timeout, self.settings.deadline)
    }
}

/// Statements that limit the transaction that they stand in.
pub(crate) fn local_limits(statement: Duration, idle: Duration) -> String {
    format!(
        "SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {};",
        millis(statement),
        millis(idle)
    )
}

/// PostgreSQL takes 0 for no limit, and no more than 31 bits.
fn millis(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1)
}
