//! Rows to sign, and what a key signed.

use fingerpost_hashequiv_proto::types::Method;
use fingerpost_signatures::KeyId;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::value::Hash;
use super::{SqliteStore, failed};
use crate::copying::CopyPage;
use crate::namespace::NamespaceId;
use crate::signing::{Revocation, Signable, SigningStore, Which};
use crate::store::{Stored, Task};

impl SigningStore for SqliteStore {
    fn signable(
        &self,
        at: NamespaceId,
        which: Which,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<Signable>> {
        Box::pin(async move {
            let job = move |conn: &Connection| page(conn, at, which, after, limit);
            self.db.read(job).await.map_err(failed)
        })
    }
}

/// All rows; with the namespace, the row before and how many are looked at as `?1` to `?3`.
const ALL: &str = "
    SELECT id, task, method, outhash, NULL AS text FROM outhash NOT INDEXED
     WHERE namespace = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
/// Those that the key `?5` signed.
const SIGNED: &str = "
    SELECT outhash.id, outhash.task, outhash.method, outhash.outhash, signature.text
      FROM signature CROSS JOIN outhash ON outhash.id = signature.output
     WHERE signature.key = ?5 AND signature.output > ?2 AND outhash.namespace = ?1
     ORDER BY signature.output LIMIT ?3";

fn page(
    conn: &Connection,
    at: NamespaceId,
    which: Which,
    after: i64,
    limit: usize,
) -> rusqlite::Result<CopyPage<Signable>> {
    let signer = which.signer().to_bytes();
    let (looked_at, from) = match which {
        Which::Existing { .. } => (ALL, None),
        Which::SignedBy { from, .. } => (SIGNED, Some(from.to_bytes())),
    };
    // Without a unihash, or signed by the signer: looked at, and passed over.
    let mut statement = conn.prepare_cached(&format!(
        "SELECT looked_at.id, method.name, task.taskhash, looked_at.outhash, unihash.unihash,
                looked_at.text
           FROM ({looked_at}) AS looked_at
          CROSS JOIN task ON task.id = looked_at.task
          CROSS JOIN method ON method.id = looked_at.method
           LEFT JOIN unihash ON unihash.task = looked_at.task
                AND typeof(unihash.unihash) = 'blob'
                AND NOT EXISTS (SELECT 1 FROM signature
                                 WHERE output = looked_at.id AND key = ?4)
          ORDER BY looked_at.id"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| Ok((row.get(0)?, signable(row)?));
    let rows = match from {
        None => statement.query_map((at.0, after, limit, signer), read),
        Some(from) => statement.query_map((at.0, after, limit, signer, from), read),
    };
    let rows: Vec<(i64, Option<Signable>)> = rows?.collect::<rusqlite::Result<_>>()?;
    let is_full = rows.len() as i64 >= limit;
    let last = rows.last().map(|(id, _)| *id);
    Ok(CopyPage {
        next: last.filter(|_| is_full),
        rows: rows.into_iter().filter_map(|(_, row)| row).collect(),
    })
}

fn signable(row: &Row<'_>) -> rusqlite::Result<Option<Signable>> {
    let Some(unihash) = row.get::<_, Option<Hash<_>>>(4)? else {
        return Ok(None);
    };
    Ok(Some(Signable {
        task: Task {
            method: Method::new(row.get::<_, String>(1)?),
            taskhash: row.get::<_, Hash<_>>(2)?.0,
        },
        outhash: row.get::<_, Hash<_>>(3)?.0,
        unihash: unihash.0,
        signature: row.get(5)?,
    }))
}

/// Counts the rows that a key signed, and those of them that no other of these keys signed.
pub(crate) fn revocation(
    conn: &Connection,
    key: KeyId,
    believed: &[KeyId],
) -> rusqlite::Result<Revocation> {
    let others = vec!["?"; believed.len()].join(", ");
    let count = format!(
        "SELECT count(*), ifnull(sum(NOT EXISTS (SELECT 1 FROM signature AS other
                 WHERE other.output = signature.output AND other.key IN ({others}))), 0)
           FROM signature WHERE key = ?"
    );
    let keys = believed.iter().chain([&key]);
    let keys = keys.map(|key| Value::Blob(key.to_bytes().to_vec()));
    conn.query_row(&count, rusqlite::params_from_iter(keys), |row| {
        Ok(Revocation {
            signed: row.get(0)?,
            misses: row.get(1)?,
        })
    })
}
