//! Which repositories are served, under which URL path, and to whom.
//!
//! [`Catalogue`] is asked with the path of a URL and answers with a
//! [`RepositoryEntry`], which carries what the repository's own configuration
//! files say ([`RepositorySettings`]) and who may do what ([`AccessRules`]).
//! It reads configuration files and directories, never a store.

mod access;
mod catalogue;
mod collection;
mod config;
mod entry;
pub mod fuzz;
mod hgweb;
mod ini;
mod layers;
mod link;
mod load;
mod name;
mod open;
mod refusal;
mod resolve;
mod settings;
mod share;
mod stamp;
mod state;
#[cfg(test)]
mod testing;
mod trust;
mod values;

pub use access::{AccessRules, Decision, Operation, OwnRules};
pub use catalogue::{Catalogue, Found, Listed, Listing};
pub use config::SiteConfig;
pub use entry::{DirectoryIdentity, RepositoryEntry, RepositoryId};
pub use refusal::{BadSite, Refusal};
pub use settings::{Note, RepositorySettings, ServerView};
pub use trust::TrustPolicy;
