//! What may be set about the state.

use std::path::PathBuf;
use std::time::Duration;

/// How the state is kept. [`StateOptions::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// The directory, made when it is missing. Nobody else's files belong there.
    pub directory: PathBuf,
    /// Bytes of reports that the server has not seen, at most. Each counts for a
    /// kibibyte more than its text.
    pub spool_bytes_max: u64,
    /// How long a report waits for the server at least.
    pub spool_age_max: Duration,
    /// Answers of the server that are kept, at most.
    pub known_rows_max: u64,
    /// Size of the file of dead letters after which it is put aside as `.old`, which
    /// replaces the one before.
    pub dead_letter_bytes_max: u64,
    /// Longest wait for the drive.
    pub patience: Duration,
    /// Name of a registered SQLite VFS, for tests with faults.
    pub vfs: Option<String>,
}

impl StateOptions {
    /// 256 MiB of reports for 30 days, 2 million answers, 16 MiB of dead letters, and
    /// 2 s for the drive.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            spool_bytes_max: 256 << 20,
            spool_age_max: Duration::from_secs(30 * 86_400),
            known_rows_max: 2_000_000,
            dead_letter_bytes_max: 16 << 20,
            patience: Duration::from_secs(2),
            vfs: None,
        }
    }
}
