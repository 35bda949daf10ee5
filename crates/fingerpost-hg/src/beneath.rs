//! Looks up names below a directory without following symbolic links.
//!
//! Whoever may write into a repository could put a link there to anything that
//! the server may read, and then ask the server for it. Mercurial itself never
//! makes links inside of `.hg`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// What is opened to be read: without NONBLOCK, opening a named pipe would wait
/// for a writer.
pub(crate) const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
/// What is opened to look at it, or to look up names in it.
pub(crate) const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Whether the system turned the one call down that does everything: a kernel
/// before 5.6, or a sandbox that does not know it.
static WALKS: AtomicBool = AtomicBool::new(false);

/// Opens the file that `name`, a relative path, names below `dir`.
///
/// # Errors
///
/// `LOOP` where a part of the name is a symbolic link, `XDEV` where the name
/// leads out of the directory, and what else the system says.
pub(crate) fn open(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    if WALKS.load(Ordering::Relaxed) {
        return walk(dir, name, flags);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {
            WALKS.store(true, Ordering::Relaxed);
            walk(dir, name, flags)
        }
        opened => opened,
    }
}

/// The status of what `name` names below `dir`.
///
/// # Errors
///
/// As [`open`].
pub(crate) fn stat(dir: BorrowedFd<'_>, name: &str) -> Result<Stat, Errno> {
    if name.contains('/') || name == ".." {
        return rustix::fs::fstat(open(dir, name, LOOK)?);
    }
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    no_link(stat)
}

/// The status, unless it is that of a symbolic link.
pub(crate) fn no_link(stat: Stat) -> Result<Stat, Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => Err(Errno::LOOP),
        _ => Ok(stat),
    }
}

/// Opens the file one directory after the other.
fn walk(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut parts = name.split('/');
    let last = parts.next_back().ok_or(Errno::NOENT)?;
    let mut parent: Option<OwnedFd> = None;
    for part in parts {
        let at = parent.as_ref().map_or(dir, |fd| fd.as_fd());
        parent = Some(step(at, part, LOOK)?);
    }
    step(parent.as_ref().map_or(dir, |fd| fd.as_fd()), last, flags)
}

/// Opens one name in a directory.
fn step(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    if name.is_empty() || name == ".." {
        return Err(Errno::XDEV);
    }
    // Where only a path is opened, that of the link is, to be told by its status.
    let looks = flags.contains(OFlags::PATH);
    let opened = rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW, Mode::empty());
    match opened {
        Ok(fd) if looks => no_link(rustix::fs::fstat(&fd)?).map(|_| fd),
        // For DIRECTORY the system says NOTDIR of a link.
        Err(Errno::NOTDIR) => stat(dir, name).and(Err(Errno::NOTDIR)),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Opens a directory.
    fn opened(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, LOOK | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    /// Files and links; and what is outside.
    fn world() -> (tempfile::TempDir, OwnedFd) {
        let temp = tempfile::tempdir().unwrap();
        let store = temp.path().join("store");
        fs::create_dir_all(store.join("data/deep")).unwrap();
        fs::write(temp.path().join("secret"), "secret").unwrap();
        fs::write(store.join("file"), "f").unwrap();
        fs::write(store.join("data/deep/file"), "f").unwrap();
        for (target, name) in [
            ("file", "link"),
            ("../secret", "out"),
            ("nowhere", "dangling"),
            ("data", "dir"),
            ("deep", "data/dir"),
            ("deep/file", "data/link"),
        ] {
            symlink(target, store.join(name)).unwrap();
        }
        let dir = opened(&store);
        (temp, dir)
    }

    /// What each way of looking says of a name.
    fn outcomes(dir: &OwnedFd, name: &str) -> [Option<Errno>; 4] {
        [
            open(dir.as_fd(), name, READ).err(),
            walk(dir.as_fd(), name, READ).err(),
            stat(dir.as_fd(), name).err(),
            walk(dir.as_fd(), name, LOOK).err(),
        ]
    }

    #[test]
    fn files_are_found_and_missing_ones_are_not() {
        let (_temp, dir) = world();
        for name in ["file", "data/deep/file", "data"] {
            assert_eq!(outcomes(&dir, name), [None; 4], "{name}");
        }
        for name in ["nothing", "data/nothing", "nothing/file"] {
            assert_eq!(outcomes(&dir, name), [Some(Errno::NOENT); 4], "{name}");
        }
        assert_eq!(outcomes(&dir, "file/file"), [Some(Errno::NOTDIR); 4]);
    }

    #[test]
    fn links_are_told_apart_from_what_they_lead_to() {
        let (_temp, dir) = world();
        let names = ["link", "out", "dangling", "dir", "dir/deep/file"];
        for name in names.into_iter().chain(["data/dir/file", "data/link"]) {
            assert_eq!(outcomes(&dir, name), [Some(Errno::LOOP); 4], "{name}");
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_is_a_link() {
        let (_temp, dir) = world();
        let flags = LOOK | OFlags::DIRECTORY;
        for open in [open, walk] {
            assert_eq!(open(dir.as_fd(), "dir", flags).err(), Some(Errno::LOOP));
            assert_eq!(open(dir.as_fd(), "file", flags).err(), Some(Errno::NOTDIR));
            assert!(open(dir.as_fd(), "data", flags).is_ok());
        }
    }

    #[test]
    fn a_name_does_not_lead_out() {
        let (temp, dir) = world();
        let secret = temp.path().join("secret");
        for name in ["data/../../secret", "../secret", secret.to_str().unwrap()] {
            for open in [open, walk] {
                assert_eq!(open(dir.as_fd(), name, READ).err(), Some(Errno::XDEV));
            }
            assert_eq!(stat(dir.as_fd(), name).err(), Some(Errno::XDEV), "{name}");
        }
    }
}
