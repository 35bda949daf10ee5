//! Rows as retention sees them, and their end.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use fingerpost_db::postgres::{Job, PostgresError, Row, Session, Value};
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};

use super::deleting::{Deleted, Deletion};
use super::leases::hold_within;
use super::methods::{column, number};
use super::rows::method_of;
use super::value::{Hash as _, created, text};
use super::{PostgresStore, Shared, failed, place};
use crate::changes::ChoreLease;
use crate::namespace::NamespaceId;
use crate::retention::{Expired, Kind, Labels, RetainedMapping, RetainedPage, RetainedRow};
use crate::store::StoreError;

/// What a mapping takes with its three indexes, and a row of the relation O with its four:
/// measured with 100,000 of each in PostgreSQL 15, hashes in random order, as
/// `pg_total_relation_size` by rows. The rows themselves are 134 and 195 bytes of that.
const MAPPING_BYTES: u64 = 326;
const OUTPUT_BYTES: u64 = 514;
/// What a listing takes beside its compressed text, measured in the same way with texts of
/// 300 bytes.
const LISTING_BYTES: u64 = 156;

/// Names for a policy's patterns; of the namespaces only those that are served.
pub(super) async fn labels(shared: &Shared) -> Result<Labels, StoreError> {
    let read = |session: Session| async move {
        Ok((
            session.query("SELECT id, name FROM namespace", &[]).await?,
            session.query("SELECT id, name FROM method", &[]).await?,
            session
                .query("SELECT id, mark FROM collection", &[])
                .await?,
        ))
    };
    let (namespaces, methods, marks) = shared.db.read("labels", read).await.map_err(failed)?;
    let namespace = |row: &Row| (NamespaceId(number(row.get(0))), row.get(1));
    let namespaces = namespaces.iter().map(namespace);
    let methods = methods
        .iter()
        .map(|row| Ok((method_of(row.get(0)), text(row.get(1))?)));
    let marks = marks
        .iter()
        .map(|row| Ok((i64::from(row.get::<_, i32>(0)), text(row.get(1))?)));
    Ok(Labels {
        namespaces: namespaces
            .filter(|(at, _)| shared.epoch.serves(*at))
            .collect(),
        methods: methods.collect::<Result<_, StoreError>>()?,
        marks: marks.collect::<Result<_, StoreError>>()?,
    })
}

/// The statement of a page. Its length stands in the text: with one that it does not know
/// the planner takes it for a tenth of the table, and sorts that.
fn page_sql(kind: Kind, limit: usize) -> String {
    match kind {
        Kind::Mappings => format!(
            "SELECT sequence, namespace, method, taskhash, created, NULL::bytea,
                    unihash, sequence, collection, used_day, NULL::bytea
               FROM mapping WHERE (namespace, sequence) > ($1, $2)
              ORDER BY namespace, sequence LIMIT {limit}"
        ),
        // One look into the index of mappings for each row.
        Kind::Outputs | Kind::Siginfo => format!(
            "SELECT output.id, output.namespace, output.method, output.taskhash,
                    output.created, output.created_text, own.unihash, own.sequence,
                    own.collection, own.used_day, output.listing
               FROM (SELECT * FROM output WHERE (namespace, id) > ($1, $2)
                      ORDER BY namespace, id LIMIT {limit}) AS output
               LEFT JOIN LATERAL (
                    SELECT unihash, sequence, collection, used_day FROM mapping
                     WHERE mapping.namespace = output.namespace
                       AND mapping.method = output.method
                       AND mapping.taskhash = output.taskhash LIMIT 1) AS own ON true
              ORDER BY output.namespace, output.id"
        ),
    }
}

