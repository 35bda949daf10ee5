//! What signing asks of a database.

use fingerpost_hashequiv_proto::types::{Outhash, Unihash};

use super::Which;
use crate::copying::CopyPage;
use crate::namespace::NamespaceId;
use crate::store::{Stored, Task};

/// A row that may be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signable {
    /// The task.
    pub task: Task,
    /// What it produced.
    pub outhash: Outhash,
    /// Its unihash, a valid one.
    pub unihash: Unihash,
    /// The signature that is there, for [`Which::SignedBy`].
    pub signature: Option<String>,
}

/// The part of a [`Store`](crate::Store) that finds rows to sign. As there, every method is
/// atomic and sees one namespace alone.
pub trait SigningStore: Send + Sync + 'static {
    /// Rows after the output numbered `after`, in the order of their numbers. `limit` rows are
    /// looked at, of those that a key signed for [`Which::SignedBy`]: that is what it costs.
    fn signable(
        &self,
        at: NamespaceId,
        which: Which,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<Signable>>;
}
