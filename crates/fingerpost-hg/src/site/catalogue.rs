//! From the path of a URL to a repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fingerpost_core::Timestamp;
use hashbrown::HashMap;
use parking_lot::RwLock;

use super::collection::{Member, Reached};
use super::load::{Candidate, Loaded, Located};
use super::name::{after, joined};
use super::share::Share;
use super::state::{Seen, Site, is_plain};
use super::{BadSite, Refusal, RepositoryEntry, RepositoryId, SiteConfig};

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
    /// Nothing is served for now: a configuration file of the site changed and
    /// is wrong. It may have held a rule, so the old one is not used further.
    Unavailable(BadSite),
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
#[derive(Debug, Default)]
pub struct Listing {
    /// In the order of their names.
    pub repositories: Vec<Listed>,
    /// What could not be looked at, and limits that were met; sentences.
    pub problems: Vec<String>,
}

/// The repositories of a site. Shared between threads; every call blocks on
/// the file system.
///
/// A look-up is a few `lstat` and `stat` calls: for each component of the path,
/// for `.hg`, and for each configuration file, which is read again when it
/// changed. So what is made, moved or reconfigured counts at the next request.
#[derive(Debug)]
pub struct Catalogue {
    config: SiteConfig,
    current: RwLock<Current>,
    known: RwLock<HashMap<RepositoryId, Known>>,
}

/// The site as it was read last.
#[derive(Debug)]
struct Current {
    site: Arc<Result<Site, BadSite>>,
    seen: Seen,
}

/// A repository as it was read last.
#[derive(Debug)]
struct Known {
    site: Arc<Result<Site, BadSite>>,
    located: Located,
    real_name: Option<String>,
    seen: Seen,
    share: Option<Share>,
    state: Result<Arc<RepositoryEntry>, Refusal>,
}

impl Catalogue {
    /// Reads the configuration files of the site; looks at no repository.
    ///
    /// # Errors
    ///
    /// What is wrong with a name, a path or the hgweb file, by key or line.
    pub fn open(config: SiteConfig, now: Timestamp) -> Result<Self, BadSite> {
        let (site, seen) = Site::read(&config, now);
        let current = Current {
            site: Arc::new(Ok(site?)),
            seen,
        };
        Ok(Self {
            config,
            current: RwLock::new(current),
            known: RwLock::default(),
        })
    }

