//! A directory whose repositories appear below a URL path.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::link::{Directory, Links, NotFollowed, directory};

/// One collection, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collection {
    /// URL path within the site that its repositories appear below.
    pub(super) prefix: String,
    /// The directory.
    pub(super) directory: PathBuf,
    /// Whether repositories inside of repositories appear too, as with `**` in
    /// a hgweb file.
    pub(super) nested: bool,
}

/// A repository in a collection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name below the collection's prefix; empty for the directory itself.
    pub(super) name: String,
    /// Its name by way of the links that were followed.
    pub(super) real_name: Option<String>,
    /// Its directory without symbolic links.
    pub(super) root: PathBuf,
    /// The collection's directory without symbolic links.
    pub(super) base: PathBuf,
}

/// What a path below a collection leads to.
#[derive(Debug)]
pub(super) enum Reached {
    /// A repository.
    Member(Member),
    /// A link that is not followed, at this name.
    Refused(String, NotFollowed),
    /// Nothing that is served.
    Nothing,
}

impl Collection {
    /// Goes down `path`, empty or from `/` on, to the deepest repository. Looks
    /// at each component once and scans nothing.
    pub(super) fn reach(&self, path: &str, links: Links<'_>) -> Reached {
        let Ok(base) = directory(&self.directory) else {
            return Reached::Nothing;
        };
        let mut current = base.path.clone();
        let mut length = 0;
        let mut found = self.member(&base.path, "", &current);
        for component in path.split('/').skip(1).take(DEPTH_MAX) {
            if (found.is_some() && !self.nested) || !may_appear(component) {
                break;
            }
            let name = &path[1..length + 1 + component.len()];
            match links.child(&current, component, Some(&base.path)) {
                Ok(child) => current = child.path,
                Err(NotFollowed::Missing(_)) => break,
                Err(_) if found.is_some() => break,
                Err(error) => return Reached::Refused(name.to_owned(), error),
            }
            length += 1 + component.len();
            found = self.member(&base.path, name, &current).or(found);
        }
        found.map_or(Reached::Nothing, Reached::Member)
    }

    /// The member at `directory`, when it is a repository.
    fn member(&self, base: &Path, name: &str, directory: &Path) -> Option<Member> {
        // Whether it may be looked at is asked later, with a name to refuse.
        std::fs::symlink_metadata(directory.join(".hg")).ok()?;
        let real = directory.strip_prefix(base).ok().and_then(Path::to_str);
        Some(Member {
            name: name.to_owned(),
            real_name: real.filter(|real| *real != name).map(str::to_owned),
            root: directory.to_owned(),
            base: base.to_owned(),
        })
    }

    /// Every repository of the collection, in the order of names, and what
    /// could not be looked at.
    pub(super) fn scan(&self, links: Links<'_>) -> Scan {
        let mut scan = Scan::default();
        match directory(&self.directory) {
            Ok(base) => {
                let mut walk = Walk {
                    collection: self,
                    links,
                    base: base.path.clone(),
                    seen: BTreeSet::new(),
                    looked_at: 0,
                };
                walk.visit(&base, "", 0, &mut scan);
            }
            Err(error) => scan.problems.push(error.to_string()),
        }
        scan
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Repositories.
    pub(super) members: Vec<Member>,
    /// Links that are not followed, by name.
    pub(super) refused: Vec<(String, NotFollowed)>,
    /// What could not be looked at; sentences.
    pub(super) problems: Vec<String>,
}

struct Walk<'scan> {
    collection: &'scan Collection,
    links: Links<'scan>,
    base: PathBuf,
    /// Directories that were visited: links can make circles.
    seen: BTreeSet<(u64, u64)>,
    looked_at: usize,
}

impl Walk<'_> {
    fn visit(&mut self, at: &Directory, name: &str, depth: usize, scan: &mut Scan) {
        if !self.seen.insert((at.metadata.dev(), at.metadata.ino())) {
            return;
        }
        if let Some(member) = self.collection.member(&self.base, name, &at.path) {
            scan.members.push(member);
            if !self.collection.nested {
                return;
            }
        }
        if depth == DEPTH_MAX {
            scan.problems.push(format!(
                "{} is {DEPTH_MAX} directories deep; nothing below it is served",
                at.path.display()
            ));
            return;
        }
        for component in self.children(at, scan) {
            let below = super::name::joined(name, &component);
            match self.links.child(&at.path, &component, Some(&self.base)) {
                Ok(child) => self.visit(&child, &below, depth + 1, scan),
                Err(NotFollowed::Missing(_)) => {}
                Err(error) => scan.refused.push((below, error)),
            }
        }
    }

    /// Names of directories and links below `at` that can be part of a URL.
    fn children(&mut self, at: &Directory, scan: &mut Scan) -> Vec<String> {
        let listed = match std::fs::read_dir(&at.path) {
            Ok(listed) => listed,
            Err(error) => {
                let problem = format!("{} cannot be listed: {error}", at.path.display());
                scan.problems.push(problem);
                return Vec::new();
            }
        };
        let mut names = Vec::new();
        for entry in listed.flatten() {
            if self.looked_at >= ENTRIES_MAX {
                let directory = self.collection.directory.display();
                let problem = format!(
                    "{directory} has more than {ENTRIES_MAX} entries; the rest is not listed"
                );
                if scan.problems.last() != Some(&problem) {
                    scan.problems.push(problem);
                }
                break;
            }
            self.looked_at += 1;
            names.extend(candidate(&entry, scan));
        }
        names.sort_unstable();
        names
    }
}

fn candidate(entry: &DirEntry, scan: &mut Scan) -> Option<String> {
    let kind = entry.file_type().ok()?;
    if !(kind.is_dir() || kind.is_symlink()) {
        return None;
    }
    match entry.file_name().into_string() {
        Ok(name) => may_appear(&name).then_some(name),
        Err(name) => {
            let sentence = "is no UTF-8, so no URL leads to it";
            scan.problems
                .push(format!("the name {} {sentence}", name.display()));
            None
        }
    }
}

/// Whether a directory of this name is part of a collection. Those that begin
/// with a dot are not: `.hg`, and snapshots that file systems keep.
fn may_appear(component: &str) -> bool {
    let hidden = component.is_empty() || component.starts_with('.');
    !hidden && !component.chars().any(char::is_control)
}

/// Most directories between a collection and a repository.
const DEPTH_MAX: usize = 16;
/// Most directory entries that a scan looks at.
const ENTRIES_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests;
