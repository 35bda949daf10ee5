//! Configuration files opened: bounded, without waiting, with owner and stamp.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::TrustPolicy;
use super::stamp::{Stamp, is_missing};

/// Reads the files of one configuration, and remembers which they were.
#[derive(Debug)]
pub(super) struct Files<'site> {
    trust: Trust<'site>,
    environment: &'site BTreeMap<String, String>,
    /// What was looked at, present or missing, in the order of looking.
    pub(super) seen: Vec<(PathBuf, Stamp)>,
    bytes_left: u64,
    files_left: usize,
}

/// Whose files are believed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trust<'site> {
    /// Everybody's: an administrator named the file.
    Everybody,
    /// Those of trusted owners.
    Owners(&'site TrustPolicy),
    /// Those whose name does not begin with `untrusted`: ownership for tests
    /// that do not run as root.
    #[cfg(test)]
    ByName,
}

/// A file that was read.
pub(super) struct Source {
    /// The whole of it.
    pub(super) bytes: Vec<u8>,
    /// Whether what it says may widen access.
    pub(super) trusted: bool,
}

/// A configuration file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// The operating system says why.
    #[error("{} cannot be read: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    /// A directory, a pipe or a device.
    #[error("{} is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// More bytes or files than a configuration has.
    #[error("{} exceeds {BYTES_MAX} bytes or {FILES_MAX} files of configuration", .0.display())]
    TooLarge(PathBuf),
}

impl<'site> Files<'site> {
    /// Nothing read yet.
    pub(super) const fn new(
        trust: Trust<'site>,
        environment: &'site BTreeMap<String, String>,
    ) -> Self {
        Self {
            trust,
            environment,
            seen: Vec::new(),
            bytes_left: BYTES_MAX,
            files_left: FILES_MAX,
        }
    }

    /// Opens nothing, for files that are in memory.
    pub(super) fn closed(environment: &'site BTreeMap<String, String>) -> Self {
        Self {
            files_left: 0,
            ..Self::new(Trust::Everybody, environment)
        }
    }

    /// Reads the file at `path`; `None` when there is none. It is trusted when
    /// `may_trust`, which is whether the file that includes it is, and its
    /// owner is.
    pub(super) fn open(
        &mut self,
        path: &Path,
        may_trust: bool,
    ) -> Result<Option<Source>, Unreadable> {
        self.files_left = self
            .files_left
            .checked_sub(1)
            .ok_or_else(|| Unreadable::TooLarge(path.to_owned()))?;
        let opened = self.read(path);
        if matches!(opened, Err(Unreadable::Io { .. })) {
            self.note_unreadable(path.to_owned());
        }
        let Some((bytes, metadata)) = opened? else {
            return Ok(None);
        };
        let owner_trusted = match self.trust {
            Trust::Everybody => true,
            Trust::Owners(policy) => policy.trusts(metadata.uid(), metadata.gid()),
            #[cfg(test)]
            Trust::ByName => {
                let name = path.file_name().and_then(std::ffi::OsStr::to_str);
                !name.unwrap_or_default().starts_with("untrusted")
            }
        };
        Ok(Some(Source {
            bytes,
            trusted: may_trust && owner_trusted,
        }))
    }

    /// Remembers that nothing could be told about `path`, so that it is looked
    /// at again.
    pub(super) fn note_unreadable(&mut self, path: PathBuf) {
        self.seen.push((path, Stamp::Unreadable));
    }

