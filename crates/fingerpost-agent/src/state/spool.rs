//! The reports that wait for the server.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::Tx;
use fingerpost_hashequiv_proto::types::{Method, Outhash, Task, Taskhash, Unihash};
use rusqlite::{Connection, Row};

use super::provisional::{Change, Index};
use super::report::ReportKind;
use super::value::Hash;

/// Reports that are read at once, at most.
const BATCH_ROWS: usize = 64;
/// Bytes of reports that are read at once; the first one is read whatever it has.
const BATCH_BYTES: usize = 4 << 20;

/// A report that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    pub(super) id: i64,
    /// 16 random bytes, the same whenever this report is delivered.
    pub key: [u8; 16],
    /// Which command it is.
    pub kind: ReportKind,
    /// Where it belongs.
    pub namespace: String,
    /// The reported task.
    pub task: Task,
    /// What it produced.
    pub outhash: Option<Outhash>,
    /// The name of the profile of who reported, if it is not the default.
    pub profile: Option<String>,
    /// The account that reported, if it was somebody with a login of their own.
    pub user: Option<String>,
    /// The argument of the command as JSON.
    pub request: String,
    /// When the build was answered.
    pub at: Timestamp,
}

/// How full the spool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) reports: u64,
    pub(super) bytes: u64,
    /// When the first one came.
    pub(super) oldest: Option<Timestamp>,
}

impl Tally {
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached(
            "SELECT reports, bytes, (SELECT at FROM spool ORDER BY id LIMIT 1) FROM tally",
        )?
        .query_row([], |row| {
            Ok(Self {
                reports: row.get(0)?,
                bytes: row.get(1)?,
                oldest: row.get::<_, Option<i64>>(2)?.map(Timestamp),
            })
        })
    }
}

/// A task as the columns of a key.
pub(super) fn key<'a>(
    namespace: &'a str,
    task: &'a Task,
) -> (&'a str, &'a str, Hash<&'a Taskhash>) {
    (namespace, task.method.as_str(), Hash(&task.taskhash))
}

/// Reads what comes first behind `after`, a bounded part of it.
pub(super) fn next(conn: &Connection, after: i64) -> rusqlite::Result<Vec<Spooled>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, key, kind, namespace, method, taskhash, at, profile, request, outhash, user
           FROM spool WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = statement.query((after, BATCH_ROWS as u64))?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES
        && let Some(row) = rows.next()?
    {
        let report = read(row)?;
        bytes += report.request.len();
        batch.push(report);
    }
    Ok(batch)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Spooled> {
    Ok(Spooled {
        id: row.get(0)?,
        key: row.get(1)?,
        kind: ReportKind::parse(row.get_ref(2)?.as_str()?),
        namespace: row.get(3)?,
        task: Task {
            method: Method::new(row.get::<_, String>(4)?),
            taskhash: row.get::<_, Hash<Taskhash>>(5)?.0,
        },
        at: Timestamp(row.get(6)?),
        profile: row.get(7)?,
        request: row.get(8)?,
        outhash: row
            .get::<_, Option<Hash<Outhash>>>(9)?
            .map(|outhash| outhash.0),
        user: row.get(10)?,
    })
}

/// A report that has not to wait any more.
#[derive(Clone)]
pub(super) struct Gone {
    id: i64,
    namespace: String,
    task: Task,
    /// What the server says of the task, if it says anything.
    unihash: Option<Unihash>,
}

impl Gone {
    pub(super) fn new(report: &Spooled, unihash: Option<Unihash>) -> Self {
        Self {
            id: report.id,
            namespace: report.namespace.clone(),
            task: report.task.clone(),
            unihash,
        }
    }
}

/// Removes reports, and the local answers of tasks that have no other one.
pub(super) fn remove(tx: &mut Tx<'_>, index: &Arc<Index>, gone: &[Gone]) -> rusqlite::Result<()> {
    let conn = tx.conn();
    let mut changes = Vec::new();
    for report in gone {
        let removed = conn
            .prepare_cached("DELETE FROM spool WHERE id = ?1")?
            .execute([report.id])?;
        if removed > 0 {
            changes.extend(replace_answer(conn, report)?);
        }
    }
    let (index, tally) = (Arc::clone(index), Tally::read(conn)?);
    tx.after_commit(Box::new(move || index.apply(changes, tally)));
    Ok(())
}

/// The local answer goes with the task's last report. While there are others it
/// becomes the server's.
fn replace_answer(conn: &Connection, report: &Gone) -> rusqlite::Result<Option<Change>> {
    let (namespace, method, taskhash) = key(&report.namespace, &report.task);
    let waits = conn
        .prepare_cached(
            "SELECT 1 FROM spool WHERE namespace = ?1 AND method = ?2 AND taskhash = ?3",
        )?
        .exists((namespace, method, &taskhash))?;
    let owned = || (report.namespace.clone(), report.task.clone());
    if !waits {
        conn.prepare_cached(
            "DELETE FROM provisional WHERE namespace = ?1 AND method = ?2 AND taskhash = ?3",
        )?
        .execute((namespace, method, taskhash))?;
        let (namespace, task) = owned();
        return Ok(Some(Change::Remove(namespace, task)));
    }
    let Some(unihash) = &report.unihash else {
        return Ok(None);
    };
    conn.prepare_cached(
        "UPDATE provisional SET unihash = ?4
          WHERE namespace = ?1 AND method = ?2 AND taskhash = ?3",
    )?
    .execute((namespace, method, taskhash, Hash(unihash)))?;
    let (namespace, task) = owned();
    Ok(Some(Change::Put(namespace, task, unihash.clone())))
}

/// Reads all local answers.
pub(super) fn load(conn: &Connection, index: &Index) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare("SELECT namespace, method, taskhash, unihash FROM provisional")?;
    let rows = statement.query_map([], |row| {
        let task = Task {
            method: Method::new(row.get::<_, String>(1)?),
            taskhash: row.get::<_, Hash<Taskhash>>(2)?.0,
        };
        let unihash = row.get::<_, Hash<Unihash>>(3)?.0;
        Ok(Change::Put(row.get(0)?, task, unihash))
    })?;
    let answers: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    index.apply(answers, Tally::read(conn)?);
    Ok(())
}
