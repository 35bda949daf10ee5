//! Signing the rows of a database file, beside a server or without one.
//!
//! Everything goes in short transactions, so that a server's writes go between them, and
//! what is signed already is passed over: who was stopped runs it again.

use std::path::Path;
use std::time::Duration;

use fingerpost_db::{OpenError, Settings};
use fingerpost_signatures::{KeyId, Row, Signature};
use rusqlite::types::{ToSql, Value};
use rusqlite::{Connection, TransactionBehavior};

use crate::sqlite::{Hash, MIGRATIONS, insert_signature};

/// Rows of one transaction at most: a few milliseconds, which other writers wait.
const BATCH_ROWS: i64 = 200;
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a revocation means for the rows of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Rows that the key signed.
    pub signed: u64,
    /// Those of them that no other believed key signed: they become misses for
    /// readers that require signatures.
    pub misses: u64,
}

/// Counts what the revocation of `key` means while `believed` are the other keys that
/// readers believe. Reads only; a database of an older version has no signatures.
pub fn revocation(path: &Path, key: KeyId, believed: &[KeyId]) -> Result<Revocation, SigningError> {
    let conn = fingerpost_db::connect_read_only(&Settings::new(path), MIGRATIONS)?;
    let has_table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'signature')";
    if !conn.query_row(has_table, [], |row| row.get(0))? {
        return Ok(Revocation::default());
    }
    let others = vec!["?"; believed.len()].join(", ");
    let count = format!(
        "SELECT count(*), ifnull(sum(NOT EXISTS (SELECT 1 FROM signature AS other
                 WHERE other.output = signature.output AND other.key IN ({others}))), 0)
           FROM signature WHERE key = ?"
    );
    let keys = believed.iter().chain([&key]);
    let keys = keys.map(|key| Value::Blob(key.to_bytes().to_vec()));
    let keys = rusqlite::params_from_iter(keys);
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Revocation {
            signed: row.get(0)?,
            misses: row.get(1)?,
        })
    };
    Ok(conn.query_row(&count, keys, read)?)
}

/// Rows could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The database does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing it failed.
    #[error("the database failed")]
    Database(#[from] rusqlite::Error),
}

/// Which rows are signed.
#[derive(Clone, Debug)]
pub enum Which {
    /// All with a valid unihash, of one namespace or of all, that `key` did not sign.
    Existing {
        /// The key that signs.
        key: KeyId,
        /// The name of the namespace.
        namespace: Option<String>,
    },
    /// Those that `from` signed and `to` did not.
    SignedBy {
        /// The key that signed.
        from: KeyId,
        /// The key that signs.
        to: KeyId,
    },
}

/// How far a walk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Go on after this row; `None` when nothing follows.
    pub next: Option<i64>,
    /// Rows that were signed in this step.
    pub signed: u64,
    /// Rows that the signer left out in this step.
    pub left_out: u64,
}

/// A database whose rows are signed.
pub struct Rows {
    conn: Connection,
    which: Which,
}

impl Rows {
    /// Opens a database that exists, and brings it up to date.
    pub fn open(path: &Path, which: Which) -> Result<Self, SigningError> {
        // Only to say so when there is none: opening would make it.
        fingerpost_db::connect_read_only(&Settings::new(path), MIGRATIONS)?;
        let conn = fingerpost_db::connect(&Settings::new(path), MIGRATIONS)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.execute_batch("PRAGMA wal_autocheckpoint = 2000")?;
        Ok(Self { conn, which })
    }

    /// Whether there is a namespace of this name.
    pub fn has_namespace(&self, name: &str) -> Result<bool, SigningError> {
        let exists = "SELECT EXISTS (SELECT 1 FROM namespace WHERE name = ?1)";
        Ok(self.conn.query_row(exists, [name], |row| row.get(0))?)
    }

