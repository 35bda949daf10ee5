//! The site as its configuration files are now.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fingerpost_core::Timestamp;

use super::collection::Collection;
use super::hgweb::{Places, take_places};
use super::layers::Layers;
use super::link::Links;
use super::name::{after, normalized};
use super::open::{Files, Trust};
use super::stamp::Stamp;
use super::values::list;
use super::{BadSite, OwnRules, SiteConfig, TrustPolicy};

/// What the server's configuration and the hgweb file say together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// What every URL path begins with: empty, or `/hg`.
    pub(super) prefix: String,
    /// Name → directory.
    pub(super) named: BTreeMap<String, PathBuf>,
    /// In the order of configuration.
    pub(super) collections: Vec<Collection>,
    /// Settings that hold for every repository.
    pub(super) layers: Layers,
    rules: BTreeMap<String, Arc<OwnRules>>,
    trust: TrustPolicy,
    follow: bool,
    /// Names in `[trusted]` that are no user or group here.
    pub(super) unknown_trusted: Vec<String>,
}

/// Files that were looked at, with the moment.
#[derive(Debug)]
pub(super) struct Seen {
    files: Vec<(PathBuf, Stamp)>,
    read_at: Timestamp,
}

impl Seen {
    pub(super) const fn new(files: Vec<(PathBuf, Stamp)>, read_at: Timestamp) -> Self {
        Self { files, read_at }
    }

    /// Whether reading the files again would certainly yield the same.
    pub(super) fn still_holds(&self) -> bool {
        self.files.iter().all(|(path, stamp)| {
            stamp.settled(self.read_at) && Stamp::of(path).is_ok_and(|now| now == *stamp)
        })
    }
}

impl Site {
    /// Reads the files that `config` names. Also tells which were looked at,
    /// whether they were right or not.
    pub(super) fn read(config: &SiteConfig, now: Timestamp) -> (Result<Self, BadSite>, Seen) {
        let mut files = Files::new(Trust::Everybody, &config.environment);
        let site = Self::read_files(config, &mut files);
        (site, Seen::new(files.seen, now))
    }

    /// Checks what can be checked without reading a file.
    pub(super) fn check(config: &SiteConfig) -> Result<(), BadSite> {
        let site = Self::assemble(config, Layers::default(), Places::default())?;
        if config.hgweb_config.is_none() {
            site.check_rules(config)?;
        }
        Ok(())
    }

    fn read_files(config: &SiteConfig, files: &mut Files<'_>) -> Result<Self, BadSite> {
        let mut layers = Layers::default();
        for path in &config.hgrc {
            layers.push(path, files).map_err(bad_file)?;
        }
        // `[paths]` of those files are names for the command line of `hg`.
        layers.take_section("paths");
        layers.take_section("collections");
        if let Some(path) = &config.hgweb_config {
            let exists = layers.push(path, files).map_err(bad_file)?;
            if !exists {
                return Err(BadSite::new(format!("{} does not exist", path.display())));
            }
        }
        let places = take_places(&mut layers)?;
        let site = Self::assemble(config, layers, places)?;
        site.check_rules(config)?;
        Ok(site)
    }

    /// The site of a configuration and of what was read from files.
    fn assemble(config: &SiteConfig, layers: Layers, places: Places) -> Result<Self, BadSite> {
        let mut site = Self {
            prefix: prefix_of(config, &layers)?,
            named: BTreeMap::new(),
            collections: Vec::new(),
            rules: BTreeMap::new(),
            trust: config.trust.clone(),
            follow: config.follow_symlinks,
            unknown_trusted: Vec::new(),
            layers,
        };
        site.add_trusted(config)?;
        site.add_named(config, &places)?;
        site.add_collections(config, places)?;
        site.add_rules(config)?;
        Ok(site)
    }

    fn add_trusted(&mut self, config: &SiteConfig) -> Result<(), BadSite> {
        for (key, names) in [
            ("users", &config.trusted_users),
            ("groups", &config.trusted_groups),
        ] {
            for name in names {
                if !self.trust_one(key, name) {
                    return Err(BadSite::new(format!(
                        "hg.trusted_{key}: {name} is neither a number nor known to this system"
                    )));
                }
            }
        }
        for (key, item) in self.layers.take_section("trusted") {
            let key = String::from_utf8_lossy(&key);
            if !matches!(&*key, "users" | "groups") {
                continue;
            }
            let names = list(&item.value);
            let names = names.ok_or_else(|| {
                BadSite::new(format!("{}: trusted.{key} is no plain list", item.place))
            })?;
            for name in names {
                if !self.trust_one(&key, &name) {
                    self.unknown_trusted.push(format!("{}: {name}", item.place));
                }
            }
        }
        Ok(())
    }

    fn trust_one(&mut self, key: &str, name: &str) -> bool {
        match key {
            "users" => self.trust.trust_user(name),
            _ => self.trust.trust_group(name),
        }
    }

