//! Small files that are read again when they changed.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use tokio::io::AsyncReadExt as _;

/// What tells that a file was written anew, or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: SystemTime,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    pub(super) async fn of(path: &Path) -> io::Result<Self> {
        let found = tokio::fs::metadata(path).await?;
        Ok(Self {
            modified: found.modified()?,
            bytes: found.len(),
            inode: found.ino(),
        })
    }
}

/// The whole of a file, which is an error if it is longer.
pub(super) async fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).await?;
    match bytes.len() as u64 <= bytes_max {
        true => Ok(bytes),
        false => Err(io::Error::other(format!(
            "it is longer than {bytes_max} bytes"
        ))),
    }
}
