//! Answering a report in the server's place.

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::Tx;
use fingerpost_hashequiv_proto::rules::{self, Evidence};
use fingerpost_hashequiv_proto::types::{Outhash, Task, Unihash};
use rusqlite::{Connection, OptionalExtension as _};

use super::provisional::{Change, Index};
use super::spool::{self, Tally};
use super::value::Hash;

/// What a row costs beside its text, generously: indexes, the provisional answer and
/// its copy in memory.
const ROW_BYTES: u64 = 1024;

/// Which command a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// A task has an output.
    Report,
    /// A task is to be taken for another unihash.
    ReportEquiv,
}

impl ReportKind {
    /// The command's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::ReportEquiv => "report-equiv",
        }
    }

    pub(super) fn parse(name: &str) -> Self {
        match name {
            "report-equiv" => Self::ReportEquiv,
            _ => Self::Report,
        }
    }
}

/// A report that the server did not answer in time.
///
/// Whoever makes one has checked what the server would refuse at once: the proposed
/// unihash is valid, and there is a method and a taskhash.
#[derive(Clone, Debug)]
pub struct LocalReport {
    /// Which command it is.
    pub kind: ReportKind,
    /// Where it belongs, as the caller's profile says. Namespaces know nothing of each
    /// other.
    pub namespace: String,
    /// The reported task.
    pub task: Task,
    /// What the task produced; not with `report-equiv`.
    pub outhash: Option<Outhash>,
    /// The unihash that the reporter would like.
    pub proposed: Unihash,
    /// The argument of the command as JSON, as it has to be forwarded.
    pub request: String,
    /// The name of the profile of who reported, if it is not the default.
    pub profile: Option<String>,
    /// The account that reported, if it was somebody with a login of their own.
    pub user: Option<String>,
}

impl LocalReport {
    fn bytes(&self) -> u64 {
        self.request.len() as u64 + ROW_BYTES
    }
}

/// What a build is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAnswer {
    /// The unihash of the reported task.
    pub unihash: Unihash,
    /// Whether the server will hear of it. Not when the spool is full.
    pub spooled: bool,
}

/// Answers a report and puts it into the spool.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    index: &Arc<Index>,
    report: &LocalReport,
    known: Option<&Unihash>,
    now: Timestamp,
    bytes_max: u64,
) -> rusqlite::Result<LocalAnswer> {
    let conn = tx.conn();
    let told = told(conn, report)?;
    if let Some(unihash) = &told
        && is_repeated(conn, report)?
    {
        // Clients that got no answer in time ask again, and the server needs it once.
        return Ok(LocalAnswer {
            unihash: unihash.clone(),
            spooled: true,
        });
    }
    if Tally::read(conn)?.bytes.saturating_add(report.bytes()) > bytes_max {
        return Ok(LocalAnswer {
            unihash: report.proposed.clone(),
            spooled: false,
        });
    }
    let unihash = decide(conn, report, told.as_ref().or(known))?;
    if told.is_none() {
        insert_answer(conn, report, &unihash)?;
    }
    insert_report(conn, report, now)?;
    let change = Change::Put(
        report.namespace.clone(),
        report.task.clone(),
        unihash.clone(),
    );
    let (index, tally) = (Arc::clone(index), Tally::read(conn)?);
    tx.after_commit(Box::new(move || index.apply([change], tally)));
    Ok(LocalAnswer {
        unihash,
        spooled: true,
    })
}

fn decide(
    conn: &Connection,
    report: &LocalReport,
    existing: Option<&Unihash>,
) -> rusqlite::Result<Unihash> {
    let oldest_match = match (&report.outhash, report.kind) {
        (Some(outhash), ReportKind::Report) => oldest_match(conn, report, outhash)?,
        _ => None,
    };
    let verdict = match report.kind {
        ReportKind::Report => rules::settle(
            &report.proposed,
            Evidence {
                existing,
                oldest_match: oldest_match.as_ref(),
                ..Evidence::default()
            },
        ),
        ReportKind::ReportEquiv => rules::settle_equiv(&report.proposed, existing, None),
    };
    Ok(verdict.unihash().clone())
}

/// What was told of the task before.
fn told(conn: &Connection, report: &LocalReport) -> rusqlite::Result<Option<Unihash>> {
    conn.prepare_cached(
        "SELECT unihash FROM provisional
          WHERE namespace = ?1 AND method = ?2 AND taskhash = ?3",
    )?
    .query_row(spool::key(&report.namespace, &report.task), |row| {
        row.get::<_, Hash<Unihash>>(0).map(|hash| hash.0)
    })
    .optional()
}

/// The unihash of the task that was the first to report the output.
fn oldest_match(
    conn: &Connection,
    report: &LocalReport,
    outhash: &Outhash,
) -> rusqlite::Result<Option<Unihash>> {
    conn.prepare_cached(
        "SELECT provisional.unihash
           FROM spool CROSS JOIN provisional USING (namespace, method, taskhash)
          WHERE spool.namespace = ?1 AND spool.method = ?2 AND spool.outhash = ?3
          ORDER BY spool.id LIMIT 1",
    )?
    .query_row(
        (
            &report.namespace,
            report.task.method.as_str(),
            Hash(outhash),
        ),
        |row| row.get::<_, Hash<Unihash>>(0).map(|hash| hash.0),
    )
    .optional()
}

/// Whether the very same report waits already.
fn is_repeated(conn: &Connection, report: &LocalReport) -> rusqlite::Result<bool> {
    let (namespace, method, taskhash) = spool::key(&report.namespace, &report.task);
    conn.prepare_cached(
        "SELECT 1 FROM spool
          WHERE namespace = ?1 AND method = ?2 AND taskhash = ?3
            AND kind = ?4 AND profile IS ?5 AND user IS ?6 AND request = ?7",
    )?
    .exists((
        namespace,
        method,
        taskhash,
        report.kind.as_str(),
        &report.profile,
        &report.user,
        &report.request,
    ))
}

fn insert_answer(
    conn: &Connection,
    report: &LocalReport,
    unihash: &Unihash,
) -> rusqlite::Result<()> {
    let (namespace, method, taskhash) = spool::key(&report.namespace, &report.task);
    conn.prepare_cached(
        "INSERT INTO provisional (namespace, method, taskhash, unihash) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((namespace, method, taskhash, Hash(unihash)))?;
    Ok(())
}

fn insert_report(conn: &Connection, report: &LocalReport, now: Timestamp) -> rusqlite::Result<()> {
    let (namespace, method, taskhash) = spool::key(&report.namespace, &report.task);
    conn.prepare_cached(
        "INSERT INTO spool
           (key, kind, namespace, method, taskhash, outhash, at, bytes, profile, user,
            request)
         VALUES (randomblob(16), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        report.kind.as_str(),
        namespace,
        method,
        taskhash,
        report.outhash.as_ref().map(Hash),
        now.0,
        report.bytes(),
        &report.profile,
        &report.user,
        &report.request,
    ))?;
    Ok(())
}
