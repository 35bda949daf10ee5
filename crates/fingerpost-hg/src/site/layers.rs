//! Configuration files on top of each other, with who may be believed.
//!
//! Each layer is one file with what it includes. A [`Reading`] is what the
//! layers say when certain untrusted ones are left out; [`Layers::readings`] are
//! all that count: the one of trusted files alone, and for each layer with
//! something untrusted the one of trusted files and that layer. What every
//! reading permits is permitted: so an untrusted file can forbid and never
//! allow.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;

use super::ini;
use super::open::{Files, Source, Unreadable};

/// One statement that was kept, with its place in the order of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    layer: usize,
    trusted: bool,
    /// Later sources have a higher level; of two spellings of one key the one
    /// of the higher level counts.
    level: u32,
    section: Box<[u8]>,
    name: Box<[u8]>,
    /// The value; `None` for `%unset`.
    value: Option<Arc<[u8]>>,
    place: Place,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    file: Arc<Path>,
    line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A value in force.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The value.
    pub(super) value: Arc<[u8]>,
    /// Where it was set.
    pub(super) place: Place,
}

/// The layers read so far, lowest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layers {
    events: Vec<Event>,
    layers: usize,
    level: u32,
}

/// The layers without some of the untrusted statements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'layers> {
    layers: &'layers Layers,
    untrusted: Option<usize>,
}

/// Why a configuration file cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadLayer {
    /// It is not in Mercurial's format.
    #[error("{}: {malformed}", .path.display())]
    Malformed {
        path: PathBuf,
        malformed: ini::Malformed,
    },
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It includes what cannot be had.
    #[error("{place}: {why}")]
    Include { place: Place, why: String },
    /// It says too much.
    #[error("{}: more than {KEPT_MAX} settings", .0.display())]
    TooMany(PathBuf),
}

impl Layers {
    /// Puts the file at `path` on top. A file that does not exist is a layer
    /// that says nothing. Returns whether it exists.
    ///
    /// # Errors
    ///
    /// [`BadLayer`] when anything in it cannot be evaluated.
    pub(super) fn push(&mut self, path: &Path, files: &mut Files<'_>) -> Result<bool, BadLayer> {
        let Some(source) = files.open(path, true)? else {
            return Ok(false);
        };
        self.push_source(path, &source, files)?;
        Ok(true)
    }

    /// Puts a file that was read already on top.
    pub(super) fn push_source(
        &mut self,
        path: &Path,
        source: &Source,
        files: &mut Files<'_>,
    ) -> Result<(), BadLayer> {
        self.layers += 1;
        self.read(path, source, files, 0)
    }

    fn read(
        &mut self,
        path: &Path,
        source: &Source,
        files: &mut Files<'_>,
        depth: usize,
    ) -> Result<(), BadLayer> {
        let file: Arc<Path> = path.into();
        self.level = self.level.saturating_add(1);
        let statements = ini::parse(&source.bytes).map_err(|malformed| BadLayer::Malformed {
            path: path.to_owned(),
            malformed,
        })?;
        for statement in statements {
            let place = Place {
                file: Arc::clone(&file),
                line: statement.line,
            };
            let (section, name, value) = match statement.kind {
                ini::Kind::Include(target) => {
                    self.include(&place, target, source.trusted, files, depth)?;
                    self.level = self.level.saturating_add(1);
                    continue;
                }
                ini::Kind::Set {
                    section,
                    name,
                    value,
                } => (section, name, Some(value.into())),
                ini::Kind::Unset { section, name } => (section, name, None),
            };
            if !SECTIONS.contains(&section) {
                continue;
            }
            if self.events.len() >= KEPT_MAX {
                return Err(BadLayer::TooMany(path.to_owned()));
            }
            self.events.push(Event {
                layer: self.layers,
                trusted: source.trusted,
                level: self.level,
                section: section.into(),
                name: name.into(),
                value,
                place,
            });
        }
        Ok(())
    }