    fn read(&mut self, path: &Path) -> Result<Option<(Vec<u8>, Metadata)>, Unreadable> {
        let failed = |error| Unreadable::Io {
            path: path.to_owned(),
            error,
        };
        let mut file = match open_without_waiting(path) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => {
                self.seen.push((path.to_owned(), Stamp::Missing));
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        self.seen.push((path.to_owned(), Stamp::from(&metadata)));
        if !metadata.is_file() {
            return Err(Unreadable::NotAFile(path.to_owned()));
        }
        let mut bytes = Vec::new();
        let limit = self.bytes_left.saturating_add(1);
        (&mut file)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes_left = self
            .bytes_left
            .checked_sub(length)
            .ok_or_else(|| Unreadable::TooLarge(path.to_owned()))?;
        Ok(Some((bytes, metadata)))
    }

    /// Replaces `~` at the beginning and `$NAME` or `${NAME}` anywhere.
    /// Mercurial leaves unknown names standing; here they are an error, since
    /// the file that was meant cannot be known.
    pub(super) fn expand(&self, path: &[u8]) -> Result<PathBuf, &'static str> {
        let mut rest = path;
        let mut out = Vec::new();
        if let Some(after) = rest.strip_prefix(b"~") {
            if !(after.is_empty() || after.starts_with(b"/")) {
                return Err("the home directory of another user is not looked up");
            }
            out.extend_from_slice(self.variable(b"HOME")?);
            rest = after;
        }
        while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
            out.extend_from_slice(&rest[..dollar]);
            let (name, after) = variable_name(&rest[dollar + 1..]);
            if name.is_empty() {
                out.push(b'$');
            } else {
                out.extend_from_slice(self.variable(name)?);
            }
            rest = after;
        }
        out.extend_from_slice(rest);
        if out.contains(&0) || out.len() > PATH_BYTES_MAX {
            return Err("that is no path");
        }
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(&out)))
    }

    fn variable(&self, name: &[u8]) -> Result<&[u8], &'static str> {
        let name = std::str::from_utf8(name).unwrap_or_default();
        let value = self.environment.get(name).map(String::as_bytes);
        value.ok_or("a variable in its path is not set")
    }
}

/// Splits `NAME...` or `{NAME}...`; an empty name when there is none.
fn variable_name(text: &[u8]) -> (&[u8], &[u8]) {
    if let Some(braced) = text.strip_prefix(b"{")
        && let Some(end) = braced.iter().position(|byte| *byte == b'}')
    {
        return (&braced[..end], &braced[end + 1..]);
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = text.iter().position(|byte| !is_name(byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// Opens without waiting for a writer, should somebody have put a pipe there.
fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Most bytes of one repository's configuration, with all that it includes.
const BYTES_MAX: u64 = 1 << 20;
/// Most files of it.
const FILES_MAX: usize = 32;
const PATH_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        let pairs = [("HOME", "/var/hg"), ("SITE", "main")];
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn expanded(path: &str) -> Result<String, &'static str> {
        let environment = environment();
        let files = Files::new(Trust::Everybody, &environment);
        files
            .expand(path.as_bytes())
            .map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn homes_and_variables_are_expanded() {
        assert_eq!(expanded("~/rc"), Ok("/var/hg/rc".to_owned()));
        assert_eq!(expanded("a/~/rc"), Ok("a/~/rc".to_owned()));
        assert_eq!(expanded("$SITE.rc"), Ok("main.rc".to_owned()));
        assert_eq!(expanded("x${SITE}y/$SITE"), Ok("xmainy/main".to_owned()));
        assert_eq!(expanded("100$"), Ok("100$".to_owned()));
    }

    #[test]
    fn what_cannot_be_expanded_is_an_error() {
        for path in ["~root/rc", "$NONE/rc", "${NONE}", "a\0b", &"x".repeat(5000)] {
            assert!(expanded(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_pipe_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hgrc");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let environment = environment();
        let mut files = Files::new(Trust::Everybody, &environment);
        assert!(matches!(
            files.open(&path, true),
            Err(Unreadable::NotAFile(_))
        ));
        assert!(matches!(
            files.open(dir.path(), true),
            Err(Unreadable::NotAFile(_))
        ));
    }

    #[test]
    fn the_files_of_one_configuration_are_bounded_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hgrc");
        std::fs::write(&path, vec![b'#'; 600_000]).unwrap();
        let environment = environment();
        let mut files = Files::new(Trust::Everybody, &environment);
        assert!(files.open(&path, true).unwrap().is_some());
        assert!(matches!(
            files.open(&path, true),
            Err(Unreadable::TooLarge(_))
        ));
        let mut files = Files::new(Trust::Everybody, &environment);
        for _ in 0..FILES_MAX {
            assert!(
                files
                    .open(&dir.path().join("none"), true)
                    .unwrap()
                    .is_none()
            );
        }
        assert!(matches!(
            files.open(&path, true),
            Err(Unreadable::TooLarge(_))
        ));
    }
}
