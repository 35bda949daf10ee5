//! `fingerpost backup` and `fingerpost restore`: copies of the database file,
//! with the server running, and back with the server stopped.

use std::path::{Path, PathBuf};

use fingerpost_db::CopyError;
use fingerpost_hashequiv::Database;

use crate::config::{self, Loaded, Sources, database_setting};
use crate::exit::{Exit, OrExit, failure};
use crate::progress::Progress;
use crate::serve::open_database;

/// Copy the database to a file, while the server runs or not.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    which: WhichDatabase,
    /// The copy; must not exist yet.
    to: PathBuf,
}

/// Put a backup in the place of the database. The server must be stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    which: WhichDatabase,
    /// The backup.
    from: PathBuf,
    /// Replace a database that exists.
    #[arg(long)]
    overwrite: bool,
}

/// The database that a command works on: the one that `serve` would open.
#[derive(Debug, clap::Args)]
pub(crate) struct WhichDatabase {
    /// Configuration file instead of `$FINGERPOST_CONFIG` or
    /// `/etc/fingerpost/fingerpost.toml`.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database instead of the configured one: a file, or the URL of a PostgreSQL
    /// database.
    #[arg(short, long, value_name = "FILE|URL")]
    database: Option<String>,
}

impl WhichDatabase {
    /// A database by its name, or the configured one.
    pub(crate) const fn named(config: Option<PathBuf>, database: Option<String>) -> Self {
        Self { config, database }
    }

    /// Whether the caller named it.
    pub(crate) const fn is_named(&self) -> bool {
        self.database.is_some()
    }

    /// Its file. With PostgreSQL there is none; `instead` says then what to do.
    pub(crate) fn path(&self, instead: &str) -> anyhow::Result<PathBuf> {
        let loaded = self.load()?;
        match loaded.config.postgresql_primary() {
            Ok(None) => Ok(loaded.database_path()),
            Ok(Some(settings)) => {
                let why = format!("the database is {}; {instead}", settings.target());
                Err(failure(Exit::Configuration, why))
            }
            Err(error) => Err(failure(Exit::Configuration, error)),
        }
    }

    /// The configuration that names it.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        let flag = self.database.as_deref();
        let flags = flag.map(|text| database_setting(text, "--database"));
        let flags = flags.transpose().or_exit(Exit::Configuration, WRONG)?;
        let sources = Sources {
            file: self.config.clone(),
            environment: Sources::process_environment(),
            flags: flags.into_iter().collect(),
            ..Sources::default()
        };
        config::load(sources).or_exit(Exit::Configuration, WRONG)
    }
}

/// Opens a database that is there, beside servers that use it.
pub(crate) async fn open_existing(loaded: &Loaded) -> anyhow::Result<Database> {
    let path = loaded.database_path();
    if !loaded.config.uses_postgresql() && !path.exists() {
        let why = format!("there is no database {}", path.display());
        return Err(failure(Exit::Usage, why));
    }
    open_database(loaded).await
}

/// Refuses the URL of a database server where only a file will do. It is not repeated:
/// it may have a password.
pub(crate) fn only_file(path: &Path) -> anyhow::Result<()> {
    match path.to_str().is_some_and(config::is_postgresql) {
        true => Err(failure(
            Exit::Usage,
            "this command works on SQLite files, not on PostgreSQL",
        )),
        false => Ok(()),
    }
}

/// Copies the database; the copy is complete and on disk, or not there.
pub(crate) fn backup(args: &BackupArgs) -> anyhow::Result<Exit> {
    let from = args
        .which
        .path("pg_dump or pg_basebackup copy it while servers run (docs/deploying.md)")?;
    let progress = Progress::new("Backing up", "pages", None);
    let copied = fingerpost_db::backup(&from, &args.to, &mut |done, total| {
        progress.set(done, total)
    });
    progress.finish();
    copied.map_err(|error| explain(error, &from))?;
    println!("Backed up {} to {}", from.display(), args.to.display());
    Ok(Exit::Ok)
}

/// Checks the backup and puts it in place.
pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<Exit> {
    let target = args
        .which
        .path("pg_restore brings back what pg_dump made (docs/deploying.md)")?;
    let progress = Progress::new("Restoring", "pages", None);
    let restored =
        fingerpost_db::restore(&args.from, &target, args.overwrite, &mut |done, total| {
            progress.set(done, total);
        });
    progress.finish();
    restored.map_err(|error| explain(error, &args.from))?;
    println!("Restored {} from {}", target.display(), args.from.display());
    Ok(Exit::Ok)
}

fn explain(error: CopyError, source: &Path) -> anyhow::Error {
    let (exit, way_out) = match &error {
        CopyError::Exists(_) => (
            Exit::Io,
            "; choose another file, or --overwrite with restore",
        ),
        CopyError::NotOurs(_) | CopyError::Damaged { .. } => (Exit::BadData, ""),
        CopyError::InUse(_) => (Exit::Unavailable, ""),
        CopyError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            (Exit::Denied, "")
        }
        CopyError::Io { .. } | CopyError::Sqlite(_) => (Exit::Io, ""),
    };
    let sentence = format!("{:#}{way_out}", anyhow::Error::new(error));
    failure(
        exit,
        format!("cannot copy {}: {sentence}", source.display()),
    )
}

const WRONG: &str = "The configuration is wrong";
