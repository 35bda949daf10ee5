//! Databases of the reference, and what the tests look at.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use rusqlite::{Connection, ToSql};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::created::Created;
use crate::moving::reference::CURRENT_SCHEMA;
use crate::moving::{ImportError, ImportOptions, ImportReport, Progress, Silent, Stage, import};
use crate::namespace::DEFAULT_NAMESPACE;
use crate::sqlite::Hash;

pub(super) const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
pub(super) const OPTIONS: ImportOptions<'static> = ImportOptions {
    namespace: DEFAULT_NAMESPACE,
    drop_invalid_unihashes: false,
    dry_run: false,
    now: NOW,
};

const TASKS_V2: &str = "
CREATE TABLE tasks_v2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT, method TEXT NOT NULL, outhash TEXT NOT NULL,
    taskhash TEXT NOT NULL, unihash TEXT NOT NULL, created DATETIME, owner TEXT, PN TEXT,
    PV TEXT, PR TEXT, task TEXT, outhash_siginfo TEXT, UNIQUE (method, outhash, taskhash));
CREATE INDEX taskhash_lookup_v2 ON tasks_v2 (method, taskhash, created);
CREATE INDEX outhash_lookup_v2 ON tasks_v2 (method, outhash);";

const UNIHASHES_V2: &str = "
CREATE TABLE unihashes_v2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT, method TEXT NOT NULL, taskhash TEXT NOT NULL,
    unihash TEXT NOT NULL, UNIQUE (method, taskhash));
CREATE INDEX taskhash_lookup_v3 ON unihashes_v2 (method, taskhash);";

const OUTHASHES_V2: &str = "
CREATE TABLE outhashes_v2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT, method TEXT NOT NULL, taskhash TEXT NOT NULL,
    outhash TEXT NOT NULL, created DATETIME, owner TEXT, PN TEXT, PV TEXT, PR TEXT, task TEXT,
    outhash_siginfo TEXT, UNIQUE (method, taskhash, outhash));
CREATE INDEX outhash_lookup_v3 ON outhashes_v2 (method, outhash);";

/// A directory with a reference database that is being made.
pub(super) struct Farm {
    directory: TempDir,
    pub(super) conn: Connection,
}

impl Farm {
    /// With the tables that `sql` makes.
    pub(super) fn with_schema(sql: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let conn = Connection::open(directory.path().join("hashserv.db")).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
            .unwrap();
        conn.execute_batch(sql).unwrap();
        Self { directory, conn }
    }

    pub(super) fn tasks_v2() -> Self {
        Self::with_schema(TASKS_V2)
    }

    pub(super) fn unihashes_v2() -> Self {
        Self::with_schema(&[UNIHASHES_V2, OUTHASHES_V2].concat())
    }

    /// The current schema.
    pub(super) fn current() -> Self {
        Self::with_schema(&CURRENT_SCHEMA.concat())
    }

    pub(super) fn add_unihashes_v2(&self) {
        self.conn.execute_batch(UNIHASHES_V2).unwrap();
    }

    pub(super) fn source(&self) -> PathBuf {
        self.path("hashserv.db")
    }

    pub(super) fn target(&self) -> PathBuf {
        self.path("hashserv.db.fingerpost")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Names of the files in the directory.
    pub(super) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(super) fn run(&self, sql: &str, values: &[&dyn ToSql]) {
        self.conn.execute(sql, values).unwrap();
    }

    /// Adds a row of the current relation U.
    pub(super) fn mapping(&self, method: &str, taskhash: &str, unihash: &str, mark: &str) {
        self.run(
            "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark) VALUES (?, ?, ?, ?)",
            &[&method, &taskhash, &unihash, &mark],
        );
    }

    /// Adds a row of the relation O without metadata.
    pub(super) fn output(&self, method: &str, taskhash: &str, outhash: &str, created: &str) {
        self.run(
            "INSERT INTO outhashes_v2 (method, taskhash, outhash, created) VALUES (?, ?, ?, ?)",
            &[&method, &taskhash, &outhash, &created],
        );
    }

    /// Adds `count` tasks, each with an output, metadata and a listing.
    pub(super) fn builds(&self, numbers: std::ops::Range<u32>) {
        self.conn.execute_batch("BEGIN").unwrap();
        for number in numbers {
            let method = ["TestMethod", "m:do_package"][number as usize % 2];
            let (taskhash, outhash) = (hash("t", number), hash("o", number));
            self.mapping(method, &taskhash, &hash("u", number), "");
            self.run(
                "INSERT INTO outhashes_v2 (method, taskhash, outhash, created, owner, PN, PV, PR,
                     task, outhash_siginfo) VALUES (?, ?, ?, ?, ?, ?, '1.0', 'r0', 'package', ?)",
                &[
                    &method,
                    &taskhash,
                    &outhash,
                    &Timestamp(i64::from(number) * 1_000_001).to_python_iso(),
                    &(number % 3 == 0).then_some("me"),
                    &format!("recipe-{}", number % 5),
                    &listing(number),
                ],
            );
        }
        self.conn.execute_batch("COMMIT").unwrap();
    }

