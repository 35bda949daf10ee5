//! The reference's database in PostgreSQL, made a file of its SQLite form and
//! imported from there, so that all rules are the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fingerpost_db::postgres::{ForeignRow, ForeignSnapshot, PostgresError, PostgresSettings};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, params_from_iter};
use tokio::runtime::Handle;

use super::import::{ImportOptions, advance, begin_rows, bring_in, check_namespace};
use super::reference::Reference;
use super::report::ImportReport;
use super::work::directory_of;
use super::{ImportError, Progress, Stage};

/// What a statement takes at most, and how long we may write between two of
/// them: nobody waits for either.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(600);
/// Rows after which the progress is told.
pub(super) const ADVANCE_ROWS: u64 = 1000;

/// A table and its columns after `id`. The reference never made older ones in
/// PostgreSQL.
pub(super) struct Table {
    pub(super) name: &'static str,
    columns: &'static [&'static str],
}

const TABLES: [Table; 5] = [
    Table {
        name: "unihashes_v3",
        columns: &["method", "taskhash", "unihash", "gc_mark"],
    },
    Table {
        name: "unihashes_v2",
        columns: &["method", "taskhash", "unihash"],
    },
    Table {
        name: "outhashes_v2",
        columns: &[
            "method",
            "taskhash",
            "outhash",
            CREATED,
            "owner",
            "PN",
            "PV",
            "PR",
            "task",
            "outhash_siginfo",
        ],
    },
    Table {
        name: "users",
        columns: &["username", "token", "permissions"],
    },
    Table {
        name: "config",
        columns: &["name", "value"],
    },
];

/// The one column that is no text.
const CREATED: &str = "created";

/// Imports the database of the reference server that `source` leads to, as
/// [`import`](super::import()) does with a file. Messages name it as
/// [`PostgresSettings::target`] does.
///
/// The tables are read in one transaction, which writes nothing; the server may
/// run. They are first copied into a file without a name in the directory of
/// `into`, which needs about their room and is gone with the process, however it
/// ends. A run that goes on with an interrupted import copies them again.
///
/// # Errors
///
/// See [`ImportError`].
pub fn import_postgres(
    runtime: &Handle,
    source: PostgresSettings,
    into: &Path,
    options: &ImportOptions<'_>,
    progress: &mut dyn Progress,
) -> Result<ImportReport, ImportError> {
    check_namespace(into, options.namespace)?;
    let copied = runtime.block_on(copy(source, &directory_of(into), progress))?;
    bring_in(copied, into, options, progress)
}

/// Copies what the reference keeps into a file in this directory.
async fn copy(
    source: PostgresSettings,
    directory: &Path,
    progress: &mut dyn Progress,
) -> Result<Reference, ImportError> {
    let mut snapshot = open(source).await?;
    copy_all(&mut snapshot, directory, progress).await
}

/// Begins to read a database with our limits.
pub(super) async fn open(mut source: PostgresSettings) -> Result<ForeignSnapshot, ImportError> {
    source.statement_timeout = STATEMENT_TIMEOUT;
    source.deadline = STATEMENT_TIMEOUT;
    Ok(ForeignSnapshot::open(source).await?)
}

/// Copies every table.
pub(super) async fn copy_all(
    snapshot: &mut ForeignSnapshot,
    directory: &Path,
    progress: &mut dyn Progress,
) -> Result<Reference, ImportError> {
    let name = PathBuf::from(snapshot.target());
    let tables = find(snapshot).await?;
    let conn = nameless(directory)?;
    begin_rows(progress, Stage::Copying, (1, rows(&tables)));
    let mut copying = Copying::new(&conn, directory, progress);
    for table in &tables {
        copying.run(snapshot, table, "").await?;
    }
    Reference::copied(conn, name)
}

/// A table that is there, with its lowest and highest id.
pub(super) struct Found {
    pub(super) table: &'static Table,
    first: i64,
    last: i64,
}

impl Found {
    /// Its rows, if no id is missing.
    pub(super) const fn rows(&self) -> i64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

fn rows(tables: &[Found]) -> i64 {
    let rows = tables.iter().map(Found::rows);
    rows.fold(0, i64::saturating_add)
}

/// The tables that are there, if they are the reference's.
pub(super) async fn find(snapshot: &ForeignSnapshot) -> Result<Vec<Found>, ImportError> {
    let mut tables = Vec::new();
    for table in &TABLES {
        let found = table.find(snapshot).await;
        tables.extend(found.map_err(failed(snapshot))?);
    }
    let has = |name: &str| tables.iter().any(|found| found.table.name == name);
    if has("outhashes_v2") && (has("unihashes_v3") || has("unihashes_v2")) {
        return Ok(tables);
    }
    Err(ImportError::NotReference {
        path: snapshot.target().into(),
    })
}

/// Says which database could not be read.
pub(super) fn failed(snapshot: &ForeignSnapshot) -> impl Fn(PostgresError) -> ImportError + use<> {
    let target = snapshot.target().to_owned();
    move |source| ImportError::Postgres {
        target: target.clone(),
        source,
    }
}

/// An empty database whose file is removed already. It needs no journal: what
/// fails is dropped whole.
pub(super) fn nameless(directory: &Path) -> Result<Connection, ImportError> {
    let file = tempfile::Builder::new()
        .prefix("fingerpost-import-")
        .tempfile_in(directory)
        .map_err(ImportError::io(directory))?;
    let open = || {
        let conn = Connection::open(file.path())?;
        conn.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = OFF;
             PRAGMA synchronous = OFF;
             PRAGMA cache_size = -16384;
             BEGIN EXCLUSIVE;
             COMMIT;",
        )?;
        Ok(conn)
    };
    let conn = open().map_err(ImportError::target(directory))?;
    file.close().map_err(ImportError::io(directory))?;
    Ok(conn)
}