    /// Finds the repository with the longest name that `url_path` begins with.
    ///
    /// `url_path` is the decoded path of the URL, with the site's prefix.
    pub fn find<'path>(&self, url_path: &'path str, now: Timestamp) -> Found<'path> {
        let current = self.current(now);
        let site = match &*current {
            Ok(site) => site,
            Err(bad) => return Found::Unavailable(bad.clone()),
        };
        let path = match url_path.strip_prefix(site.prefix.as_str()) {
            Some(path) if is_plain(path) => path,
            _ => return Found::NotFound,
        };
        let candidate = match candidate(site, path) {
            Reach::One(candidate) => candidate,
            Reach::Refused(refusal) => return Found::Refused(refusal),
            Reach::Nothing => return Found::NotFound,
        };
        let rest = after(path, &candidate.name).unwrap_or_default();
        match self.look_at(&current, site, &candidate, now) {
            Ok(repository) => Found::Repository { repository, rest },
            Err(refusal) => Found::Refused(refusal),
        }
    }

    /// Looks at every repository of the site. Scans collections, within limits.
    pub fn list(&self, now: Timestamp) -> Listing {
        let current = self.current(now);
        let mut listing = Listing::default();
        let site = match &*current {
            Ok(site) => site,
            Err(bad) => {
                listing.problems.push(bad.to_string());
                return listing;
            }
        };
        let unknown = site.unknown_trusted.iter();
        listing.problems.extend(unknown.map(|name| {
            format!("{name} is trusted by name, and neither a number nor known to this system")
        }));
        for (_, same_name) in everything(site, &mut listing.problems) {
            let (directory, state) = match the_one(site, same_name) {
                Reach::One(candidate) => {
                    let state = self.look_at(&current, site, &candidate, now);
                    (candidate.root, state)
                }
                Reach::Refused(refusal) => (PathBuf::new(), Err(refusal)),
                Reach::Nothing => continue,
            };
            let id = match &state {
                Ok(entry) => entry.id().clone(),
                Err(refusal) => refusal.id().clone(),
            };
            listing.repositories.push(Listed {
                id,
                directory,
                state,
            });
        }
        listing
    }

    /// The prefix in force: empty, or `/hg`.
    pub fn prefix(&self, now: Timestamp) -> String {
        let current = self.current(now);
        let site = current.as_ref().as_ref();
        site.map_or_else(|_| String::new(), |site| site.prefix.clone())
    }

    /// The site as its files are now. The same one as before as long as they say
    /// the same, so that what was read with it goes on holding.
    fn current(&self, now: Timestamp) -> Arc<Result<Site, BadSite>> {
        let current = self.current.read();
        // The files do not explain every error: a name may be unknown to the
        // system for a moment. So an error is good for one request.
        if current.site.is_ok() && current.seen.still_holds() {
            return Arc::clone(&current.site);
        }
        drop(current);
        let (site, seen) = Site::read(&self.config, now);
        let mut current = self.current.write();
        if *current.site != site {
            current.site = Arc::new(site);
        }
        current.seen = seen;
        Arc::clone(&current.site)
    }

    /// The repository as its files are now.
    fn look_at(
        &self,
        current: &Arc<Result<Site, BadSite>>,
        site: &Site,
        candidate: &Candidate,
        now: Timestamp,
    ) -> Result<Arc<RepositoryEntry>, Refusal> {
        let id = candidate.id();
        let located = candidate.locate(site)?;
        if let Some(known) = self.known.read().get(&id)
            && known.holds(current, site, candidate, &located)
        {
            return known.state.clone();
        }
        let Loaded { entry, seen, share } =
            candidate.load(site, &self.config, located.clone(), now);
        let mut known = self.known.write();
        let state = match (entry, known.get(&id).map(|known| &known.state)) {
            (Ok(entry), Some(Ok(before))) if **before == entry => Ok(Arc::clone(before)),
            (entry, _) => entry.map(Arc::new),
        };
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let entry = Known {
            site: Arc::clone(current),
            located,
            real_name: candidate.real_name.clone(),
            seen,
            share,
            state: state.clone(),
        };
        known.insert(id, entry);
        state
    }
}

impl Known {
    fn holds(
        &self,
        current: &Arc<Result<Site, BadSite>>,
        site: &Site,
        candidate: &Candidate,
        located: &Located,
    ) -> bool {
        Arc::ptr_eq(&self.site, current)
            && self.located == *located
            && self.real_name == candidate.real_name
            && self.seen.still_holds()
            && self
                .share
                .as_ref()
                .is_none_or(|share| share.still_leads_there(site.links()))
    }
}

/// What lies at a name.
enum Reach {
    One(Candidate),
    Refused(Refusal),
    Nothing,
}

/// One of the things that may lie at a name.
type Claim = Result<Candidate, Refusal>;

/// The repository with the longest name that `path` begins with.
fn candidate(site: &Site, path: &str) -> Reach {
    let mut claims: Vec<(String, Claim)> = Vec::new();
    if let Some((name, root)) = named(site, path) {
        claims.push((name.to_owned(), Ok(candidate_of_name(name, root))));
    }
    for collection in &site.collections {
        let Some(below) = after(path, &collection.prefix) else {
            continue;
        };
        match collection.reach(below, site.links()) {
            Reached::Member(member) => {
                let candidate = candidate_of_member(&collection.prefix, member);
                claims.push((candidate.name.clone(), Ok(candidate)));
            }
            Reached::Refused(name, error) => {
                let name = joined(&collection.prefix, &name);
                let id = RepositoryId::of_path(&name);
                claims.push((name, Err(Refusal::new(&id, &error.to_string()))));
            }
            Reached::Nothing => {}
        }
    }
    let found = claims.iter().filter(|(_, claim)| claim.is_ok());
    let longest = found.map(|(name, _)| name.len()).max();
    let longest = longest.or_else(|| claims.iter().map(|(name, _)| name.len()).max());
    let of_longest = claims
        .into_iter()
        .filter(|(name, _)| Some(name.len()) == longest);
    the_one(site, of_longest.map(|(_, claim)| claim).collect())
}