    pub(super) fn import(&self) -> ImportReport {
        self.import_with(&OPTIONS, &mut Silent).unwrap()
    }

    pub(super) fn import_with(
        &self,
        options: &ImportOptions<'_>,
        progress: &mut dyn Progress,
    ) -> Result<ImportReport, ImportError> {
        import(&self.source(), &self.target(), options, progress)
    }

    /// Opens the imported database, which has to be sound.
    pub(super) fn imported(&self) -> Connection {
        let conn = Connection::open(self.target()).unwrap();
        let check: String = conn
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        conn
    }
}

/// A hash as 64 hex digits.
pub(super) fn hash(kind: &str, number: u32) -> String {
    let bytes = Sha256::digest(format!("{kind}{number}"));
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A listing; those of the same recipe resemble each other.
pub(super) fn listing(number: u32) -> String {
    let line = |line: u32| {
        let changed = if line.is_multiple_of(20) {
            number
        } else {
            number % 5
        };
        format!(
            "-rw-r--r-- root root 100 {} ./usr/file-{line}\n",
            hash(&line.to_string(), changed)
        )
    };
    (0..60).map(line).collect()
}

/// `(method, taskhash, unihash, mark)` of a Fingerpost database, sorted.
pub(super) fn mappings(conn: &Connection) -> Vec<[String; 4]> {
    let sql = "SELECT method.name, task.taskhash, unihash.unihash, collection.mark
                 FROM unihash JOIN task ON task.id = unihash.task
                 JOIN method ON method.id = task.method
                 JOIN collection ON collection.id = unihash.collection";
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let taskhash: Hash<Taskhash> = row.get(1)?;
        let unihash: Hash<Unihash> = row.get(2)?;
        Ok([
            row.get(0)?,
            taskhash.0.to_text(),
            unihash.0.to_text(),
            row.get(3)?,
        ])
    });
    let mut rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    rows.sort();
    rows
}

/// `(id, method, taskhash, outhash, created)` of a Fingerpost database, by id.
pub(super) fn outputs(conn: &Connection) -> Vec<(i64, String, String, String, Option<String>)> {
    let sql = "SELECT outhash.id, method.name, task.taskhash, outhash.outhash, outhash.created
                 FROM outhash JOIN task ON task.id = outhash.task
                 JOIN method ON method.id = outhash.method ORDER BY outhash.id";
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let taskhash: Hash<Taskhash> = row.get(2)?;
        let outhash: Hash<Outhash> = row.get(3)?;
        let created: Created = row.get(4)?;
        let texts = (taskhash.0.to_text(), outhash.0.to_text());
        Ok((
            row.get(0)?,
            row.get(1)?,
            texts.0,
            texts.1,
            created.into_text(),
        ))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Every row of a query over a reference database, as text with types.
pub(super) fn rows(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let value = |column| Ok(short(row.get(column)?));
        let values: rusqlite::Result<Vec<String>> = (0..columns).map(value).collect();
        Ok(values?.join(" "))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// A value with its type; of a long text its hash, so that a failure can be read.
fn short(value: rusqlite::types::Value) -> String {
    match value {
        rusqlite::types::Value::Text(text) if text.len() > 80 => hash(&text, 0),
        value => format!("{value:?}"),
    }
}

/// One number.
pub(super) fn number(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Stops at the `left`-th call, as a kill would.
pub(super) struct StopAfter {
    pub(super) left: u32,
    pub(super) stages: Vec<Stage>,
    pub(super) notes: Vec<String>,
}

impl StopAfter {
    pub(super) fn calls(left: u32) -> Self {
        Self {
            left,
            stages: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Progress for StopAfter {
    fn begin(&mut self, stage: Stage, _: u64) {
        self.stages.push(stage);
    }

    fn advance(&mut self, _: u64) -> ControlFlow<()> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }

    fn note(&mut self, line: &str) {
        self.notes.push(line.to_owned());
    }
}

/// Copies a database that is open, with its journal, as a kill would leave it.
pub(super) fn copy_as_it_is(from: &Path, to: &Path) {
    for suffix in ["", "-journal", "-rows"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        if with(from).exists() {
            std::fs::copy(with(from), with(to)).unwrap();
        }
    }
}
