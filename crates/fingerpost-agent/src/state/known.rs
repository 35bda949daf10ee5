//! What the server answered, kept over restarts.
//!
//! The rows may be lost, so they are gathered and written now and then. An answer is
//! worth nothing without the deletion epoch that it was of: what the server deleted
//! since must not be answered, and an answer that was on its way meanwhile must not
//! come back.

use std::collections::VecDeque;

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_client::http::DeletionEpoch;
use fingerpost_hashequiv_proto::types::{Method, Task, Unihash};
use rusqlite::{Connection, OptionalExtension as _};

use super::value::Hash;

/// Answers that may wait to be written; more are let go.
const GATHERED_MAX: usize = 65_536;
/// Answers in one transaction. Reports wait for it.
const STORED_AT_ONCE: usize = 1000;
/// Of those that are too many, so many go with each transaction.
const DROPPED_AT_ONCE: u64 = 2 * STORED_AT_ONCE as u64;

/// An answer of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The unihash of the task.
    pub unihash: Unihash,
    /// The deletion epoch that it was of.
    pub epoch: u64,
    /// When it came.
    pub at: Timestamp,
}

/// Answers that wait to be stored, as they came.
#[derive(Default)]
pub(super) struct Gathered {
    parts: VecDeque<Learned>,
    answers: usize,
}

/// Answers of one epoch, no more than go into a transaction.
pub(super) struct Learned {
    namespace: String,
    of: DeletionEpoch,
    /// When the first of them came.
    at: Timestamp,
    answers: Vec<(Task, Unihash)>,
}

impl Gathered {
    /// Takes answers with hashes of 32 bytes. Gives whether they fill a transaction.
    pub(super) fn add(
        &mut self,
        namespace: &str,
        of: DeletionEpoch,
        answers: impl IntoIterator<Item = (Task, Unihash)>,
        at: Timestamp,
    ) -> bool {
        let room = GATHERED_MAX.saturating_sub(self.answers);
        let answers = answers
            .into_iter()
            .filter(|(task, unihash)| task.taskhash.as_bytes().is_some() && unihash.is_valid());
        for answer in answers.take(room) {
            self.answers += 1;
            let last = self.parts.back_mut();
            let goes_on = |part: &&mut Learned| {
                part.answers.len() < STORED_AT_ONCE && part.of == of && part.namespace == namespace
            };
            if let Some(part) = last.filter(goes_on) {
                part.answers.push(answer);
                continue;
            }
            self.parts.push_back(Learned {
                namespace: namespace.to_owned(),
                of,
                at,
                answers: vec![answer],
            });
        }
        self.answers >= STORED_AT_ONCE
    }

    /// The oldest of them, as many as go into a transaction; none when there are none.
    pub(super) fn take(&mut self) -> Vec<Learned> {
        let (mut taken, mut answers) = (Vec::new(), 0);
        while let Some(part) = self.parts.front() {
            answers += part.answers.len();
            if answers > STORED_AT_ONCE && !taken.is_empty() {
                break;
            }
            self.answers -= part.answers.len();
            taken.extend(self.parts.pop_front());
        }
        taken
    }

    /// Forgets those of a namespace.
    pub(super) fn forget_all(&mut self, namespace: &str) {
        self.parts.retain(|part| part.namespace != namespace);
        self.answers = self.parts.iter().map(|part| part.answers.len()).sum();
    }

    pub(super) const fn len(&self) -> usize {
        self.answers
    }
}

/// The number of answers in some parts.
pub(super) fn count(parts: &[Learned]) -> usize {
    parts.iter().map(|part| part.answers.len()).sum()
}

/// Where a namespace stands.
#[derive(Clone, Copy)]
struct Standing {
    epoch: DeletionEpoch,
    era: i64,
}

fn standing(conn: &Connection, namespace: &str) -> rusqlite::Result<Option<Standing>> {
    conn.prepare_cached("SELECT history, epoch, era FROM standing WHERE namespace = ?1")?
        .query_row([namespace], |row| {
            let epoch = DeletionEpoch {
                history: row.get(0)?,
                epoch: row.get(1)?,
            };
            let era = row.get(2)?;
            Ok(Standing { epoch, era })
        })
        .optional()
}

/// Up to which deletion the answers of a namespace are good.
pub(super) fn epoch(conn: &Connection, namespace: &str) -> rusqlite::Result<Option<DeletionEpoch>> {
    Ok(standing(conn, namespace)?.map(|standing| standing.epoch))
}

/// Moves a namespace on to `epoch`; `deleted` is what was deleted on the way. In
/// another history, or further back in this one, nothing that is known holds.
pub(super) fn set_epoch(
    conn: &Connection,
    namespace: &str,
    epoch: DeletionEpoch,
    deleted: &[Task],
) -> rusqlite::Result<()> {
    let before = standing(conn, namespace)?;
    let goes_on = before.is_none_or(|before| {
        before.epoch.history == epoch.history && before.epoch.epoch <= epoch.epoch
    });
    let era = before.map_or(0, |before| before.era) + i64::from(!goes_on);
    conn.prepare_cached(
        "INSERT INTO standing (namespace, history, epoch, era) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET history = excluded.history, epoch = excluded.epoch,
           era = excluded.era",
    )?
    .execute((namespace, epoch.history, epoch.epoch, era))?;
    forget(conn, namespace, deleted)
}

