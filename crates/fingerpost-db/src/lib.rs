//! One SQLite file as the services of Fingerpost want it: opened in an instant,
//! written by one thread that groups what arrives into durable commits, read by
//! a few threads beside it, shared with other Fingerpost processes on the host.
//!
//! [`Sqlite`] is the handle. [`Sqlite::write`] takes a job for the writer and
//! answers when its commit is on disk; [`Sqlite::read`] runs a job on a reader;
//! [`Sqlite::poll`] tells when anybody committed. [`connect`] is for programs
//! that need no threads. [`backup`] and [`restore()`] copy a file, in use or not.
//!
//! [`postgres`] is the same for a database that several machines share.
//!
//! This crate knows no table but its own two (`fingerpost`, `lease`): schema and
//! statements belong to the services.

mod checkpoint;
mod connection;
mod copy;
mod error;
mod file_system;
mod format;
mod job;
mod lease;
mod metrics;
mod migrate;
mod open;
mod poll;
pub mod postgres;
mod queue;
mod reader;
mod restore;
mod settings;
mod sqlite;
#[cfg(test)]
mod testing;
mod writer;

pub use copy::{CopyError, backup};
pub use error::{DbError, OpenError};
pub use file_system::network as network_file_system;
pub use job::Tx;
pub use lease::{release_lease, renew_lease, try_lease};
pub use metrics::Metrics;
pub use migrate::Migration;
pub use open::{connect, connect_read_only, prepare};
pub use poll::Poller;
pub use restore::restore;
pub use settings::{Durability, Settings};
pub use sqlite::Sqlite;
