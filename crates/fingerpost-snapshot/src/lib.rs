//! Snapshots of hash equivalence: what (method, taskhash) → unihash is in a namespace at one
//! moment, as immutable files, and what changed since. `docs/snapshots.md` states both formats.
//!
//! A [`Writer`] takes rows in any order and leaves a directory: a [`Manifest`], which a publisher
//! signs with [`publish`], and the shards that it names by their digest. A [`Snapshot`] answers
//! [`lookup`](Snapshot::lookup)s from such files, wherever [`Files`] finds them.
//! [`ChangeReader`] and [`ChangeWriter`] are the stream of changes since a snapshot.
//!
//! No database, no HTTP, no clock and no runtime is here. Everything blocks, in bounded memory,
//! and nothing that is read is believed before it was checked.

pub mod fuzz;

mod change;
mod digest;
mod directory;
mod error;
mod files;
mod hex;
mod manifest;
mod seal;
mod shard;
mod side;
mod snapshot;
mod sorter;
mod verify;
mod writer;

pub use change::{Change, ChangeError, ChangeReader, ChangeWriter, LINE_BYTES_MAX, Since};
pub use digest::Digest;
pub use directory::{Directory, publish, read_signature};
pub use error::{Damage, SnapshotError};
pub use files::{Files, ReadAt};
pub use manifest::{
    MANIFEST_BYTES_MAX, METHODS_MAX, Manifest, ManifestError, MethodShards, NAME_BYTES_MAX,
    NUMBER_MAX, SHARDS_MAX, ShardEntry, SideEntry,
};
pub use seal::{VerifyError, seal, verify};
pub use shard::{BLOCK_ROWS, SHARD_BYTES_MAX, SHARD_ROWS_MAX};
pub use side::{SIDE_BYTES_MAX, Signed};
pub use snapshot::{Residence, Snapshot};
pub use verify::{Summary, VerifiedRow};
pub use writer::{About, SHARD_ROWS, WriteError, Writer};

/// A taskhash or unihash: the 32 bytes that 64 lower-case hex digits spell. A hash of another
/// form is in no snapshot.
pub type Hash = [u8; 32];
