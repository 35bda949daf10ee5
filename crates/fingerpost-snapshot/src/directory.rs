//! A snapshot as a directory: `manifest.json`, `manifest.sig`, and `shards/` with a file for each
//! shard, named by its digest.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fingerpost_signatures::{SIGNATURE_BYTES_MAX, Signature, SigningKey, UnixTime};

use crate::{Digest, Files, MANIFEST_BYTES_MAX, Manifest, ReadAt, SnapshotError, seal};

pub(crate) const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
pub(crate) const SHARDS: &str = "shards";

/// A snapshot's directory, whose files nobody has looked at.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at a path, which is not read yet.
    pub fn open(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path }
    }

    /// The bytes of the manifest, at most one more than [`MANIFEST_BYTES_MAX`].
    pub fn manifest(&self) -> Result<Vec<u8>, SnapshotError> {
        self.read(MANIFEST, MANIFEST_BYTES_MAX)
    }

    /// The text of the signature, without its line feed. A file of another form gives a text that
    /// is no signature.
    pub fn signature(&self) -> Result<String, SnapshotError> {
        let bytes = self.read(SIGNATURE, SIGNATURE_BYTES_MAX + 1)?;
        Ok(read_signature(&bytes).to_owned())
    }

    fn read(&self, name: &str, bytes_max: usize) -> Result<Vec<u8>, SnapshotError> {
        let path = self.path.join(name);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes))
            .map_err(SnapshotError::io(path.display()))?;
        Ok(bytes)
    }
}

impl Files for Directory {
    fn open(&self, name: &Digest) -> io::Result<Box<dyn ReadAt>> {
        let path = self.path.join(SHARDS).join(name.to_string());
        Ok(Box::new(File::open(path)?))
    }
}

/// The text of a signature in the bytes of a `manifest.sig`; empty, which is no signature, if
/// they are not one line with a line feed.
pub fn read_signature(bytes: &[u8]) -> &str {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.strip_suffix('\n').unwrap_or_default()
}

/// Signs the manifest in a directory, and puts the signature beside it in one step, in the place of one
/// that is there. `manifest` must be what the caller verified: a directory whose manifest is another one by now is refused
/// with [`io::ErrorKind::InvalidData`].
pub fn publish(
    directory: &Path,
    manifest: &Manifest,
    key: &SigningKey,
    time: UnixTime,
) -> Result<Signature, SnapshotError> {
    let bytes = Directory::open(directory).manifest()?;
    if bytes != manifest.to_bytes() {
        let changed = io::Error::new(io::ErrorKind::InvalidData, "changed since it was verified");
        return Err(SnapshotError::io(directory.join(MANIFEST).display())(
            changed,
        ));
    }
    let signature = seal(&bytes, key, time);
    write_new(directory, SIGNATURE, format!("{signature}\n").as_bytes())
        .map_err(SnapshotError::io(directory.join(SIGNATURE).display()))?;
    Ok(signature)
}

/// Writes a file in one step, durably, in the place of one that is there.
pub(crate) fn write_new(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .permissions(permissions(0o644))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(directory.join(name))
        .map_err(|error| error.error)?;
    sync(directory)
}

/// What the umask leaves of a mode.
pub(crate) fn permissions(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

/// Makes names in a directory durable.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