/// Rows of all namespaces after the one whose place is `after`.
pub(super) async fn page(
    shared: &Shared,
    kind: Kind,
    after: i64,
    limit: usize,
) -> Result<RetainedPage, StoreError> {
    let (namespace, own) = place::parts(after);
    let sql = &page_sql(kind, limit);
    let read = |session: Session| async move {
        let rows = session.query(sql, &[&column(namespace.0), &own]).await?;
        let listings = listings(&session, &rows).await?;
        Ok((rows, listings))
    };
    let (rows, listings) = shared.db.read("retained", read).await.map_err(failed)?;
    let mut page = RetainedPage::default();
    if rows.len() == limit {
        page.next = rows.last().map(place_of);
    }
    for row in &rows {
        let listing: Option<&[u8]> = row.get(10);
        if kind == Kind::Siginfo && listing.is_none() {
            continue;
        }
        let key = listing.map(|listing| (row.get(1), listing.to_vec()));
        let listing = key.and_then(|key| listings.get(&key));
        // That of the newest row that names it; nothing for the others.
        let listing_bytes = listing
            .filter(|listing| listing.newest == row.get::<_, i64>(0))
            .map_or(0, |listing| listing.bytes);
        let own = match kind {
            Kind::Mappings => MAPPING_BYTES,
            Kind::Outputs => OUTPUT_BYTES,
            Kind::Siginfo => 0,
        };
        page.rows.push(retained_row(row, own + listing_bytes)?);
    }
    Ok(page)
}

fn place_of(row: &Row) -> i64 {
    place::of(NamespaceId(number(row.get(1))), row.get(0))
}

fn retained_row(row: &Row, bytes: u64) -> Result<RetainedRow, StoreError> {
    let mapping = match row.get::<_, Option<&[u8]>>(6) {
        Some(unihash) => Some(RetainedMapping {
            unihash: Unihash::of_column(unihash)?,
            sequence: row.get(7),
            collection: row.get::<_, i32>(8).into(),
            used_day: row.get::<_, i32>(9).into(),
        }),
        None => None,
    };
    Ok(RetainedRow {
        id: place_of(row),
        namespace: NamespaceId(number(row.get(1))),
        method: method_of(row.get(2)),
        taskhash: Taskhash::of_column(row.get(3))?,
        mapping,
        created: created(row, 4)?.about(),
        bytes,
    })
}

struct Listing {
    bytes: u64,
    /// The newest row that names it.
    newest: i64,
}

/// The listings of rows, by namespace and digest. The length of one is found without
/// reading it.
async fn listings(
    session: &Session,
    rows: &[Row],
) -> Result<HashMap<(i32, Vec<u8>), Listing>, PostgresError> {
    const SQL: &str = "
        SELECT asked.namespace, asked.digest, octet_length(own.data), newest.id
          FROM unnest($1, $2) AS asked (namespace, digest)
         CROSS JOIN LATERAL (
               SELECT data FROM listing WHERE listing.namespace = asked.namespace
                  AND listing.digest = asked.digest LIMIT 1) AS own
         CROSS JOIN LATERAL (
               SELECT max(id) AS id FROM output WHERE output.namespace = asked.namespace
                  AND output.listing = asked.digest) AS newest";
    let named = |row: &Row| Some((row.get(1), row.get::<_, Option<Vec<u8>>>(10)?));
    let mut named: Vec<(i32, Vec<u8>)> = rows.iter().filter_map(named).collect();
    named.sort_unstable();
    named.dedup();
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    let (namespaces, digests): (Vec<i32>, Vec<Vec<u8>>) = named.into_iter().unzip();
    let found = session.query(SQL, &[&namespaces, &digests]).await?;
    let listing = |row: &Row| {
        let bytes = row.get::<_, i32>(2).unsigned_abs();
        let listing = Listing {
            bytes: u64::from(bytes) + LISTING_BYTES,
            newest: row.get::<_, Option<i64>>(3)?,
        };
        Some(((row.get(0), row.get(1)), listing))
    };
    Ok(found.iter().filter_map(listing).collect())
}

/// Deletes those of the first rows, which are of one namespace, that are still as they
/// were seen.
pub(super) async fn expire(
    shared: &Shared,
    kind: Kind,
    rows: &[RetainedRow],
    lease: ChoreLease,
) -> Result<Expired, PostgresError> {
    let Some(at) = rows.first().map(|row| row.namespace) else {
        return Ok(Expired::Looked {
            looked: 0,
            gone: Vec::new(),
        });
    };
    let looked = rows.iter().take_while(|row| row.namespace == at).count();
    let rows = &rows[..looked];
    let work = |tx: Session| async move {
        if !hold_within(&tx, lease, &shared.instance).await? {
            return Ok((Expired::NotOurs, Deleted::default()));
        }
        let deletion = Deletion::begin(&tx, &shared.epoch, at).await?;
        let gone = as_seen(&tx, kind, at, rows).await?;
        let own = |place: &usize| place::parts(rows[*place].id).1;
        let numbers: Vec<i64> = gone.iter().map(own).collect();
        let deleted = match kind {
            Kind::Mappings => deletion.delete(&numbers, &[]).await?,
            Kind::Outputs => deletion.delete(&[], &numbers).await?,
            Kind::Siginfo => {
                deletion.delete_listings(&numbers).await?;
                Deleted::default()
            }
        };
        Ok((Expired::Looked { looked, gone }, deleted))
    };
    shared.deleting("expire", at, work).await
}

