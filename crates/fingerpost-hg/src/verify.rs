//! Verifying a whole repository: every revision against its node, and that
//! everything is there that something else names.

use std::collections::{BTreeMap, BTreeSet};

use fingerpost_hg_proto::Node;

use crate::delta::hunks;
use crate::error::StoreError;
use crate::manifest::{ManifestFlag, parse_manifest};
use crate::revlog::{Rev, Revlog, RevlogName};
use crate::store::Store;
use crate::texts::Texts;

/// Texts of the revlog that is being verified are remembered up to this.
const TEXT_BYTES: usize = 32 << 20;

/// Which part of a repository is being verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyStage {
    /// The changelog, by revision.
    Changesets,
    /// The manifest of the root directory, by revision.
    Manifests,
    /// The filelogs, by file.
    Files,
}

/// Something that is wrong with a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The store file, relative to the directory `store`.
    pub file: String,
    /// The revision, where it is about one.
    pub rev: Option<Rev>,
    /// What is wrong.
    pub what: String,
}

/// What a verification tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// So much of a stage is done.
    Progress {
        /// The stage.
        stage: VerifyStage,
        /// What is done.
        done: usize,
        /// What there is.
        total: usize,
    },
    /// A problem was found.
    Problem(Problem),
}

/// What was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifySummary {
    /// Changesets.
    pub changesets: usize,
    /// Revisions of manifests, of all directories.
    pub manifests: usize,
    /// Filelogs.
    pub files: usize,
    /// Revisions of files.
    pub file_revisions: usize,
    /// Revisions that are tombstones, whose nodes say nothing about them.
    pub censored: usize,
    /// Revisions whose texts are not in the store.
    pub external: usize,
    /// Problems that were told.
    pub problems: usize,
}

/// Verifies a repository and tells `tell` of every problem as it is found.
///
/// A repository that is written at the same time is verified as well, but a
/// transaction that is not finished when it is met looks like damage: its
/// revisions are there, and their changeset is not.
///
/// It needs memory for every path of the history and every revision that a
/// manifest names. What the store's memory of verified revisions knows is not
/// read again: who wants to be sure opens the store with a fresh one.
pub fn verify(store: &Store, tell: &mut dyn FnMut(Verification)) -> VerifySummary {
    let mut verifier = Verifier {
        store,
        tell,
        texts: Texts::new(TEXT_BYTES),
        summary: VerifySummary::default(),
        changesets: 0,
    };
    let manifests = verifier.changelog();
    let files = verifier.manifests(&manifests);
    verifier.files(files);
    verifier.summary
}

/// Revisions of files by path.
type Files = BTreeMap<Vec<u8>, BTreeSet<Node>>;

struct Verifier<'a> {
    store: &'a Store,
    tell: &'a mut dyn FnMut(Verification),
    texts: Texts,
    summary: VerifySummary,
    /// Length of the changelog.
    changesets: usize,
}

/// What a directory's manifests name.
#[derive(Default)]
struct Named {
    files: Files,
    /// Directories with manifests of their own.
    trees: Files,
}

