//! What the tests of Fingerpost stand on. For tests only; no shipped crate uses it.
//!
//! - [`TestFarm`] starts the real program in a directory of its own; [`Session`]
//!   and [`Connection`] talk to it.
//! - [`transcript`] replays recorded sessions of the reference server.
//! - [`vfs::FaultDisk`] is a drive under SQLite that loses unsynced writes,
//!   fills up and fails.

mod connection;
mod farm;
mod server;
mod session;
pub mod transcript;
pub mod vfs;

pub use self::connection::{
    ByteStream, Connection, Lines, Messages, PATIENCE, Received, Transport,
};
pub use self::farm::TestFarm;
pub use self::server::{Server, ServerOptions, Stopped};
pub use self::session::{Report, Session, hash};
