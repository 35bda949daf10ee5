//! Where the shards of a snapshot lie.

use std::fs::File;
use std::io;

use crate::Digest;

/// The shards of a snapshot by their names: a [`Directory`](crate::Directory), a cache, a bucket.
/// What it yields is checked by digest, so it need not be trusted.
pub trait Files: Send + Sync {
    /// Opens a shard. One that is not there is an error of [`io::ErrorKind::NotFound`].
    fn open(&self, name: &Digest) -> io::Result<Box<dyn ReadAt>>;
}

/// Immutable bytes that are read at any place.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on; fewer bytes than that are an error.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Read with `pread`, never mapped: a file that is cut short gives an error, not a signal.
impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..)?.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// All bytes of a file, of exactly `bytes`. The caller has bounded `bytes`.
pub(crate) fn read_all(file: &dyn ReadAt, bytes: u64) -> io::Result<Option<Vec<u8>>> {
    if file.size()? != bytes {
        return Ok(None);
    }
    let length = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut all = vec![0; length];
    file.read_exact_at(&mut all, 0)?;
    Ok(Some(all))
}