impl Verifier<'_> {
    fn problem(&mut self, file: &str, rev: Option<Rev>, what: impl ToString) {
        self.summary.problems += 1;
        (self.tell)(Verification::Problem(Problem {
            file: file.to_owned(),
            rev,
            what: what.to_string(),
        }));
    }

    fn progress(&mut self, stage: VerifyStage, done: usize, total: usize) {
        (self.tell)(Verification::Progress { stage, done, total });
    }

    fn open(&mut self, name: RevlogName<'_>) -> Option<Revlog> {
        match Revlog::open(self.store, name) {
            Ok(revlog) => {
                if revlog.tail_bytes() > 0 {
                    let what = format!("{} bytes follow the last revision", revlog.tail_bytes());
                    self.problem(revlog.file(), None, what);
                }
                Some(revlog)
            }
            Err(error) => {
                let file = name.index_file(self.store);
                let file = file.unwrap_or_else(|| name.to_string());
                self.problem(&file, None, error);
                None
            }
        }
    }

    /// The verified text of a revision; `None` after telling of the problem.
    fn text(&mut self, revlog: &Revlog, rev: Rev) -> Option<bytes::Bytes> {
        self.summary.censored += usize::from(revlog.is_censored(rev));
        match self.texts.text(revlog, rev) {
            Ok(text) => return Some(text),
            // Only files can be stored elsewhere, and only by an extension
            // that the repository says it requires; else the flag is damage.
            Err(StoreError::External { .. })
                if self.store.requirements().contains("lfs")
                    && !revlog.file().starts_with("00") =>
            {
                self.summary.external += 1;
            }
            Err(error) => self.problem(revlog.file(), Some(rev), error),
        }
        None
    }

    fn check_link(&mut self, revlog: &Revlog, rev: Rev) {
        let link = revlog.link_rev(rev) as usize;
        if link >= self.changesets
            && let Ok(changelog) = Revlog::open(self.store, RevlogName::Changelog)
        {
            // Somebody may have committed meanwhile.
            self.changesets = self.changesets.max(changelog.len());
        }
        if link >= self.changesets {
            let what = format!(
                "it is of changeset {}, which is not there",
                revlog.link_rev(rev)
            );
            self.problem(revlog.file(), Some(rev), what);
        }
    }

    /// Verifies the changelog, and returns the manifests that it names.
    fn changelog(&mut self) -> BTreeSet<Node> {
        let mut manifests = BTreeSet::new();
        let Some(changelog) = self.open(RevlogName::Changelog) else {
            return manifests;
        };
        self.changesets = changelog.len();
        for rev in changelog.revs() {
            self.progress(VerifyStage::Changesets, rev.index(), changelog.len());
            self.summary.changesets += 1;
            if changelog.link_rev(rev) != rev.0 {
                let what = format!("it is linked to changeset {}", changelog.link_rev(rev));
                self.problem(changelog.file(), Some(rev), what);
            }
            let Some(text) = self.text(&changelog, rev) else {
                continue;
            };
            let hex = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
            match Node::from_hex(hex) {
                Some(node) if node.is_null() => {}
                Some(node) => drop(manifests.insert(node)),
                None => self.problem(changelog.file(), Some(rev), "it names no manifest"),
            }
        }
        self.progress(VerifyStage::Changesets, changelog.len(), changelog.len());
        manifests
    }

    /// Verifies the manifests, and returns the revisions of files they name.
    fn manifests(&mut self, wanted: &BTreeSet<Node>) -> Files {
        let mut files = Files::new();
        let mut trees = Files::from([(Vec::new(), wanted.clone())]);
        // Directories name only directories below them, so this ends.
        while let Some((dir, wanted)) = trees.pop_first() {
            let named = self.manifests_of(&dir, &wanted);
            files.extend(named.files);
            trees.extend(named.trees);
        }
        files
    }

    fn manifests_of(&mut self, dir: &[u8], wanted: &BTreeSet<Node>) -> Named {
        let mut named = Named::default();
        let (name, is_root) = match dir {
            b"" => (RevlogName::Manifest, true),
            dir => (RevlogName::Tree(dir), false),
        };
        let Some(manifest) = self.open(name) else {
            return named;
        };
        self.check_wanted(&manifest, wanted);
        for rev in manifest.revs() {
            if is_root {
                self.progress(VerifyStage::Manifests, rev.index(), manifest.len());
            }
            self.summary.manifests += 1;
            self.check_link(&manifest, rev);
            self.manifest(&manifest, rev, dir, &mut named);
        }
        if is_root {
            self.progress(VerifyStage::Manifests, manifest.len(), manifest.len());
        }
        named
    }

    /// Verifies one manifest and adds what it names and its base does not.
    fn manifest(&mut self, manifest: &Revlog, rev: Rev, dir: &[u8], named: &mut Named) {
        let Some(text) = self.text(manifest, rev) else {
            return;
        };
        let trees = self.store.requirements().treemanifest();
        let bad = parse_manifest(&text).find_map(|entry| match entry {
            Ok(entry) if entry.flag == ManifestFlag::Tree && !trees => {
                Some("it has a directory's manifest in a store without them".to_owned())
            }
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        });
        if let Some(what) = bad {
            return self.problem(manifest.file(), Some(rev), what);
        }
        // Most of what a manifest names its base names as well.
        let added = manifest.delta_base(rev).is_some()
            && manifest
                .chunk(rev, self.texts.scratch())
                .is_ok_and(|delta| {
                    hunks(delta).all(|hunk| hunk.is_ok_and(|hunk| named.add_lines(dir, hunk.data)))
                });
        if !added {
            named.add_lines(dir, &text);
        }
    }

    /// Verifies the filelogs.
    fn files(&mut self, files: Files) {
        let total = files.len();
        for (done, (path, wanted)) in files.into_iter().enumerate() {
            self.progress(VerifyStage::Files, done, total);
            self.summary.files += 1;
            let Some(filelog) = self.open(RevlogName::Filelog(&path)) else {
                continue;
            };
            self.check_wanted(&filelog, &wanted);
            for rev in filelog.revs() {
                self.summary.file_revisions += 1;
                self.check_link(&filelog, rev);
                self.text(&filelog, rev);
            }
        }
        self.progress(VerifyStage::Files, total, total);
    }

    /// Checks that the revisions are there that something names.
    fn check_wanted(&mut self, revlog: &Revlog, wanted: &BTreeSet<Node>) {
        for node in wanted {
            if let Err(error) = revlog.require(node) {
                let is_all = matches!(error, StoreError::Missing { .. });
                self.problem(revlog.file(), None, error);
                if is_all {
                    return;
                }
            }
        }
    }
}

impl Named {
    /// Adds the entries of some lines. False: there are others among them.
    fn add_lines(&mut self, dir: &[u8], lines: &[u8]) -> bool {
        for entry in parse_manifest(lines) {
            let Ok(entry) = entry else {
                return false;
            };
            let path = match dir {
                b"" => entry.path.to_vec(),
                dir => [dir, b"/", entry.path].concat(),
            };
            let into = match entry.flag {
                ManifestFlag::Tree => &mut self.trees,
                _ => &mut self.files,
            };
            into.entry(path).or_default().insert(entry.node);
        }
        true
    }
}

#[cfg(test)]
mod tests;
