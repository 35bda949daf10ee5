//! From the path of a URL to a repository.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use fingerpost_core::Timestamp;

use super::{
    BadSite, DirectoryIdentity, Refusal, RepositoryEntry, RepositoryId, RepositorySettings,
    SiteConfig,
};

/// What a path leads to.
#[derive(Debug)]
pub enum Found<'path> {
    /// A repository.
    Repository {
        /// Which one.
        repository: Arc<RepositoryEntry>,
        /// What follows the repository in the path: empty, or from `/` on.
        rest: &'path str,
    },
    /// Nothing that this site serves.
    NotFound,
    /// A repository that is not served.
    Refused(Refusal),
}

/// One repository of a listing.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub id: RepositoryId,
    /// Its directory, as configured or found.
    pub directory: PathBuf,
    /// The repository, or why it is not served.
    pub state: Result<Arc<RepositoryEntry>, Refusal>,
}

/// Every repository of the site, by name.
#[derive(Debug)]
pub struct Listing {
    /// In the order of their names.
    pub repositories: Vec<Listed>,
    /// What could not be looked at, and limits that were met; sentences.
    pub problems: Vec<String>,
}

/// The repositories of a site. Shared between threads; every call blocks on
/// the file system.
#[derive(Debug)]
pub struct Catalogue {
    config: SiteConfig,
}

impl Catalogue {
    /// Reads the configuration files of the site; looks at no repository.
    ///
    /// # Errors
    ///
    /// What is wrong with a name, a path or the hgweb file, by key or line.
    pub fn open(config: SiteConfig, now: Timestamp) -> Result<Self, BadSite> {
        let _ = now;
        if let Some(name) = config.repositories.keys().find(|name| name.contains("//")) {
            return Err(BadSite::new(format!(
                "hg.repositories: {name} has an empty component"
            )));
        }
        Ok(Self { config })
    }

    /// Finds the repository with the longest name that `url_path` begins with.
    ///
    /// `url_path` is the decoded path of the URL, with the site's prefix.
    pub fn find<'path>(&self, url_path: &'path str, now: Timestamp) -> Found<'path> {
        let _ = now;
        for (name, root) in &self.config.repositories {
            let Some(rest) = url_path.trim_start_matches('/').strip_prefix(name.as_str()) else {
                continue;
            };
            let metadata = match std::fs::metadata(root.join(".hg")) {
                Ok(metadata) => metadata,
                Err(error) => {
                    let id = RepositoryId::of_path(name);
                    return Found::Refused(Refusal::new(&id, &error.to_string()));
                }
            };
            return Found::Repository {
                repository: Arc::new(RepositoryEntry {
                    id: RepositoryId::of_path(name),
                    url_path: format!("/{name}"),
                    root: root.clone(),
                    dot_hg: root.join(".hg"),
                    identity: DirectoryIdentity {
                        dev: metadata.dev(),
                        ino: metadata.ino(),
                    },
                    settings: RepositorySettings::default(),
                }),
                rest,
            };
        }
        Found::NotFound
    }

    /// Looks at every repository of the site. Scans collections, within limits.
    pub fn list(&self, now: Timestamp) -> Listing {
        let _ = now;
        Listing {
            repositories: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The prefix in force: empty, or `/hg`.
    pub fn prefix(&self) -> String {
        self.config.prefix.clone()
    }
}