/// Tables on their way.
pub(super) struct Copying<'a> {
    pub(super) conn: &'a Connection,
    pub(super) directory: &'a Path,
    progress: &'a mut dyn Progress,
    /// Rows of the tables that are through.
    done: u64,
}

impl<'a> Copying<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        directory: &'a Path,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self {
            conn,
            directory,
            progress,
            done: 0,
        }
    }

    /// Makes a table, and copies its rows for which `condition` holds.
    pub(super) async fn run(
        &mut self,
        snapshot: &mut ForeignSnapshot,
        found: &Found,
        condition: &str,
    ) -> Result<(), ImportError> {
        let made = self.conn.execute_batch(&found.table.make());
        made.map_err(ImportError::target(self.directory))?;
        self.add(snapshot, found, condition).await?;
        self.done = self.done.saturating_add(found.rows().unsigned_abs());
        Ok(())
    }

    /// Tells how far the walk over a table has come, and hears whether to go on.
    pub(super) fn tell(&mut self, found: &Found, id: i64) -> Result<(), ImportError> {
        let done = id.saturating_sub(found.first).unsigned_abs();
        advance(self.progress, self.done.saturating_add(done))
    }

    /// Copies further rows.
    pub(super) async fn add(
        &mut self,
        snapshot: &mut ForeignSnapshot,
        found: &Found,
        condition: &str,
    ) -> Result<(), ImportError> {
        let table = found.table;
        let refused = failed(snapshot);
        let source = PathBuf::from(snapshot.target());
        let written = ImportError::target(self.directory);
        self.conn.execute_batch("BEGIN").map_err(&written)?;
        let mut insert = self.conn.prepare(&table.insert()).map_err(&written)?;
        let walk = snapshot.walk(&table.select(condition)).await;
        let mut rows = walk.map_err(&refused)?;
        let mut copied = 0_u64;
        while let Some(row) = rows.next().await.map_err(&refused)? {
            let id = row.number(0).map_err(&refused)?.unwrap_or_default();
            let values = table.values(&row).map_err(&refused)?;
            insert.execute(params_from_iter(values)).map_err(|error| {
                match error.sqlite_error_code() {
                    Some(ErrorCode::ConstraintViolation) => table.twice(&source, id),
                    _ => written(error),
                }
            })?;
            copied += 1;
            if copied.is_multiple_of(ADVANCE_ROWS) {
                self.tell(found, id)?;
            }
        }
        self.conn.execute_batch("COMMIT").map_err(&written)
    }
}

impl Table {
    /// Looks whether it is there, and for its ids.
    async fn find(
        &'static self,
        snapshot: &ForeignSnapshot,
    ) -> Result<Option<Found>, PostgresError> {
        let name = self.name;
        let found = format!("SELECT 1::int8 WHERE to_regclass('{name}') IS NOT NULL");
        if snapshot.query(&found).await?.is_empty() {
            return Ok(None);
        }
        let ids = format!("SELECT min(id)::int8, max(id)::int8 FROM {name}");
        let ids = snapshot.query(&ids).await?;
        let id = |column: usize| ids.first().map_or(Ok(None), |row| row.number(column));
        Ok(Some(Found {
            table: self,
            first: id(0)?.unwrap_or(1),
            last: id(1)?.unwrap_or(0),
        }))
    }

    /// Without the indexes, which an import does not use. That a text stays a
    /// text is what the columns' types are for.
    fn make(&self) -> String {
        let columns = self.columns.iter().map(|name| format!(", {name} TEXT"));
        let columns: String = columns.collect();
        format!(
            "CREATE TABLE {} (id INTEGER PRIMARY KEY AUTOINCREMENT{columns})",
            self.name
        )
    }

    fn insert(&self) -> String {
        let values = ", ?".repeat(self.columns.len());
        format!("INSERT INTO {} VALUES (?{values})", self.name)
    }

    /// By id: that is the order in which rows came.
    fn select(&self, condition: &str) -> String {
        let columns = self.columns.iter().map(|&name| match name {
            // As the reference wrote times without a zone into files. What has no
            // such form (infinity, years before Christ) stays what it is.
            CREATED => format!(
                ", CASE WHEN {CREATED} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999'
                    THEN to_char({CREATED}, 'YYYY-MM-DD HH24:MI:SS.US') ELSE {CREATED}::text END"
            ),
            // PN, PV and PR are upper case there.
            name => format!(", \"{name}\"::text"),
        });
        let columns: String = columns.collect();
        format!(
            "SELECT id::int8{columns} FROM {} {condition} ORDER BY id",
            self.name
        )
    }

    fn values<'a>(&self, row: &'a ForeignRow) -> Result<Vec<Value<'a>>, PostgresError> {
        let mut values = Vec::with_capacity(self.columns.len() + 1);
        values.push(Value::Id(row.number(0)?));
        for column in 1..=self.columns.len() {
            values.push(Value::Text(row.text(column)?));
        }
        Ok(values)
    }

    fn twice(&self, source: &Path, id: i64) -> ImportError {
        ImportError::Damaged {
            path: source.to_owned(),
            what: format!("two rows of {} have the id {id}", self.name),
        }
    }
}

/// What goes into a column. Texts may be no UTF-8, which the import reports.
enum Value<'a> {
    Id(Option<i64>),
    Text(Option<&'a [u8]>),
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Id(Some(id)) => ValueRef::Integer(*id),
            Self::Text(Some(text)) => ValueRef::Text(text),
            Self::Id(None) | Self::Text(None) => ValueRef::Null,
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}
