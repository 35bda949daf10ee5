//! Mercurial repositories on disk, read while `hg` writes them, and the
//! commands of wire protocol v2 over them.
//!
//! The crate reads and never writes, takes no lock, and knows no HTTP, no
//! socket and no frame. Everything in it blocks; who calls it does so off the
//! runtime's threads.

mod site;

pub use site::{
    AccessRules, BadSite, Catalogue, Decision, DirectoryIdentity, Found, Listed, Listing, Note,
    Operation, OwnRules, Refusal, RepositoryEntry, RepositoryId, RepositorySettings, ServerView,
    SiteConfig, TrustPolicy,
};