    fn include(
        &mut self,
        place: &Place,
        target: &[u8],
        trusted: bool,
        files: &mut Files<'_>,
        depth: usize,
    ) -> Result<(), BadLayer> {
        let refuse = |why: String| BadLayer::Include {
            place: place.clone(),
            why,
        };
        if depth >= DEPTH_MAX {
            return Err(refuse(format!("includes deeper than {DEPTH_MAX} files")));
        }
        let target = files.expand(target).map_err(|why| refuse(why.to_owned()))?;
        let base = place.file.parent().unwrap_or_else(|| Path::new(""));
        let path = base.join(target);
        match files.open(&path, trusted)? {
            Some(source) => self.read(&path, &source, files, depth + 1),
            None => Err(refuse(format!("{} does not exist", path.display()))),
        }
    }

    /// What trusted files say, and then every reading that an untrusted layer
    /// adds.
    pub(super) fn readings(&self) -> Vec<Reading<'_>> {
        let mut untrusted: Vec<usize> = Vec::new();
        for event in self.events.iter().filter(|event| !event.trusted) {
            if untrusted.last() != Some(&event.layer) {
                untrusted.push(event.layer);
            }
        }
        let of = |untrusted| Reading {
            layers: self,
            untrusted,
        };
        let mut readings = vec![of(None)];
        readings.extend(untrusted.into_iter().map(|layer| of(Some(layer))));
        readings
    }

    /// Takes out every key of `section` that is set, with its last value, in
    /// the order in which they were first named. Trust plays no part.
    pub(super) fn take_section(&mut self, section: &str) -> Vec<(Box<[u8]>, Item)> {
        let (taken, left) = std::mem::take(&mut self.events)
            .into_iter()
            .partition::<Vec<_>, _>(|event| *event.section == *section.as_bytes());
        self.events = left;
        let mut places: HashMap<Box<[u8]>, usize> = HashMap::new();
        let mut items: Vec<(Box<[u8]>, Option<Item>)> = Vec::new();
        for event in taken {
            let place = *places.entry(event.name.clone()).or_insert_with(|| {
                items.push((event.name.clone(), None));
                items.len() - 1
            });
            items[place].1 = event.item();
        }
        let set = items.into_iter();
        set.filter_map(|(name, item)| Some((name, item?))).collect()
    }

    /// Keys of `section` that any statement names, trusted or not.
    pub(super) fn names(&self, section: &str) -> BTreeSet<&[u8]> {
        let events = self.events.iter();
        let own = events.filter(|event| *event.section == *section.as_bytes());
        own.map(|event| &*event.name).collect()
    }

    /// What the last statement of all says, trusted or not.
    pub(super) fn last_of_all(&self, section: &str, name: &str) -> Option<Item> {
        let mut last = None;
        for event in self
            .events
            .iter()
            .filter(|event| event.is(section.as_bytes(), name.as_bytes()))
        {
            last = event.item();
        }
        last
    }
}

impl Event {
    fn is(&self, section: &[u8], name: &[u8]) -> bool {
        *self.section == *section && *self.name == *name
    }

    fn item(&self) -> Option<Item> {
        Some(Item {
            value: Arc::clone(self.value.as_ref()?),
            place: self.place.clone(),
        })
    }
}

impl Reading<'_> {
    /// The value of a key under the first of its spellings, or of the other
    /// ones where a later file has them.
    pub(super) fn find(&self, section: &str, spellings: &[&str]) -> Option<Item> {
        let mut found: Option<(u32, Item)> = None;
        for name in spellings {
            if let Some((level, item)) = self.last(section.as_bytes(), name.as_bytes())
                && found.as_ref().is_none_or(|(highest, _)| level > *highest)
            {
                found = Some((level, item));
            }
        }
        found.map(|(_, item)| item)
    }

    fn last(&self, section: &[u8], name: &[u8]) -> Option<(u32, Item)> {
        let mut last = None;
        for event in &self.layers.events {
            let counts = event.trusted || self.untrusted == Some(event.layer);
            if counts && event.is(section, name) {
                last = event.item().map(|item| (event.level, item));
            }
        }
        last
    }
}

/// The sections that are kept.
const SECTIONS: [&[u8]; 8] = [
    b"web",
    b"phases",
    b"server",
    b"hooks",
    b"narrowacl",
    b"trusted",
    b"paths",
    b"collections",
];

/// Most includes within each other.
const DEPTH_MAX: usize = 8;
/// Most statements of those sections in all layers together.
const KEPT_MAX: usize = 20_000;

#[cfg(test)]
mod tests;
