//! Mercurial repositories on disk, read while `hg` writes them, and the
//! commands of wire protocol v2 over them.
//!
//! The crate reads and never writes, takes no lock, and knows no HTTP, no
//! socket and no frame. Everything in it blocks; who calls it does so off the
//! runtime's threads.

pub mod delta;
pub mod fuzz;
pub mod pushkey;
pub mod site;

mod beneath;
mod bookmarks;
mod branches;
mod changelog;
mod changeset;
mod commands;
mod dag;
mod error;
mod filelog;
mod generation;
mod inputs;
mod introduced;
mod lookup;
mod manifest;
mod manifest_entry;
mod obsstore;
mod obsstore_file;
mod phases;
mod raw;
mod repository;
mod rev_set;
mod revisions;
mod revlog;
mod service;
mod snapshot;
mod state_file;
mod state_token;
mod store;
mod tags;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod text_delta;
mod texts;
mod verified;
mod verify;
mod view;

pub use bookmarks::{Bookmarks, is_divergent};
pub use branches::{Branch, BranchHeads};
pub use changelog::Changelog;
pub use changeset::{Changeset, ChangesetError, Files, files, manifest_node};
pub use commands::{Cbor, commands, descriptor, may_be_stale};
pub use dag::{Graph, ancestors, ancestors_within, heads, only};
pub use error::StoreError;
pub use filelog::FileText;
pub use generation::Generation;
pub use lookup::LookupError;
pub use manifest::{
    EachFile, ManifestEntries, ManifestEntry, ManifestError, ManifestFlag, Manifests,
    TREE_DEPTH_MAX, find_in_manifest, manifest_entries, parse_manifest,
};
pub use obsstore::{Obsstore, ObsstoreError};
pub use phases::{Phase, PhaseRoots, PhaseRootsError, Phases};
pub use repository::{Repository, RepositoryOptions};
pub use rev_set::RevSet;
pub use revlog::{
    FLAG_CENSORED, FLAG_ELLIPSIS, FLAG_EXTERNAL, FLAG_HAS_COPIES, NodePrefix, Refreshed, Rev,
    Revlog, RevlogName, Scratch,
};
pub use service::{Mercurial, MercurialOptions, RepositoryView};
pub use snapshot::Snapshot;
pub use state_token::StateToken;
pub use store::{
    FileStamp, Limits, PathEncoding, Requirements, RequirementsError, Store, StorePlace,
};
pub use tags::Tags;
pub use texts::{Texts, hash};
pub use verified::Verified;
pub use verify::{Problem, Verification, VerifyStage, VerifySummary, verify};
pub use view::{View, served_heads};