    /// The number of the last row that a walk comes to, for showing progress.
    pub fn last(&self) -> Result<i64, SigningError> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, Option<i64>>(0);
        let last = match &self.which {
            Which::Existing { .. } => self.conn.query_row("SELECT max(id) FROM outhash", [], read),
            Which::SignedBy { from, .. } => self.conn.query_row(
                "SELECT max(output) FROM signature WHERE key = ?1",
                [from.to_bytes()],
                read,
            ),
        };
        Ok(last?.unwrap_or(0))
    }

    /// Signs the next rows after the one numbered `after`, in one transaction. `sign`
    /// gets the row, and the signature that is there for [`Which::SignedBy`].
    pub fn step(
        &mut self,
        after: i64,
        mut sign: impl FnMut(&Row, Option<&str>) -> Option<Signature>,
    ) -> Result<Step, SigningError> {
        let behavior = TransactionBehavior::Immediate;
        let tx = self.conn.transaction_with_behavior(behavior)?;
        let (found, next) = match &self.which {
            Which::Existing { key, namespace } => existing(&tx, *key, namespace.as_ref(), after)?,
            Which::SignedBy { from, to } => signed_by(&tx, *from, *to, after)?,
        };
        let mut step = Step {
            next,
            ..Step::default()
        };
        for one in &found {
            match sign(&one.row, one.signature.as_deref()) {
                Some(signature) => {
                    insert_signature(&tx, (one.output, one.task), &signature)?;
                    step.signed += 1;
                }
                None => step.left_out += 1,
            }
        }
        tx.commit()?;
        Ok(step)
    }
}

/// A row that can be signed.
struct Signable {
    output: i64,
    task: i64,
    row: Row,
    signature: Option<String>,
}

type Found = (Vec<Signable>, Option<i64>);

/// What the query reads of the joined tables.
const COLUMNS: &str = "outhash.id, outhash.task, namespace.name, method.name, task.taskhash,
        outhash.outhash, unihash.unihash";
const JOINS: &str = "CROSS JOIN task ON task.id = outhash.task
   CROSS JOIN unihash ON unihash.task = outhash.task
   CROSS JOIN namespace ON namespace.id = outhash.namespace
   CROSS JOIN method ON method.id = outhash.method";

/// A stretch of all rows.
fn existing(
    conn: &Connection,
    key: KeyId,
    namespace: Option<&String>,
    after: i64,
) -> rusqlite::Result<Found> {
    let until = after.saturating_add(BATCH_ROWS);
    let select = format!(
        "SELECT {COLUMNS}, NULL FROM outhash NOT INDEXED {JOINS}
          WHERE outhash.id > ?1 AND outhash.id <= ?2 AND typeof(unihash.unihash) = 'blob'
            AND (?3 IS NULL OR namespace.name = ?3)
            AND NOT EXISTS (SELECT 1 FROM signature WHERE output = outhash.id AND key = ?4)
          ORDER BY outhash.id"
    );
    let found = read(
        conn,
        &select,
        &[&after, &until, &namespace, &key.to_bytes()],
    )?;
    // A gap, which a sweep may have left, is skipped.
    let following: Option<i64> = conn
        .prepare_cached("SELECT min(id) FROM outhash WHERE id > ?1")?
        .query_row([until], |row| row.get(0))?;
    Ok((found, following.map(|id| id - 1)))
}

/// The next rows that one key signed and another did not.
fn signed_by(conn: &Connection, from: KeyId, to: KeyId, after: i64) -> rusqlite::Result<Found> {
    let select = format!(
        "SELECT {COLUMNS}, signature.text
           FROM signature CROSS JOIN outhash ON outhash.id = signature.output {JOINS}
          WHERE signature.key = ?1 AND signature.output > ?2
            AND NOT EXISTS (SELECT 1 FROM signature AS other
                             WHERE other.output = signature.output AND other.key = ?3)
          ORDER BY signature.output LIMIT ?4"
    );
    let (from, to) = (from.to_bytes(), to.to_bytes());
    let found = read(conn, &select, &[&from, &after, &to, &BATCH_ROWS])?;
    let is_full = found.len() as i64 == BATCH_ROWS;
    let next = found.last().map(|last| last.output);
    Ok((found, next.filter(|_| is_full)))
}

fn read(conn: &Connection, select: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Vec<Signable>> {
    let mut statement = conn.prepare_cached(select)?;
    let rows = statement.query_map(values, |row| {
        Ok(Signable {
            output: row.get(0)?,
            task: row.get(1)?,
            row: Row {
                namespace: row.get(2)?,
                method: row.get::<_, String>(3)?.as_str().into(),
                taskhash: row.get::<_, Hash<_>>(4)?.0,
                outhash: row.get::<_, Hash<_>>(5)?.0,
                unihash: row.get::<_, Hash<_>>(6)?.0,
            },
            signature: row.get(7)?,
        })
    })?;
    rows.collect()
}
