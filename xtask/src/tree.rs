//! The files of the project, read once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Every text file of the project by its path from the root, with `/`.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads everything below `root` but build results and hidden directories
    /// other than `.ci` and `.cargo`. Files that are not UTF-8 are left out.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![root.to_owned()];
        while let Some(dir) = waiting.pop() {
            let entries = std::fs::read_dir(&dir)
                .with_context(|| format!("cannot list {}", dir.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_symlink() {
                    continue;
                }
                if path.is_dir() {
                    if is_source_dir(&path) {
                        waiting.push(path);
                    }
                } else if let Ok(text) = std::fs::read_to_string(&path) {
                    let name = path.strip_prefix(root).expect("we are below the root");
                    files.insert(name.to_string_lossy().replace('\\', "/"), text);
                }
            }
        }
        Ok(Self { files })
    }

    /// A tree made up for a test.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self {
            files: files.collect(),
        }
    }

    /// All files with their paths.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Files of Rust.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The text of one file.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }
}

fn is_source_dir(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let built = ["target", "fingerpost-data", "__pycache__", "corpus"].contains(&name.as_ref());
    let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
    !built && !hidden
}

/// The project's root: two levels above nothing but this crate's manifest.
pub(crate) fn root() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().context("xtask lies below the root")?;
    Ok(root.to_owned())
}
