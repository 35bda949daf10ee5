//! What the tests of Fingerpost stand on. For tests only; no shipped crate uses it.
//!
//! - [`TestFarm`] starts the real program in a directory of its own; [`Session`]
//!   and [`Connection`] talk to it.
//! - [`transcript`] replays recorded sessions of the reference server.
//! - [`vfs::FaultDisk`] is a drive under SQLite that loses unsynced writes,
//!   fills up and fails.
//! - [`S3Server`] and [`RedisServer`] are stores that can be lost, and hang; [`Nginx`]
//!   serves files and caches, [`Relay`] passes on what a server says, or something else.
//! - [`PostgresCluster`] is a PostgreSQL that can be killed, [`PgBouncer`] stands before it.
//! - [`Hg`] is a stock client, and makes repositories for it.
//! - [`run_python_tests`] holds `clients/python` against the same vectors as our crates.

mod account;
mod authority;
mod connection;
mod farm;
mod hg;
mod memory;
mod nginx;
mod pgbouncer;
mod ports;
mod postgres;
mod python;
mod redis;
mod relay;
mod s3;
mod server;
mod session;
pub mod transcript;
pub mod vfs;

pub use self::authority::Certificates;
pub use self::connection::{
    ByteStream, Connection, Lines, Messages, PATIENCE, Received, Transport,
};
pub use self::farm::TestFarm;
pub use self::hg::{Hg, Shape};
pub use self::memory::memory_bytes;
pub use self::nginx::Nginx;
pub use self::pgbouncer::PgBouncer;
pub use self::ports::free_port;
pub use self::postgres::PostgresCluster;
pub use self::python::run_python_tests;
pub use self::redis::RedisServer;
pub use self::relay::{Manner, Relay};
pub use self::s3::S3Server;
pub use self::server::{Server, ServerOptions, Stopped};
pub use self::session::{Report, Session, hash};
