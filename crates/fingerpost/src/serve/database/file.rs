//! The SQLite file: which one is opened, and what is said when it is not ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fingerpost_db::{Durability, OpenError, Settings, Sqlite};
use fingerpost_hashequiv::sqlite::MIGRATIONS;

use super::Opened;
use crate::config::{self, Loaded};
use crate::exit::{Exit, OrExit, failure};
use crate::moving;

/// Opens it beside the runtime.
pub(super) async fn open(loaded: Loaded, import: bool) -> anyhow::Result<Opened> {
    let opening = tokio::task::spawn_blocking(move || open_blocking(&loaded, import));
    opening.await.context("opening the database panicked")?
}

fn open_blocking(loaded: &Loaded, import: bool) -> anyhow::Result<Opened> {
    let path = loaded.database_path();
    if !loaded.is_set("database.path") {
        make_directory_of(&path)?;
    }
    let is_new = std::fs::metadata(&path).map_or(true, |file| file.len() == 0);
    match open_file(loaded, &path) {
        Ok(database) => Ok(opened(database, &path, is_new)),
        Err(OpenError::ReferenceDatabase { .. }) => open_imported(loaded, &path, import),
        Err(error) => Err(explain(error)),
    }
}

fn opened(database: Sqlite, path: &Path, is_new: bool) -> Opened {
    Opened {
        place: path.display().to_string(),
        database: database.into(),
        replica_names: Vec::new(),
        is_new,
    }
}

fn open_file(loaded: &Loaded, path: &Path) -> Result<Sqlite, OpenError> {
    Sqlite::open(settings(&loaded.config, path.to_owned()), MIGRATIONS)
}

/// Opens `REFERENCE.fingerpost`, which is there only when it is complete.
fn open_imported(loaded: &Loaded, reference: &Path, import: bool) -> anyhow::Result<Opened> {
    let path = moving::imported_path(reference);
    let (from, into) = (reference.display(), path.display());
    let is_new = !path.exists();
    match (is_new, import) {
        (false, _) => tracing::info!("serving {into}, which was imported from {from}"),
        (true, true) => {
            for line in moving::import_database(reference, &path)?.lines() {
                tracing::info!("{line}");
            }
        }
        (true, false) => return Err(refuse_reference(reference)),
    }
    let database = open_file(loaded, &path).map_err(explain)?;
    Ok(opened(database, &path, is_new))
}

/// The data directory is ours to make; a directory that the operator named
/// with a file in it is not.
fn make_directory_of(path: &Path) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(dir).or_exit(
        Exit::Io,
        format!("cannot make the data directory {}", dir.display()),
    )
}

/// Gives an error of opening its exit code.
fn explain(error: OpenError) -> anyhow::Error {
    failure(
        moving::exit_of_opening(&error),
        format!("{:#}", anyhow::Error::new(error)),
    )
}

fn refuse_reference(path: &Path) -> anyhow::Error {
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
fn settings(config: &config::Config, path: PathBuf) -> Settings {
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
