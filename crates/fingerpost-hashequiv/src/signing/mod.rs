//! Signing the rows that a database has, beside its servers or without them.
//!
//! [`Walk`] goes through one namespace after the other in the order of its outputs. Rows are
//! read a page at a time and signed outside of any transaction; what was signed is put in
//! short ones, between which servers write, and which keep a signature only if its row is
//! still exactly the one that was signed. What is signed already is passed over, so a walk
//! that was stopped may begin anew, or at the [`Place`] where it was.

mod place;
mod revoking;
mod store;
mod walk;

use fingerpost_db::OpenError;
use fingerpost_signatures::KeyId;

pub use self::place::{Place, PlaceError};
pub use self::revoking::{Revocation, revocation, revocation_in_file};
pub use self::store::{Signable, SigningStore};
pub use self::walk::{Step, Walk};
use crate::store::StoreError;

/// Rows could not be signed, or signatures not be counted.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The file does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database has no such namespace.
    #[error("there is no namespace {0}")]
    NoNamespace(String),
}

/// Which rows are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All with a valid unihash that `key` did not sign.
    Existing {
        /// The key that signs.
        key: KeyId,
    },
    /// Those that `from` signed and `to` did not.
    SignedBy {
        /// The key that signed.
        from: KeyId,
        /// The key that signs.
        to: KeyId,
    },
}

impl Which {
    /// The key that signs.
    pub const fn signer(&self) -> KeyId {
        match self {
            Self::Existing { key } => *key,
            Self::SignedBy { to, .. } => *to,
        }
    }
}
