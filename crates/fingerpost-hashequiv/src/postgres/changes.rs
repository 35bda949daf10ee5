//! What changed since a position, and every mapping page by page.

mod forget;

use std::collections::HashMap;
use std::sync::Arc;

use fingerpost_db::postgres::{Isolation, Job, PostgresError, Row, Session, Value};
use fingerpost_snapshot::{Change, NAME_BYTES_MAX, Signed};
use futures_util::future::join3;

pub(super) use self::forget::forget;
use super::methods::column;
use super::{PostgresStore, failed};
use crate::changes::{ChangeFilter, Changes, ChangesSince, Cut, Mapping, MappingPage};
use crate::namespace::NamespaceId;
use crate::store::StoreError;

/// Where a namespace's sequence is, and its deletion epoch.
pub(super) async fn cut(store: &PostgresStore, at: NamespaceId) -> Result<Cut, StoreError> {
    let cut = store.shared.db.read("cut", |session| async move {
        let state = state(&session, at).await?;
        Ok(state.cut)
    });
    cut.await.map_err(failed)
}

struct State {
    cut: Cut,
    floor: u64,
}

async fn state(session: &Session, at: NamespaceId) -> Result<State, PostgresError> {
    let sql = "SELECT sequence, deletion_epoch, changes_floor FROM namespace WHERE id = $1";
    let row = session.query_one(sql, &[&column(at.0)]).await?;
    Ok(State {
        cut: Cut {
            position: unsigned(&row, 0),
            epoch: unsigned(&row, 1),
        },
        floor: unsigned(&row, 2),
    })
}

/// One page, without signatures.
const PAGE: &str = "
    SELECT sequence, method, taskhash, unihash FROM mapping
     WHERE namespace = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";

/// The newest signature of the oldest signed row of a task of `page`.
const SIGNED: &str = "
    SELECT output.outhash, newest.text
      FROM output
     CROSS JOIN LATERAL (
           SELECT signature.text FROM signature
            WHERE signature.namespace = output.namespace AND signature.output = output.id
            ORDER BY signature.number DESC LIMIT 1) AS newest
     WHERE output.namespace = $1 AND output.method = page.method
       AND output.taskhash = page.taskhash
     ORDER BY output.id LIMIT 1";

/// The mappings after the position `after`, in the order of their positions.
pub(super) async fn mappings(
    store: &PostgresStore,
    at: NamespaceId,
    after: i64,
    limit: usize,
) -> Result<MappingPage, StoreError> {
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX);
    let read = store.shared.db.read("mappings", |session| async move {
        // Where nobody signs nothing is asked for each row.
        let any = "SELECT EXISTS (SELECT 1 FROM signature WHERE namespace = $1)";
        let any = session.query_one(any, &[&column(at.0)]).await?;
        let signed = match any.get(0) {
            true => SIGNED,
            false => "SELECT CAST(NULL AS bytea) AS outhash, CAST(NULL AS text) AS text",
        };
        let sql = format!(
            "SELECT page.*, signed.outhash, signed.text FROM ({PAGE}) AS page
               LEFT JOIN LATERAL ({signed}) AS signed ON true ORDER BY page.sequence"
        );
        let values: &[&dyn Value] = &[&column(at.0), &after, &wanted];
        let rows = session.query(&sql, values).await?;
        let names = Names::read(&session, rows.iter().map(|row| row.get(1))).await?;
        Ok((rows, names))
    });
    let (rows, names) = read.await.map_err(failed)?;
    let mut page = MappingPage::default();
    for row in &rows {
        match mapping(row, &names) {
            Some(mapping) => page.rows.push(mapping),
            None => page.left_out += 1,
        }
    }
    let last = rows.last().map(|row| row.get(0));
    page.next = last.filter(|_| rows.len() >= limit);
    Ok(page)
}

fn mapping(row: &Row, names: &Names) -> Option<Mapping> {
    let signature: Option<String> = row.get(5);
    Some(Mapping {
        method: names.of(row.get(1))?,
        taskhash: hash(row, 2)?,
        unihash: hash(row, 3)?,
        signed: hash(row, 4)
            .zip(signature)
            .map(|(outhash, signature)| Signed { outhash, signature }),
    })
}

/// At most `limit` changes after a position, of one moment.
pub(super) async fn since(
    store: &PostgresStore,
    at: NamespaceId,
    position: u64,
    limit: usize,
    filter: ChangeFilter,
) -> Result<ChangesSince, StoreError> {
    let job = Job::new("changes").isolated(Isolation::Snapshot);
    let told = store.shared.db.read(job, |session| async move {
        since_within(&session, at, position, (limit, filter)).await
    });
    told.await.map_err(failed)
}

