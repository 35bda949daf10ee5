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
const ADVANCE_ROWS: u64 = 1000;

/// A table and its columns after `id`. The reference never made older ones in
/// PostgreSQL.
struct Table {
    name: &'static str,
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
    mut source: PostgresSettings,
    directory: &Path,
    progress: &mut dyn Progress,
) -> Result<Reference, ImportError> {
    source.statement_timeout = STATEMENT_TIMEOUT;
    source.deadline = STATEMENT_TIMEOUT;
    let name = PathBuf::from(source.target());
    let mut snapshot = ForeignSnapshot::open(source).await?;
    let tables = present(&snapshot).await?;
    let conn = nameless(directory)?;
    for table in tables {
        let mut copying = Copying {
            conn: &conn,
            table,
            directory,
            progress,
        };
        copying.run(&mut snapshot).await?;
    }
    Reference::copied(conn, name)
}

/// The tables that are there, if they are the reference's.
async fn present(snapshot: &ForeignSnapshot) -> Result<Vec<&'static Table>, ImportError> {
    let mut tables = Vec::new();
    for table in &TABLES {
        let found = format!(
            "SELECT (to_regclass('{}') IS NOT NULL)::int::int8",
            table.name
        );
        let rows = snapshot.query(&found).await.map_err(failed(snapshot))?;
        if numbers(&rows, 0).map_err(failed(snapshot))? == Some(1) {
            tables.push(table);
        }
    }
    let has = |name: &str| tables.iter().any(|table| table.name == name);
    if has("outhashes_v2") && (has("unihashes_v3") || has("unihashes_v2")) {
        return Ok(tables);
    }
    Err(ImportError::NotReference {
        path: snapshot.target().into(),
    })
}

/// A column of the first of these rows.
fn numbers(rows: &[ForeignRow], column: usize) -> Result<Option<i64>, PostgresError> {
    rows.first().map_or(Ok(None), |row| row.number(column))
}

fn failed(snapshot: &ForeignSnapshot) -> impl Fn(PostgresError) -> ImportError + use<> {
    let target = snapshot.target().to_owned();
    move |source| ImportError::Postgres {
        target: target.clone(),
        source,
    }
}

/// An empty database whose file is removed already. It needs no journal: what
/// fails is dropped whole.
fn nameless(directory: &Path) -> Result<Connection, ImportError> {
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

/// A table on its way.
struct Copying<'a> {
    conn: &'a Connection,
    table: &'a Table,
    directory: &'a Path,
    progress: &'a mut dyn Progress,
}

impl Copying<'_> {
    async fn run(&mut self, snapshot: &mut ForeignSnapshot) -> Result<(), ImportError> {
        let refused = failed(snapshot);
        let target = PathBuf::from(snapshot.target());
        let ids = format!(
            "SELECT min(id)::int8, max(id)::int8 FROM {}",
            self.table.name
        );
        let ids = snapshot.query(&ids).await.map_err(&refused)?;
        let first = numbers(&ids, 0).map_err(&refused)?.unwrap_or(1);
        let last = numbers(&ids, 1).map_err(&refused)?.unwrap_or(0);
        begin_rows(self.progress, Stage::Copying, (first, last));

        let written = ImportError::target(self.directory);
        self.conn
            .execute_batch(&format!("{}; BEGIN", self.table.make()))
            .map_err(&written)?;
        let mut insert = self.conn.prepare(&self.table.insert()).map_err(&written)?;
        let mut rows = snapshot
            .walk(&self.table.select())
            .await
            .map_err(&refused)?;
        let mut copied = 0_u64;
        while let Some(row) = rows.next().await.map_err(&refused)? {
            let values = self.table.values(&row).map_err(&refused)?;
            let id = row.number(0).map_err(&refused)?;
            match insert.execute(params_from_iter(values)) {
                Ok(_) => {}
                Err(error) if is_twice(&error) => return Err(self.table.twice(target, id)),
                Err(error) => return Err(written(error)),
            }
            copied += 1;
            if copied.is_multiple_of(ADVANCE_ROWS) {
                let done = id.unwrap_or(first).saturating_sub(first);
                advance(self.progress, done.unsigned_abs())?;
            }
        }
        self.conn.execute_batch("COMMIT").map_err(&written)
    }
}

impl Table {
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
    fn select(&self) -> String {
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
        format!("SELECT id::int8{columns} FROM {} ORDER BY id", self.name)
    }

    fn values<'a>(&self, row: &'a ForeignRow) -> Result<Vec<Value<'a>>, PostgresError> {
        let mut values = Vec::with_capacity(self.columns.len() + 1);
        values.push(Value::Id(row.number(0)?));
        for column in 1..=self.columns.len() {
            values.push(Value::Text(row.text(column)?));
        }
        Ok(values)
    }

    fn twice(&self, path: PathBuf, id: Option<i64>) -> ImportError {
        let name = self.name;
        let id = id.unwrap_or_default();
        ImportError::Damaged {
            path,
            what: format!("two rows of {name} have the id {id}"),
        }
    }
}

fn is_twice(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
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
