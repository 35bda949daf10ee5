//! Key rings on disk: the only I/O of this crate.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeyRing, RING_BYTES_MAX, RingError};

/// For a file with secrets: reading by a group is fine, as mounted secrets are
/// often given to one; writing by it and anything by others is not.
const REFUSED_MODE: u32 = 0o027;

/// A key ring file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system says no.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in it is no key ring.
    #[error("{}", path.display())]
    Ring {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RingError,
    },
    /// It holds a secret and others may read or change it.
    #[error("{}: it holds a secret, and its mode {mode:o} lets others at it; chmod 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl KeyRing {
    /// Reads a key ring file, of [`RING_BYTES_MAX`] at most. One with secrets that others
    /// may read is refused.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let io = |source| FileError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        // Of its full length from the start, so that no copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(RING_BYTES_MAX + 1));
        let most = RING_BYTES_MAX as u64 + 1;
        (&file).take(most).read_to_string(&mut text).map_err(io)?;
        let ring = Self::parse(&text).map_err(|source| FileError::Ring {
            path: path.to_owned(),
            source,
        })?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
        if ring.has_secrets() && mode & REFUSED_MODE != 0 {
            let path = path.to_owned();
            return Err(FileError::Exposed { path, mode });
        }
        Ok(ring)
    }

    /// Writes the file anew, in one step: a reader sees the old ring or the new
    /// one. With secrets its mode is 0600, without 0644. Returns when it is durable.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        self.write(path).map_err(|source| FileError::Io {
            path: path.to_owned(),
            source,
        })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or_else(|| Path::new("."));
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(self.to_toml().as_bytes())?;
        if !self.has_secrets() {
            file.as_file()
                .set_permissions(Permissions::from_mode(0o644))?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }
}