async fn since_within(
    session: &Session,
    at: NamespaceId,
    position: u64,
    (limit, filter): (usize, ChangeFilter),
) -> Result<ChangesSince, PostgresError> {
    let State { cut, floor } = state(session, at).await?;
    // What is ahead of us belongs to another life of the database.
    if position < floor || position > cut.position {
        return Ok(ChangesSince::Gone {
            oldest: floor,
            newest: cut.position,
        });
    }
    let after = i64::try_from(position).unwrap_or(i64::MAX);
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX);
    let (added, removed, epoch) = join3(
        async {
            match filter {
                ChangeFilter::All => added(session, at, after, wanted).await,
                ChangeFilter::Deletions => Ok(Vec::new()),
            }
        },
        removed(session, at, after, wanted),
        epoch_at(session, at, after, cut.epoch),
    )
    .await;
    let (added, removed, epoch) = (added?, removed?, epoch?);
    let methods = added.iter().chain(&removed).filter_map(|row| row.get(1));
    let names = Names::read(session, methods).await?;
    let placed = |change: fn(&Row, &Names) -> Option<Change>| {
        let names = &names;
        move |row: &Row| (unsigned(row, 0), change(row, names))
    };
    let mut changes: Vec<(u64, Option<Change>)> = added.iter().map(placed(adopted)).collect();
    changes.extend(removed.iter().map(placed(deleted)));
    changes.sort_unstable_by_key(|(position, _)| *position);
    // Each of both told all that it has up to the place where this is cut.
    let is_all = changes.len() < limit;
    changes.truncate(limit);
    let told = changes.last().map_or(position, |(position, _)| *position);
    let changes = changes.into_iter().filter_map(|(_, change)| change);
    Ok(ChangesSince::Told(Changes {
        epoch,
        changes: changes.collect(),
        position: if is_all { cut.position } else { told },
        is_all,
    }))
}

async fn added(
    session: &Session,
    at: NamespaceId,
    after: i64,
    limit: i64,
) -> Result<Vec<Row>, PostgresError> {
    session.query(PAGE, &[&column(at.0), &after, &limit]).await
}

/// A row of [`added`]; `None` if a hash or the name has a form that no change has.
fn adopted(row: &Row, names: &Names) -> Option<Change> {
    Some(Change::Adopted {
        position: unsigned(row, 0),
        method: names.of(row.get(1))?.to_string(),
        taskhash: hash(row, 2)?,
        unihash: hash(row, 3)?,
    })
}

async fn removed(
    session: &Session,
    at: NamespaceId,
    after: i64,
    limit: i64,
) -> Result<Vec<Row>, PostgresError> {
    let sql = "SELECT sequence, method, taskhash, epoch FROM deletion
                WHERE namespace = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
    session.query(sql, &[&column(at.0), &after, &limit]).await
}

/// A row of [`removed`].
fn deleted(row: &Row, names: &Names) -> Option<Change> {
    let position = unsigned(row, 0);
    if let Some(epoch) = row.get::<_, Option<i64>>(3) {
        let epoch = epoch.unsigned_abs();
        return Some(Change::Epoch { position, epoch });
    }
    Some(Change::Deleted {
        position,
        method: names.of(row.get::<_, Option<i32>>(1)?)?.to_string(),
        taskhash: hash(row, 2)?,
    })
}

/// The epoch at a position: each raise is kept, and raises by one.
async fn epoch_at(
    session: &Session,
    at: NamespaceId,
    after: i64,
    now: u64,
) -> Result<u64, PostgresError> {
    let sql = "SELECT epoch FROM deletion
                WHERE namespace = $1 AND sequence > $2 AND epoch IS NOT NULL
                ORDER BY sequence LIMIT 1";
    let next = session.query_opt(sql, &[&column(at.0), &after]).await?;
    Ok(next.map_or(now, |row| unsigned(&row, 0).saturating_sub(1)))
}

/// Names of methods; of those that no change has, nothing.
struct Names(HashMap<i32, Arc<str>>);

impl Names {
    async fn read(
        session: &Session,
        methods: impl Iterator<Item = i32>,
    ) -> Result<Self, PostgresError> {
        let mut methods: Vec<i32> = methods.collect();
        methods.sort_unstable();
        methods.dedup();
        if methods.is_empty() {
            return Ok(Self(HashMap::new()));
        }
        let sql = "SELECT id, name FROM method WHERE id = ANY($1)";
        let rows = session.query(sql, &[&methods]).await?;
        let fitting = rows.iter().filter_map(|row| {
            let name = std::str::from_utf8(row.get(1)).ok()?;
            let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
            fits.then(|| (row.get(0), Arc::from(name)))
        });
        Ok(Self(fitting.collect()))
    }

    fn of(&self, method: i32) -> Option<Arc<str>> {
        self.0.get(&method).cloned()
    }
}

/// The 32 bytes of a hash, if it is one of these.
fn hash(row: &Row, column: usize) -> Option<[u8; 32]> {
    row.get::<_, Option<&[u8]>>(column)?.try_into().ok()
}

fn unsigned(row: &Row, column: usize) -> u64 {
    row.get::<_, i64>(column).unsigned_abs()
}

#[cfg(test)]
mod tests;