    fn add_named(&mut self, config: &SiteConfig, places: &Places) -> Result<(), BadSite> {
        let mut origins: BTreeMap<String, String> = BTreeMap::new();
        let own = config.repositories.iter().map(|(name, path)| {
            let origin = format!("hg.repositories.{name}");
            let name = normalized(name).map_err(|why| BadSite::new(format!("{origin} {why}")))?;
            Ok((name, path, origin))
        });
        let files = places.named.iter();
        let files = files.map(|(name, path, origin)| Ok((name.clone(), path, origin.clone())));
        for named in own.chain(files) {
            let (name, path, origin) = named?;
            if let Some(other) = origins.insert(name.clone(), origin.clone()) {
                return Err(BadSite::new(format!(
                    "{origin}: a repository of this name, {name:?}, is named by {other} already"
                )));
            }
            self.named.insert(name, path.clone());
        }
        Ok(())
    }

    fn add_collections(&mut self, config: &SiteConfig, places: Places) -> Result<(), BadSite> {
        for (prefix, directory) in &config.collections {
            let why = |why| BadSite::new(format!("hg.collections.{prefix} {why}"));
            self.collections.push(Collection {
                prefix: normalized(prefix).map_err(why)?,
                directory: directory.clone(),
                nested: false,
            });
        }
        self.collections.extend(places.collections);
        Ok(())
    }

    fn add_rules(&mut self, config: &SiteConfig) -> Result<(), BadSite> {
        for (name, rules) in &config.rules {
            let bad = |why: &str| BadSite::new(format!("hg.rules.{name} {why}"));
            let own = normalized(name).map_err(bad)?;
            if self.rules.insert(own, Arc::new(rules.clone())).is_some() {
                return Err(bad("is there twice"));
            }
        }
        Ok(())
    }

    /// Refuses a rule for what is no repository: its name is wrong, and another
    /// one is left without a rule.
    fn check_rules(&self, config: &SiteConfig) -> Result<(), BadSite> {
        for name in config.rules.keys() {
            let own = name.trim_matches('/');
            let path = format!("/{own}");
            let covered = |collection: &Collection| after(&path, &collection.prefix).is_some();
            let known = own == EVERY || self.named.contains_key(own);
            if !known && !self.collections.iter().any(covered) {
                return Err(BadSite::new(format!(
                    "hg.rules.{name} is for a repository that nothing names"
                )));
            }
        }
        Ok(())
    }

    /// Our own rules for the repository of this name, which may be another one
    /// without the links that lead to it. What it says nothing about is up to
    /// the rules for every repository.
    pub(super) fn rules_of(&self, name: &str, real_name: Option<&str>) -> Vec<Arc<OwnRules>> {
        let every = self.rules.get(EVERY);
        let complete = |rules: &Arc<OwnRules>| match every {
            Some(every) => Arc::new(OwnRules {
                read: rules.read.clone().or_else(|| every.read.clone()),
                write: rules.write.clone().or_else(|| every.write.clone()),
            }),
            None => Arc::clone(rules),
        };
        let names = std::iter::once(name).chain(real_name);
        let own: Vec<_> = names
            .filter_map(|name| self.rules.get(name))
            .map(complete)
            .collect();
        if own.is_empty() {
            return every.into_iter().cloned().collect();
        }
        own
    }

    /// Which links are followed.
    pub(super) const fn links(&self) -> Links<'_> {
        Links {
            trust: &self.trust,
            follow: self.follow,
        }
    }

    /// Whose files are believed in a repository.
    pub(super) const fn trust(&self) -> Trust<'_> {
        Trust::Owners(&self.trust)
    }
}

fn prefix_of(config: &SiteConfig, layers: &Layers) -> Result<String, BadSite> {
    let of_file = layers.last_of_all("web", "prefix");
    let of_file = of_file.map(|item| String::from_utf8_lossy(&item.value).into_owned());
    let prefix = match (config.prefix.is_empty(), of_file) {
        (true, Some(of_file)) => of_file,
        _ => config.prefix.clone(),
    };
    let prefix = normalized(&prefix).map_err(|why| BadSite::new(format!("hg.prefix {why}")))?;
    Ok(if prefix.is_empty() {
        prefix
    } else {
        format!("/{prefix}")
    })
}

fn bad_file(error: impl std::fmt::Display) -> BadSite {
    BadSite::new(error.to_string())
}

/// The name of rules for every repository that has none of its own.
const EVERY: &str = "*";

/// Whether a path may be looked up at all: nothing in it goes up, stays, or
/// ends a C string.
pub(super) fn is_plain(path: &str) -> bool {
    let dots = |component: &str| matches!(component, "." | "..");
    (path.is_empty() || path.starts_with('/')) && !path.contains('\0') && !path.split('/').any(dots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::testing::{Ground, LATER};

    #[test]
    fn files_hold_while_they_are_settled_and_the_same() {
        let ground = Ground::new();
        let path = ground.write("hgrc", "");
        let seen = |read_at| Seen::new(vec![(path.clone(), Stamp::of(&path).unwrap())], read_at);
        assert!(!seen(Timestamp(0)).still_holds());
        let settled = seen(LATER);
        assert!(settled.still_holds());
        ground.write("hgrc", "x");
        assert!(!settled.still_holds());
    }

    #[test]
    fn plain_paths_do_not_climb() {
        for path in ["", "/", "/a/b", "//", "/...", "/a.b/..c"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["a", "/..", "/a/./b", "/a\0", "/a/../b"] {
            assert!(!is_plain(path), "{path:?}");
        }
    }
}
