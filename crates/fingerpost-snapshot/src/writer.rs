//! Snapshots that are written.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fingerpost_signatures::UnixTime;
use tempfile::TempDir;

use crate::directory::{MANIFEST, SHARDS, permissions, sync, write_new};
use crate::manifest::is_name;
use crate::shard::{BLOCK_ROWS, Mapping, ShardBuilder};
use crate::side::{SideBuilder, Signed};
use crate::sorter::{SortRow, Sorted, Sorter};
use crate::{
    Digest, Hash, METHODS_MAX, Manifest, ManifestError, MethodShards, SHARD_ROWS_MAX, ShardEntry,
    SideEntry,
};

/// Rows of each shard unless the writer is told otherwise: 4.3 MiB where four of five unihashes
/// are their taskhashes, 7.3 MiB where none is.
pub const SHARD_ROWS: u32 = 122_880;

/// How many rows are written between two questions whether to go on.
const ROWS_BETWEEN: u64 = 4096;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The namespace, 1 to [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) bytes.
    pub namespace: String,
    /// The deletion epoch at which it is cut, at most [`NUMBER_MAX`](crate::NUMBER_MAX).
    pub epoch: u64,
    /// The last position of the change sequence that is in it, at most [`NUMBER_MAX`](crate::NUMBER_MAX).
    pub position: u64,
    /// When it is cut.
    pub created: UnixTime,
}

/// A snapshot cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system says no, or there are more than 536,870,912 rows.
    #[error("{}", path.display())]
    Io {
        /// The directory of the snapshot.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is something at the path of the snapshot, which is never changed.
    #[error("{}: is already there", .0.display())]
    Exists(PathBuf),
    /// No snapshot can be of this, or have so many shards.
    #[error("no snapshot can be so")]
    Manifest(#[source] ManifestError),
    /// The caller wants no more of it.
    #[error("stopped")]
    Stopped,
}

/// Takes rows in any order, and writes a snapshot of them: some 30 MiB of memory (80 if rows have signatures), and 100 bytes of
/// temporary file for each row (300 with a signature). What it makes is beside the target under a name that begins with
/// a full stop, until [`finish`](Self::finish) renames it; dropped before, it leaves nothing; killed, it leaves that directory.
pub struct Writer {
    target: PathBuf,
    working: TempDir,
    manifest: Manifest,
    /// In the order in which they came, which gives them their numbers.
    methods: Vec<MethodShards>,
    numbers: HashMap<String, u8>,
    sorter: Sorter,
    shard_rows: u32,
}

impl Writer {
    /// Begins a snapshot that will be the directory `target`; the directory that it is in must be there.
    pub fn create(target: &Path, about: About) -> Result<Self, WriteError> {
        let manifest = Manifest::new(about.namespace, about.epoch, about.position, about.created);
        manifest.check().map_err(WriteError::Manifest)?;
        if target.symlink_metadata().is_ok() {
            return Err(WriteError::Exists(target.to_owned()));
        }
        let begin = || {
            let working = tempfile::Builder::new()
                .prefix(".snapshot-")
                .permissions(permissions(0o755))
                .tempdir_in(parent(target))?;
            fs::create_dir(working.path().join(SHARDS))?;
            let sorter = Sorter::new(working.path())?;
            Ok((working, sorter))
        };
        let (working, sorter) = begin().map_err(failed(target))?;
        Ok(Self {
            target: target.to_owned(),
            working,
            manifest,
            methods: Vec::new(),
            numbers: HashMap::new(),
            sorter,
            shard_rows: SHARD_ROWS,
        })
    }

    /// Makes shards of so many rows: 1 to [`SHARD_ROWS_MAX`], the nearest of these if it is another number.
    #[must_use]
    pub fn with_shard_rows(mut self, rows: u32) -> Self {
        self.shard_rows = rows.clamp(1, SHARD_ROWS_MAX);
        self
    }

    /// Takes a row; of several with one method and taskhash, the last one counts. A row whose method
    /// has no name that fits, or is one more than [`METHODS_MAX`], is left out and counted, and so is a
    /// signature that does not fit, uncounted.
    pub fn push(
        &mut self,
        method: &str,
        taskhash: &Hash,
        unihash: &Hash,
        signed: Option<Signed>,
    ) -> Result<(), WriteError> {
        let Some(method) = self.method(method) else {
            self.leave_out(1);
            return Ok(());
        };
        let row = SortRow {
            method,
            taskhash: *taskhash,
            unihash: *unihash,
            signed: signed.filter(Signed::fits).map(Box::new),
        };
        self.sorter.push(row).map_err(failed(&self.target))
    }

    /// Counts rows that cannot be in a snapshot, because a hash of theirs is not 64 lower-case hex digits.
    pub fn leave_out(&mut self, rows: u64) {
        let left_out = self.manifest.left_out.saturating_add(rows);
        self.manifest.left_out = left_out.min(crate::NUMBER_MAX);
    }

    /// The number of a method, which is new if there is room.
    fn method(&mut self, name: &str) -> Option<u8> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = u8::try_from(self.methods.len()).ok()?;
        if !is_name(name) {
            return None;
        }
        self.numbers.insert(name.to_owned(), number);
        self.methods.push(MethodShards {
            name: name.to_owned(),
            rows: 0,
            shards: Vec::new(),
        });
        Some(number)
    }

    /// Writes the shards and the manifest, and puts them at their place in one step. Returns when they are durable.
    /// `go_on` is asked every few milliseconds; with `false` everything is removed again.
    pub fn finish(mut self, mut go_on: impl FnMut() -> bool) -> Result<Manifest, WriteError> {
        let target = self.target.clone();
        let io = || failed(&target);
        let mut sorted = self.sorter.finish().map_err(io())?;
        let mut shards = Shards {
            directory: self.working.path().join(SHARDS),
            rows_max: self.shard_rows,
            methods: &mut self.methods,
            method: 0,
            shard: ShardBuilder::default(),
            side: SideBuilder::default(),
        };
        while shards.take(&mut sorted).map_err(io())? {
            if !go_on() {
                return Err(WriteError::Stopped);
            }
        }
        let directory = shards.directory;
        self.methods.sort_by(|a, b| a.name.cmp(&b.name));
        self.manifest.methods = self.methods;
        self.manifest.check().map_err(WriteError::Manifest)?;
        let bytes = self.manifest.to_bytes();
        sync(&directory)
            .and_then(|()| write_new(self.working.path(), MANIFEST, &bytes))
            .map_err(io())?;
        put(self.working, &target)?;
        Ok(self.manifest)
    }
}

