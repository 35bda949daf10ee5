//! A PostgreSQL database as the services want it: the base of a store that
//! several machines share. It uses nothing that CockroachDB lacks, which no test
//! shows.
//!
//! [`Postgres`] is the handle. [`Postgres::read`] and [`Postgres::transaction`]
//! run a job, which may run several times: conflicts and lost connections are
//! met by running it again, within limits. What became of a commit that was not
//! answered is [`PostgresError::UnknownOutcome`], unless the [`Job`] says that
//! doing it twice does no harm. [`Postgres::poll`] asks a question again and again.
//! [`ForeignSnapshot`] reads the database of another program.
//!
//! Nothing here relies on the state of a session when
//! [`PostgresSettings::statement_cache`] is off, so that PgBouncer may share
//! connections between transactions.

mod connect;
mod database;
mod error;
mod foreign;
mod job;
mod lease;
mod metrics;
mod migrate;
mod open;
mod poll;
mod run;
mod session;
mod settings;
mod tls;
mod url;
mod value;

pub use database::Postgres;
pub use error::{PostgresError, PostgresOpenError};
pub use foreign::{ForeignRow, ForeignRows, ForeignSnapshot};
pub use job::{Isolation, Job};
pub use lease::{release_lease, renew_lease, try_lease};
pub use metrics::{JobMetrics, PoolState, PostgresMetrics};
pub use poll::PostgresPoller;
pub use session::Session;
pub use settings::PostgresSettings;
pub use tls::{Tls, TlsMode};
pub use url::UrlError;
pub use value::Value;

pub use tokio_postgres::Row;
pub use tokio_postgres::types::Type;
