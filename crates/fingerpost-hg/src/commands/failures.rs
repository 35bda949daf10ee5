//! What goes wrong inside commands, as failures.

use fingerpost_core::Failure;
use fingerpost_hg_proto::Node;

use crate::StoreError;

/// Something of ours failed while reading.
pub(crate) fn internal(error: StoreError) -> Failure {
    Failure::internal(error)
}

/// Whether a strip or a rewrite under the reader can explain the failure, so
/// that a new snapshot and another try are worth it.
pub fn may_be_stale(failure: &Failure) -> bool {
    let Failure::Internal(source) = failure else {
        return false;
    };
    source
        .downcast_ref::<StoreError>()
        .is_some_and(StoreError::may_be_stale)
}

/// What is said of a changeset that is not there, secret or hidden.
pub(crate) fn unknown_changeset(node: &Node) -> Failure {
    let hex = node.to_hex().to_vec();
    Failure::refused_with("unknown-node", "unknown changeset: %s", vec![hex])
}