/// Forgets some answers.
fn forget(conn: &Connection, namespace: &str, tasks: &[Task]) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(
        "DELETE FROM known WHERE taskhash = ?3
            AND scope = (SELECT id FROM scope WHERE namespace = ?1 AND method = ?2)",
    )?;
    for task in tasks {
        statement.execute((namespace, task.method.as_str(), Hash(&task.taskhash)))?;
    }
    Ok(())
}

/// Forgets all answers of a namespace, however many they are.
pub(super) fn forget_all(conn: &Connection, namespace: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE standing SET era = era + 1 WHERE namespace = ?1")?
        .execute([namespace])?;
    Ok(())
}

/// From now on the answers of a namespace are judged by this; those that were judged by
/// something else are forgotten.
pub(super) fn judge(conn: &Connection, namespace: &str, judge: &str) -> rusqlite::Result<()> {
    let before: Option<String> = conn
        .prepare_cached("SELECT judge FROM judged WHERE namespace = ?1")?
        .query_row([namespace], |row| row.get(0))
        .optional()?;
    if before.unwrap_or_default() == judge {
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT INTO judged (namespace, judge) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET judge = excluded.judge",
    )?
    .execute((namespace, judge))?;
    forget_all(conn, namespace)
}

/// The answers for some tasks, in order.
pub(super) fn recall(
    conn: &Connection,
    namespace: &str,
    tasks: &[Task],
) -> rusqlite::Result<Vec<Option<Known>>> {
    let Some(standing) = standing(conn, namespace)? else {
        return Ok(vec![None; tasks.len()]);
    };
    let mut statement = conn.prepare_cached(
        "SELECT unihash, epoch, at FROM known
          WHERE scope = (SELECT id FROM scope WHERE namespace = ?1 AND method = ?2)
            AND taskhash = ?3 AND era = ?4",
    )?;
    let mut find = |task: &Task| {
        let values = (
            namespace,
            task.method.as_str(),
            Hash(&task.taskhash),
            standing.era,
        );
        let known = statement.query_row(values, |row| {
            Ok(Known {
                unihash: row.get::<_, Hash<Unihash>>(0)?.0,
                epoch: row.get(1)?,
                at: Timestamp(row.get(2)?),
            })
        });
        known.optional()
    };
    tasks.iter().map(&mut find).collect()
}

/// Stores answers that still hold, and drops the oldest of those that are too many.
pub(super) fn store(conn: &Connection, learned: &[Learned], rows_max: u64) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO known (scope, taskhash, unihash, era, epoch, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET unihash = excluded.unihash, era = excluded.era,
           epoch = excluded.epoch, at = excluded.at",
    )?;
    for part in learned {
        let Some(standing) = standing(conn, &part.namespace)? else {
            continue;
        };
        if !part.of.holds(standing.epoch) {
            continue;
        }
        let mut scope_of = ScopeOf::new(conn, &part.namespace);
        for (task, unihash) in &part.answers {
            insert.execute((
                scope_of.method(&task.method)?,
                Hash(&task.taskhash),
                Hash(unihash),
                standing.era,
                part.of.epoch,
                part.at.0,
            ))?;
        }
    }
    drop_oldest(conn, rows_max)
}

/// The numbers of (namespace, method) in one namespace; that of the method before, which is
/// nearly always that of the next, is at hand.
struct ScopeOf<'a> {
    conn: &'a Connection,
    namespace: &'a str,
    last: Option<(Method, i64)>,
}

impl<'a> ScopeOf<'a> {
    const fn new(conn: &'a Connection, namespace: &'a str) -> Self {
        Self {
            conn,
            namespace,
            last: None,
        }
    }

    fn method(&mut self, method: &Method) -> rusqlite::Result<i64> {
        if let Some((_, id)) = self.last.as_ref().filter(|(last, _)| last == method) {
            return Ok(*id);
        }
        let key = (self.namespace, method.as_str());
        self.conn
            .prepare_cached(
                "INSERT INTO scope (namespace, method) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(key)?;
        let id = self
            .conn
            .prepare_cached("SELECT id FROM scope WHERE namespace = ?1 AND method = ?2")?
            .query_row(key, |row| row.get(0))?;
        self.last = Some((method.clone(), id));
        Ok(id)
    }
}

/// Counting rows would read them all. Numbers are given in order, so that there are at
/// most as many rows as there are numbers from the first to the last.
fn drop_oldest(conn: &Connection, rows_max: u64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM known WHERE id IN (
           SELECT id FROM known WHERE id <= (SELECT max(id) FROM known) - ?1
            ORDER BY id LIMIT ?2)",
    )?
    .execute((rows_max, DROPPED_AT_ONCE))?;
    Ok(())
}
