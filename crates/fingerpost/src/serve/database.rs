//! Which file is opened, and what is said when it is not ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fingerpost_db::{Durability, OpenError, Settings, Sqlite};
use fingerpost_hashequiv::sqlite::MIGRATIONS;

use crate::config::{self, Loaded};
use crate::exit::{Exit, OrExit, failure};

/// An opened database.
pub(super) struct Opened {
    pub(super) database: Sqlite,
    /// The file, as the operator would name it.
    pub(super) path: PathBuf,
    /// Whether there was nothing before.
    pub(super) is_new: bool,
}

/// Opens the configured database. A file of the reference server is never
/// written to: it is refused with the way out, or, when `FILE.fingerpost` was
/// imported from it completely, that one is opened instead.
pub(super) fn open(loaded: &Loaded) -> anyhow::Result<Opened> {
    let path = loaded.database_path();
    if !loaded.is_set("database.path") {
        make_directory_of(&path)?;
    }
    let is_new = std::fs::metadata(&path).map_or(true, |file| file.len() == 0);
    match Sqlite::open(settings(&loaded.config, path.clone()), MIGRATIONS) {
        Ok(database) => Ok(Opened {
            database,
            path,
            is_new,
        }),
        Err(error) => Err(explain(error, &path)),
    }
}

/// The data directory is ours to make; a directory that the operator named
/// with a file in it is not.
fn make_directory_of(path: &Path) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).or_exit(
        Exit::Io,
        format!("cannot make the data directory {}", dir.display()),
    )
}

/// Gives an error of opening its exit code and, where there is one, the way out.
fn explain(error: OpenError, path: &Path) -> anyhow::Error {
    let exit = match &error {
        OpenError::ReferenceDatabase { .. } => return reference(path),
        OpenError::NetworkFileSystem { .. } | OpenError::NotOurs { .. } => Exit::Configuration,
        OpenError::TooNew { .. } => Exit::Configuration,
        OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Exit::Denied
        }
        _ => Exit::Io,
    };
    failure(exit, format!("{:#}", anyhow::Error::new(error)))
}

fn reference(path: &Path) -> anyhow::Error {
    let file = path.display();
    failure(
        Exit::Configuration,
        format!(
            "{file} is a bitbake-hashserv database; run: fingerpost import {file} \
             --into {file}.fingerpost (or start with --import)"
        ),
    )
}

/// How the database is opened, as configured.
pub(crate) fn settings(config: &config::Config, path: PathBuf) -> Settings {
    let database = &config.database;
    Settings {
        readers: readers(database.readers),
        reader_cache_bytes: database.reader_cache_mib.saturating_mul(MIB),
        writer_cache_bytes: database.writer_cache_mib.saturating_mul(MIB),
        durability: match database.durability {
            config::Durability::Full => Durability::Full,
            config::Durability::Relaxed => Durability::Relaxed,
        },
        busy_timeout: Duration::from_millis(database.busy_timeout_ms),
        ..Settings::new(path)
    }
}

/// Two for each core, unless configured.
fn readers(configured: u64) -> usize {
    match usize::try_from(configured) {
        Ok(0) => std::thread::available_parallelism().map_or(2, |cores| cores.get() * 2),
        Ok(readers) => readers.min(READERS_MAX),
        Err(_) => READERS_MAX,
    }
}

const MIB: u64 = 1 << 20;
const READERS_MAX: usize = 256;
