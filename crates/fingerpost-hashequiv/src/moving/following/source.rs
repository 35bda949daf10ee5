//! Where rows come from, as they are at one moment.

use std::fmt;
use std::path::Path;

use fingerpost_db::postgres::{ForeignSnapshot, PostgresError, PostgresSettings};
use rusqlite::Connection;
use tokio::runtime::Handle;

use super::Depth;
use super::comparing::keys_of_outputs;
use super::copied;
use crate::moving::postgres::{copy_all, failed, open};
use crate::moving::reference::{Generation, Reference};
use crate::moving::{ImportError, Progress};

/// A reference database that is followed.
#[derive(Clone, Copy)]
pub enum FollowedSource<'a> {
    /// A file of SQLite.
    File(&'a Path),
    /// A database in PostgreSQL.
    Postgres {
        /// What runs the reading.
        runtime: &'a Handle,
        /// The database.
        settings: &'a PostgresSettings,
    },
}

/// The source at one moment.
pub(super) struct View {
    pub(super) reference: Reference,
    /// Selects the keys of the relation O, as [`keys_of_outputs`] does.
    pub(super) output_keys: String,
    pub(super) state: State,
}

/// What tells whether somebody wrote since.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// SQLite's number for this connection.
    File(i64),
    /// Counts, highest ids and sums.
    Postgres(Vec<Option<i64>>),
}

/// What a view has to have.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Everything.
    Whole,
    /// What a comparison with this record asks for.
    Changes(Depth, &'a Connection),
}

impl FollowedSource<'_> {
    /// Names the source, in the same way each time.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
                path.display().to_string()
            }
            Self::Postgres { settings, .. } => settings.target(),
        }
    }

    /// The source as it is now. Scratch files go into `directory`.
    pub(super) fn view(
        &self,
        scope: Scope<'_>,
        directory: &Path,
        progress: &mut dyn Progress,
    ) -> Result<View, ImportError> {
        let view = match self {
            Self::File(path) => {
                let reference = Reference::open(path)?;
                let state = version(&reference.conn).map_err(reference.failed())?;
                let looks_at_all = !matches!(scope, Scope::Changes(Depth::New, _));
                View {
                    output_keys: keys_of_outputs(&reference, looks_at_all),
                    reference,
                    state: State::File(state),
                }
            }
            Self::Postgres { runtime, settings } => {
                let settings = (*settings).clone();
                runtime.block_on(copy(settings, scope, directory, progress))?
            }
        };
        let tables = view.reference.tables;
        if tables.generation == Generation::TasksV2 || tables.has_older_mappings {
            return Err(ImportError::TooOldToFollow {
                path: view.reference.path,
            });
        }
        Ok(view)
    }

    /// Whether nobody wrote to the source since the view was taken.
    pub(super) fn stands_still(&self, view: View) -> Result<bool, ImportError> {
        let now = match self {
            Self::File(_) => {
                let conn = &view.reference.conn;
                let now = conn
                    .execute_batch("COMMIT")
                    .and_then(|()| version(conn))
                    .map_err(view.reference.failed())?;
                State::File(now)
            }
            Self::Postgres { runtime, settings } => runtime.block_on(async {
                let snapshot = open((*settings).clone()).await?;
                let sums = sums(&snapshot).await;
                sums.map_err(failed(&snapshot))
            })?,
        };
        Ok(now == view.state)
    }
}

/// Changes when somebody else commits something.
fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA data_version", [], |row| row.get(0))
}

async fn copy(
    settings: PostgresSettings,
    scope: Scope<'_>,
    directory: &Path,
    progress: &mut dyn Progress,
) -> Result<View, ImportError> {
    let mut snapshot = open(settings).await?;
    let state = sums(&snapshot).await.map_err(failed(&snapshot))?;
    let (reference, output_keys) = match scope {
        Scope::Whole => {
            let reference = copy_all(&mut snapshot, directory, progress).await?;
            let keys = keys_of_outputs(&reference, true);
            (reference, keys)
        }
        Scope::Changes(depth, record) => {
            copied::copy_changes(&mut snapshot, depth, record, directory, progress).await?
        }
    };
    Ok(View {
        reference,
        output_keys,
        state,
    })
}

/// Numbers that another row, another mark, another user or another collection changes.
async fn sums(snapshot: &ForeignSnapshot) -> Result<State, PostgresError> {
    let mut sums = Vec::new();
    for (table, text) in [
        ("unihashes_v3", "gc_mark"),
        ("unihashes_v2", "''"),
        ("outhashes_v2", "''"),
        ("users", "username || token || coalesce(permissions, '')"),
        ("config", "name || coalesce(value, '-')"),
    ] {
        let found = format!("SELECT 1::int8 WHERE to_regclass('{table}') IS NOT NULL");
        if snapshot.query(&found).await?.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT count(*)::int8, max(id)::int8, sum(hashtext({text})::int8)::int8 FROM {table}"
        );
        for row in snapshot.query(&sql).await? {
            for column in 0..3 {
                sums.push(row.number(column)?);
            }
        }
    }
    Ok(State::Postgres(sums))
}

impl fmt::Debug for FollowedSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