/// The named repository with the longest name that `path` begins with.
fn named<'site>(site: &'site Site, path: &str) -> Option<(&'site str, &'site Path)> {
    let names = path.strip_prefix('/').unwrap_or_default();
    let borders = names.match_indices('/').map(|(border, _)| border);
    let ends = std::iter::once(0).chain(borders).chain([names.len()]);
    let mut ends: Vec<usize> = ends.take(COMPONENTS_MAX).collect();
    ends.reverse();
    ends.into_iter().find_map(|end| {
        let (name, root) = site.named.get_key_value(names.get(..end)?)?;
        Some((name.as_str(), root.as_path()))
    })
}

fn candidate_of_name(name: &str, root: &Path) -> Candidate {
    Candidate {
        name: name.to_owned(),
        real_name: None,
        root: root.to_owned(),
        base: None,
    }
}

fn candidate_of_member(prefix: &str, member: Member) -> Candidate {
    Candidate {
        name: joined(prefix, &member.name),
        real_name: member.real_name.map(|real| joined(prefix, &real)),
        root: member.root,
        base: Some(member.base),
    }
}

/// Decides between what lies at one name: the same directory twice is one
/// repository, two directories are none.
fn the_one(site: &Site, claims: Vec<Claim>) -> Reach {
    let mut refused = None;
    let mut found: Option<(Candidate, Option<Located>)> = None;
    for claim in claims {
        let candidate = match claim {
            Ok(candidate) => candidate,
            Err(refusal) => {
                refused = Some(refusal);
                continue;
            }
        };
        let Some((first, located)) = &mut found else {
            found = Some((candidate, None));
            continue;
        };
        // Only now is it worth looking where they are.
        let located = match located {
            Some(located) => located,
            None => located.insert(match first.locate(site) {
                Ok(located) => located,
                Err(refusal) => return Reach::Refused(refusal),
            }),
        };
        match candidate.locate(site) {
            Ok(other) if other == *located => {}
            _ => {
                let sentence = format!(
                    "two repositories have this name: {} and {}",
                    first.root.display(),
                    candidate.root.display()
                );
                return Reach::Refused(Refusal::new(&first.id(), &sentence));
            }
        }
    }
    match (found, refused) {
        (Some((candidate, _)), _) => Reach::One(candidate),
        (None, Some(refusal)) => Reach::Refused(refusal),
        (None, None) => Reach::Nothing,
    }
}

/// Everything that lies at any name of the site.
fn everything(site: &Site, problems: &mut Vec<String>) -> BTreeMap<String, Vec<Claim>> {
    let mut claims: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
    for (name, root) in &site.named {
        let of_name = claims.entry(name.clone()).or_default();
        of_name.push(Ok(candidate_of_name(name, root)));
    }
    for collection in &site.collections {
        let scan = collection.scan(site.links());
        problems.extend(scan.problems);
        for member in scan.members {
            let candidate = candidate_of_member(&collection.prefix, member);
            let of_name = claims.entry(candidate.name.clone()).or_default();
            of_name.push(Ok(candidate));
        }
        for (name, error) in scan.refused {
            let name = joined(&collection.prefix, &name);
            let id = RepositoryId::of_path(&name);
            let refusal = Refusal::new(&id, &error.to_string());
            claims.entry(name).or_default().push(Err(refusal));
        }
    }
    claims
}

/// Most repositories whose settings are remembered.
const KNOWN_MAX: usize = 65_536;
/// Most components of a path that are looked at.
const COMPONENTS_MAX: usize = 64;

#[cfg(test)]
mod tests;
