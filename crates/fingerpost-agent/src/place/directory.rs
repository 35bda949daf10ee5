//! Directories of the agent: made, and refused where others could meddle with them.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use fingerpost_program::exit::{Exit, OrExit as _, failure};

/// A directory, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Where.
    pub(crate) path: PathBuf,
    /// What it is made with.
    pub(crate) mode: u32,
    /// Whether it must be the agent's own: somebody chose the others, and how they are
    /// shared is that one's affair.
    is_own: bool,
}

impl Directory {
    /// One that only the user sees.
    pub(crate) const fn private(path: PathBuf) -> Self {
        Self::new(path, 0o700, true)
    }

    /// One that everybody sees and only the user writes.
    pub(crate) const fn shared(path: PathBuf) -> Self {
        Self::new(path, 0o755, true)
    }

    /// One that the operator or systemd chose.
    pub(crate) const fn told(path: PathBuf) -> Self {
        Self::new(path, 0o700, false)
    }

    const fn new(path: PathBuf, mode: u32, is_own: bool) -> Self {
        Self { path, mode, is_own }
    }

    /// The same beside it, for an agent that comes second.
    pub(crate) fn numbered(&self, number: u32) -> Self {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!("-{number}"));
        Self {
            path: PathBuf::from(name),
            ..self.clone()
        }
    }

    /// Makes it and the way to it, or looks at what is there.
    ///
    /// # Errors
    ///
    /// It cannot be made; it should be the agent's own, and somebody else's it is, a link,
    /// or open to others.
    pub(crate) fn prepare(&self, uid: u32) -> anyhow::Result<()> {
        let path = self.path.display();
        make(&self.path, self.mode).or_exit(Exit::Io, format!("cannot make {path}"))?;
        if !self.is_own {
            let found = fs::metadata(&self.path);
            let found = found.or_exit(Exit::Io, format!("cannot look at {path}"))?;
            return match found.is_dir() {
                true => Ok(()),
                false => Err(failure(
                    Exit::Configuration,
                    format!("{path} is no directory"),
                )),
            };
        }
        // What a link names could be changed after this look.
        let found = fs::symlink_metadata(&self.path);
        let found = found.or_exit(Exit::Io, format!("cannot look at {path}"))?;
        match fault(&found, uid, self.mode) {
            None => Ok(()),
            Some(fault) => Err(failure(Exit::Denied, format!("{path} {fault}"))),
        }
    }
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        // `.local/state` and the like; the umask decides about them.
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Why a directory of `uid` cannot be trusted.
fn fault(found: &Metadata, uid: u32, mode: u32) -> Option<String> {
    let refused = if mode & 0o077 == 0 { 0o077 } else { 0o022 };
    if found.file_type().is_symlink() {
        Some("is a symbolic link: remove it, or choose another place with --socket and --state-directory".to_owned())
    } else if !found.is_dir() {
        Some("is no directory: remove it".to_owned())
    } else if found.uid() != uid {
        let owner = found.uid();
        Some(format!(
            "belongs to user {owner}, not to user {uid}, who runs the agent"
        ))
    } else if found.mode() & refused != 0 {
        let now = found.mode() & 0o777;
        Some(format!(
            "is open to others (mode {now:o}): chmod {mode:o} makes it the agent's own"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn refusal(directory: &Directory, uid: u32) -> String {
        let error = directory.prepare(uid).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Denied);
        error.to_string()
    }

    #[test]
    fn a_directory_is_made_with_the_way_to_it_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let own = Directory::private(dir.path().join("a/b/own"));
        own.prepare(uid()).unwrap();
        own.prepare(uid()).unwrap();
        assert_eq!(mode(&own.path), 0o700);
        let shared = Directory::shared(dir.path().join("shared"));
        shared.prepare(uid()).unwrap();
        assert_eq!(mode(&shared.path) & !0o755, 0);
    }

    #[test]
    fn one_that_is_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let check = |directory: Directory, mode, is_fine| {
            fs::create_dir(&directory.path).unwrap();
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(&directory.path, permissions).unwrap();
            match is_fine {
                true => directory.prepare(uid()).unwrap(),
                false => assert!(refusal(&directory, uid()).contains("is open to others")),
            }
        };
        check(Directory::private(dir.path().join("a")), 0o700, true);
        check(Directory::private(dir.path().join("b")), 0o755, false);
        check(Directory::private(dir.path().join("c")), 0o1777, false);
        check(Directory::shared(dir.path().join("d")), 0o755, true);
        check(Directory::shared(dir.path().join("e")), 0o775, false);
        // Build directories are often a group's, and somebody chose this one.
        check(Directory::told(dir.path().join("f")), 0o775, true);
    }

    #[test]
    fn one_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let said = refusal(&Directory::private(path), uid() + 1);
        assert!(
            said.contains(&format!("belongs to user {}", uid())),
            "{said}"
        );
    }

    #[test]
    fn a_link_and_a_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (link, file) = (dir.path().join("link"), dir.path().join("file"));
        symlink(dir.path(), &link).unwrap();
        fs::write(&file, "").unwrap();
        assert!(refusal(&Directory::private(link), uid()).contains("is a symbolic link"));
        assert!(refusal(&Directory::private(file.clone()), uid()).contains("is no directory"));
        let error = Directory::told(file).prepare(uid()).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Configuration);
    }

    #[test]
    fn a_number_stands_behind_the_name() {
        let second = Directory::private("/a/b".into()).numbered(2);
        assert_eq!(second, Directory::private("/a/b-2".into()));
    }
}
