//! How a database file is opened.

use std::path::PathBuf;
use std::time::Duration;

/// When a commit is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After the commit is on disk; what was answered survives a power cut.
    #[default]
    Full,
    /// After the commit is with the operating system. It survives a killed
    /// process; a power cut may take back the last commits, never a part of one.
    Relaxed,
}

/// How a database file is opened. [`Settings::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file; made when it does not exist, in a directory that does.
    pub path: PathBuf,
    /// Number of reader threads, each with a connection; at least 1.
    pub readers: usize,
    /// Page cache of each reader, bytes.
    pub reader_cache_bytes: u64,
    /// Page cache of the writer, bytes.
    pub writer_cache_bytes: u64,
    /// When a write is answered.
    pub durability: Durability,
    /// How long a write waits for another process that holds the file.
    pub busy_timeout: Duration,
    /// Writes that may wait for the writer; more wait for room.
    pub write_queue: usize,
    /// Reads that may wait for a reader; more wait for room.
    pub read_queue: usize,
    /// How long a job waits for room in its queue before it is refused as busy.
    pub queue_timeout: Duration,
    /// Growth of the write-ahead log, in bytes, after which it is copied into
    /// the file. The log stays at about twice this size.
    pub checkpoint_bytes: u64,
    /// Rest after which what is left in the log is copied into the file.
    pub checkpoint_idle: Duration,
    /// How long [`close`](crate::Sqlite::close) takes at most.
    pub close_timeout: Duration,
    /// Name of a registered SQLite VFS, for tests with faults. The file system
    /// is not examined then.
    pub vfs: Option<String>,
    /// Pages (of 4096 bytes) that the file may have, for tests of a full disk.
    pub page_count_max: Option<u64>,
    /// Opens files on network file systems too, for tests.
    pub allow_network_file_system: bool,
}

impl Settings {
    /// The defaults for the file at `path`: durable, two readers, 64 MiB of
    /// page cache in all.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            readers: 2,
            reader_cache_bytes: 16 << 20,
            writer_cache_bytes: 32 << 20,
            durability: Durability::Full,
            busy_timeout: Duration::from_secs(5),
            write_queue: 4096,
            read_queue: 4096,
            queue_timeout: Duration::from_secs(10),
            checkpoint_bytes: 8 << 20,
            checkpoint_idle: Duration::from_secs(2),
            close_timeout: Duration::from_secs(4),
            vfs: None,
            page_count_max: None,
            allow_network_file_system: false,
        }
    }
}
