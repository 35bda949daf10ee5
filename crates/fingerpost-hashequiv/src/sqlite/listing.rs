//! Siginfo listings in the database.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};

use super::tasks::find_method;
use super::{SqliteStore, failed};
use crate::cache::MethodId;
use crate::listings::{BaseListing, Bases, Family, Prepared, StoredListing, prepare};
use crate::siginfo::{self, Digest, Encoded, Promise};
use crate::store::{Report, StoreError};

impl SqliteStore {
    /// Encodes a report's listing against the newest base of its family.
    pub(super) async fn prepare_listing(
        &self,
        report: &Report,
    ) -> Result<Option<Prepared>, StoreError> {
        let Some(text) = report.siginfo.clone() else {
            return Ok(None);
        };
        let family = Family::of(report, None);
        let base = match &family {
            Some(family) => self.base(family).await?,
            None => None,
        };
        prepare(text, base, family).await.map(Some)
    }

    async fn base(&self, family: &Family) -> Result<Option<Arc<BaseListing>>, StoreError> {
        if let Some(base) = self.bases.get(family) {
            return Ok(Some(base));
        }
        let wanted = family.clone();
        let read = self.db.read(move |conn| read_base(conn, &wanted));
        let Some((digest, listing)) = read.await.map_err(failed)? else {
            return Ok(None);
        };
        let base = listing.into_base(digest)?;
        self.bases.put(family.clone(), Arc::clone(&base));
        Ok(Some(base))
    }
}

/// Stores a listing and returns its number; an equal one is stored once.
pub(super) fn store(
    tx: &mut fingerpost_db::Tx<'_>,
    method: MethodId,
    text: &str,
    prepared: &Prepared,
    bases: &Arc<Bases>,
) -> rusqlite::Result<i64> {
    let conn = tx.conn();
    let known = conn
        .prepare_cached("SELECT id FROM siginfo WHERE digest = ?1")?
        .query_row([&prepared.digest.0], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    if let (Some(Encoded::Delta(data)), Some(base)) = (&prepared.encoded, &prepared.base)
        && let Some(base) = find_base(conn, base.digest)?
    {
        return insert(conn, prepared.digest, Some(base), text.len(), data);
    }
    // No base, or the one that was taken has been removed meanwhile.
    let fresh = prepared.fresh(text);
    let id = insert(conn, prepared.digest, None, text.len(), &fresh)?;
    if let Some(family) = &prepared.family {
        set_base(conn, method, family, id)?;
        remember_base(tx, family, prepared.digest, text, fresh.len(), bases);
    }
    Ok(id)
}

/// The number of a base, if it is still stored.
fn find_base(conn: &Connection, digest: Digest) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM siginfo WHERE digest = ?1 AND base IS NULL")?
        .query_row([digest.0], |row| row.get(0))
        .optional()
}

fn insert(
    conn: &Connection,
    digest: Digest,
    base: Option<i64>,
    length: usize,
    data: &[u8],
) -> rusqlite::Result<i64> {
    conn.prepare_cached("INSERT INTO siginfo (digest, base, length, data) VALUES (?1, ?2, ?3, ?4)")?
        .insert((digest.0, base, length as i64, data))
}

fn set_base(conn: &Connection, method: MethodId, family: &Family, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO siginfo_family (method, pn, task, base) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET base = excluded.base",
    )?
    .execute((method.0, &family.pn, &family.task, id))?;
    Ok(())
}

fn remember_base(
    tx: &mut fingerpost_db::Tx<'_>,
    family: &Family,
    digest: Digest,
    text: &str,
    stored_bytes: usize,
    bases: &Arc<Bases>,
) {
    let (bases, family) = (Arc::clone(bases), family.clone());
    let base = Arc::new(BaseListing {
        digest,
        text: text.to_owned(),
        stored_bytes,
    });
    tx.after_commit(Box::new(move || bases.put(family, base)));
}

fn read_base(
    conn: &Connection,
    family: &Family,
) -> rusqlite::Result<Option<(Digest, StoredListing)>> {
    let Some(method) = find_method(conn, family.method.as_str())? else {
        return Ok(None);
    };
    conn.prepare_cached(
        "SELECT siginfo.digest, siginfo.length, siginfo.data
           FROM siginfo_family CROSS JOIN siginfo ON siginfo.id = siginfo_family.base
          WHERE siginfo_family.method = ?1 AND siginfo_family.pn = ?2 AND siginfo_family.task = ?3
            AND siginfo.base IS NULL",
    )?
    .query_row((method.0, &family.pn, &family.task), |row| {
        let digest = Digest(row.get(0)?);
        let listing = StoredListing {
            promise: Promise {
                length: row.get(1)?,
                digest,
            },
            data: row.get(2)?,
            base: None,
        };
        Ok((digest, listing))
    })
    .optional()
}

/// Reads a listing's row. `None` when there is no such row.
pub(super) fn read(conn: &Connection, id: i64) -> rusqlite::Result<Option<StoredListing>> {
    conn.prepare_cached(
        "SELECT own.length, own.digest, own.data, base.length, base.digest, base.data
           FROM siginfo AS own LEFT JOIN siginfo AS base ON base.id = own.base
          WHERE own.id = ?1",
    )?
    .query_row([id], |row| {
        let promise = |length, digest: usize| {
            Ok::<_, rusqlite::Error>(Promise {
                length,
                digest: Digest(row.get(digest)?),
            })
        };
        let base = match row.get(3)? {
            Some(length) => Some((promise(length, 4)?, row.get(5)?)),
            None => None,
        };
        Ok(StoredListing {
            promise: promise(row.get(0)?, 1)?,
            data: row.get(2)?,
            base,
        })
    })
    .optional()
}

/// The number of the listing with exactly this text.
pub(super) fn find(conn: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM siginfo WHERE digest = ?1")?
        .query_row([Digest::of(text.as_bytes()).0], |row| row.get(0))
        .optional()
}

/// Removes a listing that no row of the relation O names any more, and its base
/// when that was the last one to need it.
pub(super) fn remove_unused(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    let base: Option<Option<i64>> = conn
        .prepare_cached(
            "DELETE FROM siginfo WHERE id = ?1
                AND NOT EXISTS (SELECT 1 FROM outhash WHERE siginfo = ?1)
                AND NOT EXISTS (SELECT 1 FROM siginfo WHERE base = ?1)
             RETURNING base",
        )?
        .query_row([id], |row| row.get(0))
        .optional()?;
    match base {
        None => Ok(()),
        Some(None) => {
            conn.prepare_cached("DELETE FROM siginfo_family WHERE base = ?1")?
                .execute([id])?;
            Ok(())
        }
        Some(Some(base)) => remove_unused(conn, base),
    }
}

/// Stores a listing without looking for a base, as a copied row does.
pub(super) fn store_alone(conn: &Connection, text: &str) -> rusqlite::Result<i64> {
    match find(conn, text)? {
        Some(id) => Ok(id),
        None => {
            let data = siginfo::encode_fresh(text.as_bytes());
            insert(conn, Digest::of(text.as_bytes()), None, text.len(), &data)
        }
    }
}
