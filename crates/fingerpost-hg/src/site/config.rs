//! What the server's configuration says about repositories.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::state::Site;
use super::{BadSite, OwnRules, TrustPolicy};

/// The `[hg]` part of the server's configuration, as far as it says which
/// repositories are served where and to whom.
#[derive(Clone, Debug)]
pub struct SiteConfig {
    /// What every URL path begins with, behind a reverse proxy that passes it
    /// on: empty, or `/hg`. When empty, `web.prefix` of the hgweb file applies.
    pub prefix: String,
    /// A configuration file of hgweb: `[paths]`, `[collections]`, `[web]`,
    /// `[trusted]`, `[phases]`, `[server]`. Read again when it changes.
    pub hgweb_config: Option<PathBuf>,
    /// Mercurial configuration files that hold for every repository, below
    /// everything else; those that do not exist are skipped. Trusted.
    pub hgrc: Vec<PathBuf>,
    /// URL path within the site → repository. The empty path serves at the root.
    pub repositories: BTreeMap<String, PathBuf>,
    /// URL path within the site → directory whose repositories appear below it.
    pub collections: BTreeMap<String, PathBuf>,
    /// URL path within the site → our own rules; `*` for every repository that
    /// has none of its own.
    pub rules: BTreeMap<String, OwnRules>,
    /// Users whose files are trusted, by name or number, besides root and the
    /// server's own; `*` is everybody.
    pub trusted_users: Vec<String>,
    /// Groups whose files are trusted, by name or number.
    pub trusted_groups: Vec<String>,
    /// Whose files are trusted before the two lists above are added.
    pub trust: TrustPolicy,
    /// Lets symbolic links lead out of a collection, and links and shares of
    /// users who are not trusted lead to what belongs to others.
    pub follow_symlinks: bool,
    /// For `~` and `$NAME` in includes.
    pub environment: BTreeMap<String, String>,
}

impl SiteConfig {
    /// A site without repositories.
    pub fn new(trust: TrustPolicy) -> Self {
        Self {
            prefix: String::new(),
            hgweb_config: None,
            hgrc: Vec::new(),
            repositories: BTreeMap::new(),
            collections: BTreeMap::new(),
            rules: BTreeMap::new(),
            trusted_users: Vec::new(),
            trusted_groups: Vec::new(),
            trust,
            follow_symlinks: false,
            environment: BTreeMap::new(),
        }
    }

    /// Checks names, rules and trusted users, and reads no repository's and no
    /// hgweb file for it.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong; the sentence begins with the key,
    /// `hg.repositories.NAME`.
    pub fn check(&self) -> Result<(), BadSite> {
        Site::check(self)
    }
}
