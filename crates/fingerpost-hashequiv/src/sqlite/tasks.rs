//! Interned names: methods, tasks and metadata.

use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};
use rusqlite::{Connection, OptionalExtension as _};

use super::value::Hash;
use crate::cache::MethodId;
use crate::namespace::NamespaceId;
use crate::store::Metadata;

/// The number of a method.
pub(super) fn find_method(conn: &Connection, name: &str) -> rusqlite::Result<Option<MethodId>> {
    conn.prepare_cached("SELECT id FROM method WHERE name = ?1")?
        .query_row([name], |row| row.get(0).map(MethodId))
        .optional()
}

/// The number of a method, which is added when it is new.
pub(crate) fn intern_method(conn: &Connection, name: &str) -> rusqlite::Result<MethodId> {
    if let Some(id) = find_method(conn, name)? {
        return Ok(id);
    }
    conn.prepare_cached("INSERT INTO method (name) VALUES (?1) RETURNING id")?
        .query_row([name], |row| row.get(0).map(MethodId))
}

/// A task with the unihash that it has.
pub(crate) struct KnownTask {
    pub(crate) id: i64,
    pub(crate) unihash: Option<Unihash>,
    pub(crate) used_day: Option<i64>,
}

/// Finds a task.
pub(crate) fn find_task(
    conn: &Connection,
    at: NamespaceId,
    method: MethodId,
    taskhash: &Taskhash,
) -> rusqlite::Result<Option<KnownTask>> {
    conn.prepare_cached(
        "SELECT task.id, unihash.unihash, unihash.used_day
           FROM task LEFT JOIN unihash ON unihash.task = task.id
          WHERE task.namespace = ?1 AND task.method = ?2 AND task.taskhash = ?3",
    )?
    .query_row((at.0, method.0, Hash(taskhash)), |row| {
        Ok(KnownTask {
            id: row.get(0)?,
            unihash: row.get::<_, Option<Hash<Unihash>>>(1)?.map(|hash| hash.0),
            used_day: row.get(2)?,
        })
    })
    .optional()
}

/// A task in the first of some namespaces in which it has a unihash.
pub(super) struct NamedTask {
    pub(super) at: NamespaceId,
    pub(super) id: i64,
    pub(super) unihash: Unihash,
}

/// Finds a task in the first of `among` in which it has a unihash.
pub(super) fn find_named(
    conn: &Connection,
    among: impl IntoIterator<Item = NamespaceId>,
    method: MethodId,
    taskhash: &Taskhash,
) -> rusqlite::Result<Option<NamedTask>> {
    for at in among {
        let known = find_task(conn, at, method, taskhash)?;
        let named = known.and_then(|known| Some((known.id, known.unihash?)));
        if let Some((id, unihash)) = named {
            return Ok(Some(NamedTask { at, id, unihash }));
        }
    }
    Ok(None)
}

/// Adds a task that [`find_task`] did not find.
pub(crate) fn insert_task(
    conn: &Connection,
    at: NamespaceId,
    method: MethodId,
    taskhash: &Taskhash,
) -> rusqlite::Result<i64> {
    conn.prepare_cached("INSERT INTO task (namespace, method, taskhash) VALUES (?1, ?2, ?3)")?
        .insert((at.0, method.0, Hash(taskhash)))
}

/// Removes a task that neither relation names any more.
pub(super) fn remove_unused_task(conn: &Connection, task: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM task WHERE id = ?1
            AND NOT EXISTS (SELECT 1 FROM unihash WHERE task = ?1)
            AND NOT EXISTS (SELECT 1 FROM outhash WHERE task = ?1)",
    )?
    .execute([task])?;
    Ok(())
}

/// The number of a combination of metadata, which is added when it is new.
/// `None` when nothing is told.
pub(crate) fn intern_metadata(
    conn: &Connection,
    metadata: &Metadata,
) -> rusqlite::Result<Option<i64>> {
    if *metadata == Metadata::default() {
        return Ok(None);
    }
    let values = (
        &metadata.pn,
        &metadata.task,
        &metadata.pv,
        &metadata.pr,
        &metadata.owner,
    );
    let known = conn
        .prepare_cached(
            "SELECT id FROM metadata
              WHERE ifnull(pn, X'') = ifnull(?1, X'') AND ifnull(task, X'') = ifnull(?2, X'')
                AND ifnull(pv, X'') = ifnull(?3, X'') AND ifnull(pr, X'') = ifnull(?4, X'')
                AND ifnull(owner, X'') = ifnull(?5, X'')",
        )?
        .query_row(values, |row| row.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(known);
    }
    conn.prepare_cached(
        "INSERT INTO metadata (pn, task, pv, pr, owner) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .insert(values)
    .map(Some)
}
