//! Siginfo listings in the database.

use std::sync::Arc;

use fingerpost_db::postgres::{PostgresError, Row, Session};

use super::methods::column;
use super::value::damaged;
use super::{Shared, failed};
use crate::listings::{BaseListing, Family, Prepared, StoredListing, prepare};
use crate::namespace::NamespaceId;
use crate::siginfo::{Digest, Encoded, Promise};
use crate::store::{Report, StoreError};

/// Columns that [`stored_listing`] reads, of a `listing` and its `base`.
pub(super) const LISTING: &str = "listing.length, listing.digest, listing.data,
    base.length, base.digest, base.data";

/// Where those are, after `FROM output`.
pub(super) const LISTING_FROM: &str = "
      LEFT JOIN listing ON listing.namespace = output.namespace
           AND listing.digest = output.listing
      LEFT JOIN listing AS base ON base.namespace = listing.namespace
           AND base.digest = listing.base";

/// Bytes of what names a family at most, together: it is a key.
const FAMILY_BYTES_MAX: usize = 2000;

/// Reads the columns of [`LISTING`], the first of which is `first`; `None` when there is
/// no listing.
pub(super) fn stored_listing(row: &Row, first: usize) -> Result<Option<StoredListing>, StoreError> {
    let promise = |length: Option<i32>, digest: usize| {
        let Some(length) = length else {
            return Ok(None);
        };
        Ok::<_, StoreError>(Some(Promise {
            length: usize::try_from(length).map_err(|_| damaged("a length"))?,
            digest: digest_of(row.get(digest))?,
        }))
    };
    let Some(own) = promise(row.get(first), first + 1)? else {
        return Ok(None);
    };
    let base = promise(row.get(first + 3), first + 4)?;
    Ok(Some(StoredListing {
        promise: own,
        data: row.get(first + 2),
        base: base.map(|base| (base, row.get(first + 5))),
    }))
}

pub(super) fn digest_of(column: &[u8]) -> Result<Digest, StoreError> {
    let bytes = column.try_into().map_err(|_| damaged("a digest"))?;
    Ok(Digest(bytes))
}

impl Shared {
    /// Encodes a report's listing against the newest base of its family.
    pub(super) async fn prepare_listing(
        &self,
        at: NamespaceId,
        report: &Report,
    ) -> Result<Option<(String, Prepared)>, StoreError> {
        let Some(text) = report.siginfo.clone() else {
            return Ok(None);
        };
        let fits = |family: &Family| family.pn.len() + family.task.len() <= FAMILY_BYTES_MAX;
        let family = Family::of(report, Some(at)).filter(fits);
        let base = match &family {
            Some(family) => self.base(at, family).await?,
            None => None,
        };
        let prepared = prepare(text.clone(), base, family).await?;
        Ok(Some((text, prepared)))
    }

    async fn base(
        &self,
        at: NamespaceId,
        family: &Family,
    ) -> Result<Option<Arc<BaseListing>>, StoreError> {
        if let Some(base) = self.bases.get(family) {
            return Ok(Some(base));
        }
        let method = self.intern_method(&family.method).await?;
        let row = self.db.read("listing_base", |session| async move {
            let sql = "
                SELECT listing.length, listing.digest, listing.data,
                       NULL::int, NULL::bytea, NULL::bytea
                  FROM listing_base
                  JOIN listing ON listing.namespace = listing_base.namespace
                       AND listing.digest = listing_base.digest
                 WHERE listing_base.namespace = $1 AND listing_base.method = $2
                   AND listing_base.pn = $3 AND listing_base.task = $4
                   AND listing.base IS NULL";
            let (pn, task) = (family.pn.as_bytes(), family.task.as_bytes());
            let (at, method) = (column(at.0), column(method.0));
            session.query_opt(sql, &[&at, &method, &pn, &task]).await
        });
        let Some(row) = row.await.map_err(failed)? else {
            return Ok(None);
        };
        let Some(listing) = stored_listing(&row, 0)? else {
            return Ok(None);
        };
        let base = listing.into_base(digest_of(row.get(1))?)?;
        self.bases.put(family.clone(), Arc::clone(&base));
        Ok(Some(base))
    }
}

/// A listing to be stored.
pub(super) struct NewListing {
    pub(super) digest: Digest,
    /// The base that it was compressed against.
    pub(super) base: Option<Digest>,
    pub(super) length: i32,
    pub(super) data: Vec<u8>,
}

impl NewListing {
    /// What is stored of a listing, given whether its base is there still.
    pub(super) fn of(text: &str, prepared: &Prepared, base_is_there: bool) -> Self {
        let length = i32::try_from(text.len()).unwrap_or(i32::MAX);
        let (base, data) = match (&prepared.encoded, &prepared.base) {
            (Some(Encoded::Delta(data)), Some(base)) if base_is_there => {
                (Some(base.digest), data.clone())
            }
            _ => (None, prepared.fresh(text)),
        };
        Self {
            digest: prepared.digest,
            base,
            length,
            data,
        }
    }
}

/// Removes those of these listings that no row of the relation O names any more, and the
/// bases that only they needed. To be called under the lock of the namespace.
pub(super) async fn remove_unused(
    session: &Session,
    at: NamespaceId,
    digests: Vec<Vec<u8>>,
) -> Result<(), PostgresError> {
    const REMOVE: &str = "
        DELETE FROM listing WHERE namespace = $1 AND digest = ANY($2)
           AND NOT EXISTS (SELECT 1 FROM output WHERE output.namespace = $1
                              AND output.listing = listing.digest)
           AND NOT EXISTS (SELECT 1 FROM listing AS other WHERE other.namespace = $1
                              AND other.base = listing.digest)
        RETURNING digest, base";
    const FORGET: &str = "DELETE FROM listing_base WHERE namespace = $1 AND digest = ANY($2)";
    let at = column(at.0);
    let mut digests = digests;
    // A base has none itself: two rounds see to all.
    for _ in 0..2 {
        digests.sort_unstable();
        digests.dedup();
        if digests.is_empty() {
            return Ok(());
        }
        let gone = session.query(REMOVE, &[&at, &digests]).await?;
        let is_base = |row: &&Row| row.get::<_, Option<&[u8]>>(1).is_none();
        let bases: Vec<Vec<u8>> = gone.iter().filter(is_base).map(|row| row.get(0)).collect();
        if !bases.is_empty() {
            session.execute(FORGET, &[&at, &bases]).await?;
        }
        digests = gone.iter().filter_map(|row| row.get(1)).collect();
    }
    Ok(())
}
