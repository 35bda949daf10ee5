//! One repository looked at.

use std::path::{Path, PathBuf};

use fingerpost_core::Timestamp;

use super::layers::Layers;
use super::link::{Directory, NotFollowed, directory};
use super::open::Files;
use super::resolve::resolve;
use super::share::{Share, share_of};
use super::state::{Seen, Site};
use super::{
    DirectoryIdentity, Note, Refusal, RepositoryEntry, RepositoryId, RepositorySettings, SiteConfig,
};
use crate::StorePlace;

/// A repository by name, as found in the configuration or in a collection.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its name within the site.
    pub(super) name: String,
    /// Its name without the links that lead to it, where that is another one.
    pub(super) real_name: Option<String>,
    /// Its directory.
    pub(super) root: PathBuf,
    /// The collection's directory, which links must not leave.
    pub(super) base: Option<PathBuf>,
}

/// Where a candidate's parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    root: PathBuf,
    dot_hg: PathBuf,
    identity: DirectoryIdentity,
}

/// What was read of a candidate.
pub(super) struct Loaded {
    /// The repository, or why it is not served.
    pub(super) entry: Result<RepositoryEntry, Refusal>,
    /// The files that decided.
    pub(super) seen: Seen,
    /// Where its store is, if that is another repository's.
    pub(super) share: Option<Share>,
}

impl Candidate {
    /// The stable name.
    pub(super) fn id(&self) -> RepositoryId {
        RepositoryId::of_path(&self.name)
    }

    /// Follows the links that are followed to `.hg`, and looks whether its
    /// store is where it should be.
    pub(super) fn locate(&self, site: &Site) -> Result<Located, Refusal> {
        let refuse = |error: NotFollowed| Refusal::new(&self.id(), &error.to_string());
        let links = site.links();
        let base = self.base.as_deref();
        let root = match base {
            Some(_) => self.root.clone(),
            None => directory(&self.root).map_err(refuse)?.path,
        };
        let dot_hg = links.child(&root, ".hg", base).map_err(refuse)?;
        match links.child(&dot_hg.path, "store", base) {
            Ok(_) | Err(NotFollowed::Missing(_)) => {}
            Err(error) => return Err(refuse(error)),
        }
        let Directory { path, metadata } = dot_hg;
        Ok(Located {
            root,
            dot_hg: path,
            identity: DirectoryIdentity::of(&metadata),
        })
    }

    /// Reads the configuration of what was located.
    pub(super) fn load(
        &self,
        site: &Site,
        config: &SiteConfig,
        located: Located,
        now: Timestamp,
    ) -> Loaded {
        let mut files = Files::new(site.trust(), &config.environment);
        let read = self.read(site, &located.dot_hg, &mut files);
        let seen = Seen::new(files.seen, now);
        let (settings, share) = match read {
            Ok(read) => read,
            Err(sentence) => {
                return Loaded {
                    entry: Err(Refusal::new(&self.id(), &sentence)),
                    seen,
                    share: None,
                };
            }
        };
        let (dot_hg, identity) = match &share {
            Some(share) => (&share.source, share.identity),
            None => (&located.dot_hg, located.identity),
        };
        let store = StorePlace {
            dot_hg: dot_hg.clone(),
            identity,
        };
        let entry = RepositoryEntry {
            id: self.id(),
            url_path: url_path(site, &self.name),
            store,
            root: located.root,
            dot_hg: located.dot_hg,
            identity: located.identity,
            settings,
        };
        Loaded {
            entry: Ok(entry),
            seen,
            share,
        }
    }

    fn read(
        &self,
        site: &Site,
        dot_hg: &Path,
        files: &mut Files<'_>,
    ) -> Result<(RepositorySettings, Option<Share>), String> {
        let mut layers: Layers = site.layers.clone();
        let share = share_of(dot_hg, files, site.links())?;
        let source = share.as_ref().filter(|share| share.safe);
        let paths = source.map(|share| share.source.join("hgrc")).into_iter();
        for path in paths.chain(OWN_FILES.map(|name| dot_hg.join(name))) {
            layers
                .push(&path, files)
                .map_err(|error| error.to_string())?;
        }
        let own = site.rules_of(&self.name, self.real_name.as_deref());
        let mut settings = resolve(&layers, own)?;
        if let Some(share) = share.as_ref().filter(|share| !share.safe) {
            settings.notes.extend(note_foreign_rules(&share.source));
        }
        Ok((settings, share))
    }
}

/// A note on a source's file, where a share does not take it over: whoever set
/// rules there may think that it does.
fn note_foreign_rules(source: &Path) -> Option<Note> {
    let hgrc = source.join("hgrc");
    hgrc.exists().then(|| Note {
        place: hgrc.display().to_string(),
        sentence: "does not hold for this share, which is not share-safe".to_owned(),
    })
}

fn url_path(site: &Site, name: &str) -> String {
    if name.is_empty() {
        return site.prefix.clone();
    }
    format!("{}/{name}", site.prefix)
}

/// The configuration files of a repository in the order in which Mercurial
/// reads them, after those of the site and of a share's source.
const OWN_FILES: [&str; 2] = ["hgrc", "hgrc-not-shared"];
