//! Where an import comes from.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fingerpost_db::postgres::PostgresSettings;
use fingerpost_hashequiv::moving::{
    self, FollowedSource, ImportError, ImportOptions, ImportReport, Progress,
};
use tokio::runtime::Runtime;

use super::import::imported_path;
use crate::exit::{Exit, failure};

/// A database of bitbake-hashserv. `Display` shows no password.
pub(super) enum Source {
    File(PathBuf),
    Postgres(Box<PostgresSettings>),
}

impl Source {
    /// Takes a name with `://` for a URL, as the reference does. A password that
    /// the URL lacks is taken out of the variable `PGPASSWORD`, which programs of
    /// PostgreSQL know.
    pub(super) fn of_argument(name: &OsString) -> anyhow::Result<Self> {
        let url = match name.to_str() {
            Some(url) if url.contains("://") => url,
            _ => return Ok(Self::File(name.into())),
        };
        let mut settings = PostgresSettings::from_url(url).map_err(|error| {
            failure(
                Exit::Usage,
                format!("cannot import from this URL: {error}; SQLite databases are named by file"),
            )
        })?;
        if let Ok(password) = std::env::var("PGPASSWORD") {
            settings = settings.with_password_unless_given(&password);
        }
        Ok(Self::Postgres(Box::new(settings)))
    }

    /// Where it goes when nobody says.
    pub(super) fn default_target(&self) -> anyhow::Result<PathBuf> {
        match self {
            Self::File(path) => Ok(imported_path(path)),
            Self::Postgres(_) => Err(failure(
                Exit::Usage,
                "an import from PostgreSQL has to be told where to: --into FILE",
            )),
        }
    }

    /// The database for following it.
    pub(super) fn followed<'a>(&'a self, runtime: &'a Runtime) -> FollowedSource<'a> {
        match self {
            Self::File(path) => FollowedSource::File(path),
            Self::Postgres(settings) => FollowedSource::Postgres {
                runtime: runtime.handle(),
                settings,
            },
        }
    }

    /// Imports it.
    pub(super) fn import(
        &self,
        into: &Path,
        options: &ImportOptions<'_>,
        progress: &mut dyn Progress,
    ) -> anyhow::Result<Result<ImportReport, ImportError>> {
        let settings = match self {
            Self::File(path) => return Ok(moving::import(path, into, options, progress)),
            Self::Postgres(settings) => settings.as_ref().clone(),
        };
        // The worker reads from the network while we write.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let handle = runtime.handle();
        Ok(moving::import_postgres(
            handle, settings, into, options, progress,
        ))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(settings) => f.write_str(&settings.target()),
        }
    }
}