/// Places of the rows that nobody used, marked or replaced since they were read. Under
/// the lock of the namespace.
async fn as_seen(
    tx: &Session,
    kind: Kind,
    at: NamespaceId,
    rows: &[RetainedRow],
) -> Result<Vec<usize>, PostgresError> {
    const MAPPINGS: &str = "
        SELECT seen.place
          FROM unnest($2, $3, $4, $5) WITH ORDINALITY
               AS seen (own, sequence, collection, used_day, place)
         CROSS JOIN LATERAL (
               SELECT sequence, collection, used_day FROM mapping
                WHERE mapping.namespace = $1 AND mapping.sequence = seen.own LIMIT 1) AS now
         WHERE now.sequence = seen.sequence AND now.collection = seen.collection
           AND now.used_day = seen.used_day
         ORDER BY seen.place";
    const OUTPUTS: &str = "
        SELECT seen.place
          FROM unnest($2, $3, $4, $5) WITH ORDINALITY
               AS seen (own, sequence, collection, used_day, place)
         CROSS JOIN LATERAL (
               SELECT method, taskhash FROM output
                WHERE output.namespace = $1 AND output.id = seen.own LIMIT 1) AS of
          LEFT JOIN LATERAL (
               SELECT sequence, collection, used_day FROM mapping
                WHERE mapping.namespace = $1 AND mapping.method = of.method
                  AND mapping.taskhash = of.taskhash LIMIT 1) AS now ON true
         WHERE now.sequence IS NOT DISTINCT FROM seen.sequence
           AND now.collection IS NOT DISTINCT FROM seen.collection
           AND now.used_day IS NOT DISTINCT FROM seen.used_day
         ORDER BY seen.place";
    let sql = match kind {
        Kind::Mappings => MAPPINGS,
        Kind::Outputs | Kind::Siginfo => OUTPUTS,
    };
    let seen = |what: fn(&RetainedMapping) -> i64| -> Vec<Option<i64>> {
        rows.iter()
            .map(|row| row.mapping.as_ref().map(what))
            .collect()
    };
    let own: Vec<i64> = rows.iter().map(|row| place::parts(row.id).1).collect();
    let values: &[&dyn Value] = &[
        &column(at.0),
        &own,
        &seen(|mapping| mapping.sequence),
        &seen(|mapping| mapping.collection),
        &seen(|mapping| mapping.used_day),
    ];
    let same = tx.query(sql, values).await?;
    // Ordinality begins with 1.
    let place = |row: &Row| usize::try_from(row.get::<_, i64>(0) - 1).ok();
    Ok(same.iter().filter_map(place).collect())
}

impl PostgresStore {
    /// Notes that mappings of a namespace were used on this day. It locks nothing but
    /// their rows, in the order of their numbers, so that two who do this never wait for
    /// each other in a circle.
    pub(super) async fn note_uses(
        &self,
        at: NamespaceId,
        sequences: &[i64],
        day: i32,
    ) -> Result<(), StoreError> {
        const SQL: &str = "
            WITH used AS MATERIALIZED (
                 SELECT sequence FROM mapping
                  WHERE namespace = $1 AND sequence = ANY($2) AND used_day < $3
                  ORDER BY sequence FOR NO KEY UPDATE)
            UPDATE mapping SET used_day = $3
             WHERE namespace = $1 AND sequence = ANY(ARRAY(SELECT sequence FROM used))
               AND used_day < $3";
        let job = Job::new("note_uses").idempotent();
        let noted = self.shared.db.transaction(job, |tx| async move {
            let values: &[&dyn Value] = &[&column(at.0), &sequences, &day];
            tx.execute(SQL, values).await
        });
        noted.await.map(drop).map_err(failed)
    }
}
