//! A state directory that one agent has to itself: two would replay each other's reports.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use fingerpost_program::exit::{Exit, OrExit as _, failure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Directory, StatePlace};

/// A state directory for as long as this value lives; the kernel gives it back, however
/// the process ends.
#[derive(Debug)]
pub(crate) struct Held {
    /// The directory.
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Held {
    /// Takes the directory of `place`, or the first one beside it that is free, where that
    /// does as well: builds of one user on one host may each have an agent.
    ///
    /// # Errors
    ///
    /// Another agent has it; it cannot be made, or not be trusted.
    pub(crate) fn take(place: &StatePlace, uid: u32) -> anyhow::Result<Self> {
        let first = &place.directory;
        if let Some(outer) = &place.inside {
            outer.prepare(uid)?;
        }
        if let Some(held) = Self::try_take(first, uid)? {
            return Ok(held);
        }
        if place.may_differ {
            for number in 2..=BESIDE_MAX {
                if let Some(held) = Self::try_take(&first.numbered(number), uid)? {
                    return Ok(held);
                }
            }
        }
        let holder = fs::read_to_string(first.path.join(LOCK)).unwrap_or_default();
        let why = format!(
            "{} is in use by the agent of process {}: stop that one, or give another \
             --state-directory",
            first.path.display(),
            holder.trim()
        );
        Err(failure(Exit::Unavailable, why))
    }

    /// `None` if another agent has it.
    fn try_take(directory: &Directory, uid: u32) -> anyhow::Result<Option<Self>> {
        directory.prepare(uid)?;
        let path = directory.path.join(LOCK);
        let lock = lock(&path);
        let lock = lock.or_exit(Exit::Io, format!("cannot lock {}", path.display()))?;
        Ok(lock.map(|lock| Self {
            path: directory.path.clone(),
            _lock: lock,
        }))
    }
}

fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let mut file = options.open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Some(file))
}

/// Not the lock of the state, which whoever uses that takes in there.
const LOCK: &str = "directory.lock";
/// Agents of one user on one host.
const BESIDE_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: PathBuf, may_differ: bool) -> StatePlace {
        StatePlace {
            directory: Directory::private(path),
            inside: None,
            may_differ,
            warning: None,
        }
    }

    fn uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn the_second_agent_is_refused_by_the_number_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path().join("state"), false);
        let first = Held::take(&place, uid()).unwrap();
        let error = Held::take(&place, uid()).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Unavailable);
        let holder = format!("by the agent of process {}:", std::process::id());
        assert!(error.to_string().contains(&holder), "{error}");
        drop(first);
        Held::take(&place, uid()).unwrap();
    }

    #[test]
    fn by_default_the_second_agent_takes_the_next_directory() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path().join("state"), true);
        let first = Held::take(&place, uid()).unwrap();
        let second = Held::take(&place, uid()).unwrap();
        assert_eq!(second.path, dir.path().join("state-2"));
        drop(first);
        let third = Held::take(&place, uid()).unwrap();
        assert_eq!(third.path, place.directory.path);
    }
}