/// Renames the directory, which is complete and durable.
fn put(working: TempDir, target: &Path) -> Result<(), WriteError> {
    // A directory takes the place of an empty one only.
    match fs::rename(working.path(), target) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            return Err(WriteError::Exists(target.to_owned()));
        }
        renamed => renamed.map_err(failed(target))?,
    }
    // Its name is gone, and nothing must be removed there.
    let _ = working.keep();
    sync(parent(target)).map_err(failed(target))
}

/// The shards that are being written, method by method.
struct Shards<'a> {
    directory: PathBuf,
    rows_max: u32,
    methods: &'a mut [MethodShards],
    /// The method of the rows that no shard has yet.
    method: u8,
    shard: ShardBuilder,
    side: SideBuilder,
}

impl Shards<'_> {
    /// Takes some rows; `false` if there are no more, and all shards are written.
    fn take(&mut self, sorted: &mut Sorted) -> io::Result<bool> {
        for _ in 0..ROWS_BETWEEN {
            let Some(row) = sorted.next()? else {
                self.end_shard()?;
                return Ok(false);
            };
            if row.method != self.method || self.shard.rows() == self.rows_max {
                self.end_shard()?;
                self.method = row.method;
            }
            if let Some(signed) = &row.signed {
                self.side.push(self.shard.rows(), signed);
            }
            self.shard.push(Mapping {
                taskhash: row.taskhash,
                unihash: row.unihash,
            });
        }
        Ok(true)
    }

    fn end_shard(&mut self) -> io::Result<()> {
        let rows = self.shard.rows();
        let Some((first, bytes)) = self.shard.finish() else {
            return Ok(());
        };
        let signatures = match self.side.finish() {
            None => None,
            Some((rows, bytes)) => Some(SideEntry {
                sha256: self.write(&bytes)?,
                bytes: bytes.len() as u64,
                rows,
            }),
        };
        let entry = ShardEntry {
            sha256: self.write(&bytes)?,
            bytes: bytes.len() as u64,
            rows,
            first,
            signatures,
        };
        let method = &mut self.methods[usize::from(self.method)];
        method.rows += u64::from(rows);
        method.shards.push(entry);
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Digest> {
        let name = Digest::of(bytes);
        let path = self.directory.join(name.to_string());
        match fs::File::create_new(path) {
            // Two methods have the same rows.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(name),
            Err(error) => return Err(error),
            Ok(mut file) => {
                io::Write::write_all(&mut file, bytes)?;
                file.sync_data()?;
            }
        }
        Ok(name)
    }
}

/// The directory that a path is in.
fn parent(path: &Path) -> &Path {
    let parent = path.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Io { path, source }
}

/// A method's number is a byte.
const _: () = assert!(METHODS_MAX == 1 << u8::BITS);

/// Whole blocks.
const _: () = assert!((SHARD_ROWS as usize).is_multiple_of(BLOCK_ROWS));
