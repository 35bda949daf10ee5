//! Which revisions were verified against their nodes already.

/// The process's memory of verified revisions.
#[derive(Debug, Default)]
pub struct Verified {}
