//! Snapshots in a directory, as a door serves them.

mod elsewhere;
mod shard;
mod shelf;

pub(crate) use elsewhere::Elsewhere;
pub(crate) use shard::Shard;
pub(crate) use shelf::Shelved;
pub use shelf::{SnapshotShelf, Withheld};
