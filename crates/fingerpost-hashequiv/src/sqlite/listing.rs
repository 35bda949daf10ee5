//! Siginfo listings in the database.

use std::sync::Arc;

use fingerpost_hashequiv_proto::types::Method;
use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};
use rusqlite::{Connection, OptionalExtension as _};

use super::tasks::find_method;
use super::{SqliteStore, failed};
use crate::cache::MethodId;
use crate::siginfo::{self, Digest, Encoded, Promise};
use crate::store::{Report, StoreError};

/// Above this a listing is compressed on a thread of its own, so that the
/// connections that share the runtime's threads do not wait for it.
const INLINE_BYTES_MAX: usize = 128 << 10;

/// The family that a listing belongs to; its members resemble each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Family {
    method: Method,
    pn: String,
    task: String,
}

impl Family {
    fn of(report: &Report) -> Option<Self> {
        Some(Self {
            method: report.task.method.clone(),
            pn: report.metadata.pn.clone()?,
            task: report.metadata.task.clone()?,
        })
    }
}

/// A base listing in memory.
#[derive(Debug)]
pub(super) struct BaseListing {
    id: i64,
    digest: Digest,
    text: String,
    stored_bytes: usize,
}

#[derive(Clone)]
struct ByText;

impl Weighter<Family, Arc<BaseListing>> for ByText {
    fn weight(&self, family: &Family, base: &Arc<BaseListing>) -> u64 {
        (family.pn.len() + family.task.len() + base.text.len() + 200) as u64
    }
}

/// The bases that further listings are encoded against.
pub(super) struct Bases(Cache<Family, Arc<BaseListing>, ByText, RandomState>);

impl Bases {
    pub(super) fn new(bytes: u64) -> Self {
        let listings = usize::try_from(bytes / 16_384).unwrap_or(usize::MAX);
        Self(Cache::with(
            listings,
            bytes,
            ByText,
            RandomState::default(),
            DefaultLifecycle::default(),
        ))
    }
}

/// A listing made ready before the writer's turn, which is short.
#[derive(Debug)]
pub(super) struct Prepared {
    digest: Digest,
    /// `None` when the base itself has this text.
    encoded: Option<Encoded>,
    base: Option<Arc<BaseListing>>,
    family: Option<Family>,
}

impl SqliteStore {
    /// Encodes a report's listing against the newest base of its family.
    pub(super) async fn prepare_listing(
        &self,
        report: &Report,
    ) -> Result<Option<Prepared>, StoreError> {
        let Some(text) = report.siginfo.clone() else {
            return Ok(None);
        };
        let family = Family::of(report);
        let base = match &family {
            Some(family) => self.base(family).await?,
            None => None,
        };
        if text.len() <= INLINE_BYTES_MAX {
            return Ok(Some(prepare(&text, base, family)));
        }
        tokio::task::spawn_blocking(move || Some(prepare(&text, base, family)))
            .await
            .map_err(StoreError::database)
    }

    async fn base(&self, family: &Family) -> Result<Option<Arc<BaseListing>>, StoreError> {
        if let Some(base) = self.bases.0.get(family) {
            return Ok(Some(base));
        }
        let wanted = family.clone();
        let read = self.db.read(move |conn| read_base(conn, &wanted));
        let Some((id, digest, listing)) = read.await.map_err(failed)? else {
            return Ok(None);
        };
        let stored_bytes = listing.data.len();
        let base = Arc::new(BaseListing {
            id,
            digest,
            text: listing.decode()?,
            stored_bytes,
        });
        self.bases.0.insert(family.clone(), Arc::clone(&base));
        Ok(Some(base))
    }
}

fn prepare(text: &str, base: Option<Arc<BaseListing>>, family: Option<Family>) -> Prepared {
    let digest = Digest::of(text.as_bytes());
    let same = base.as_ref().is_some_and(|base| base.digest == digest);
    let encoded = (!same).then(|| {
        let against = base.as_ref().map(|base| siginfo::Base {
            text: base.text.as_bytes(),
            stored_bytes: base.stored_bytes,
        });
        siginfo::encode(text.as_bytes(), against)
    });
    Prepared {
        digest,
        encoded,
        base,
        family,
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
        && is_base(conn, base)?
    {
        return insert(conn, prepared.digest, Some(base.id), text.len(), data);
    }
    // No base, or the one that was taken has been removed meanwhile.
    let fresh = match &prepared.encoded {
        Some(Encoded::Base(data)) => data.clone(),
        _ => siginfo::encode_fresh(text.as_bytes()),
    };
    let id = insert(conn, prepared.digest, None, text.len(), &fresh)?;
    if let Some(family) = &prepared.family {
        set_base(conn, method, family, id)?;
        remember_base(tx, family, id, prepared.digest, text, fresh.len(), bases);
    }
    Ok(id)
}

/// Whether the remembered base is still stored. Its number alone does not say
/// so: the highest one is given away again after its row was removed.
fn is_base(conn: &Connection, base: &BaseListing) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM siginfo WHERE id = ?1 AND digest = ?2 AND base IS NULL")?
        .exists((base.id, base.digest.0))
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
    id: i64,
    digest: Digest,
    text: &str,
    stored_bytes: usize,
    bases: &Arc<Bases>,
) {
    let (bases, family) = (Arc::clone(bases), family.clone());
    let base = Arc::new(BaseListing {
        id,
        digest,
        text: text.to_owned(),
        stored_bytes,
    });
    tx.after_commit(Box::new(move || bases.0.insert(family, base)));
}

fn read_base(
    conn: &Connection,
    family: &Family,
) -> rusqlite::Result<Option<(i64, Digest, StoredListing)>> {
    let Some(method) = find_method(conn, family.method.as_str())? else {
        return Ok(None);
    };
    conn.prepare_cached(
        "SELECT siginfo.id, siginfo.digest, siginfo.length, siginfo.data
           FROM siginfo_family CROSS JOIN siginfo ON siginfo.id = siginfo_family.base
          WHERE siginfo_family.method = ?1 AND siginfo_family.pn = ?2 AND siginfo_family.task = ?3
            AND siginfo.base IS NULL",
    )?
    .query_row((method.0, &family.pn, &family.task), |row| {
        let digest = Digest(row.get(1)?);
        let listing = StoredListing {
            promise: Promise {
                length: row.get(2)?,
                digest,
            },
            data: row.get(3)?,
            base: None,
        };
        Ok((row.get(0)?, digest, listing))
    })
    .optional()
}

/// A listing as its row holds it, with the row of its base.
#[derive(Debug)]
pub(super) struct StoredListing {
    promise: Promise,
    data: Vec<u8>,
    base: Option<(Promise, Vec<u8>)>,
}

impl StoredListing {
    /// Decodes the text.
    pub(super) fn decode(self) -> Result<String, StoreError> {
        let damaged = |error: &dyn std::fmt::Display| StoreError::Damaged(error.to_string());
        let base = match &self.base {
            Some((promise, data)) => {
                Some(siginfo::decode(data, *promise, None).map_err(|error| damaged(&error))?)
            }
            None => None,
        };
        let text = siginfo::decode(&self.data, self.promise, base.as_deref())
            .map_err(|error| damaged(&error))?;
        String::from_utf8(text).map_err(|error| damaged(&error))
    }
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
