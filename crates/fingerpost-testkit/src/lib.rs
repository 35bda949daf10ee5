//! What the tests of Fingerpost stand on. For tests only; no shipped crate uses it.
//!
//! - [`vfs::FaultDisk`]: a drive under SQLite that loses unsynced writes, fills up and fails.

pub mod vfs;
