//! Forgetting old deletions.

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Job, Postgres, PostgresError, Value};
use futures_util::future::join;

use super::super::{PostgresStore, failed};
use super::unsigned;
use crate::store::StoreError;

/// Deletions that one transaction forgets at most.
const FORGOTTEN_ROWS: i64 = 1000;

/// Forgets deletions of before `before` in small transactions, and notes where the
/// sequences are `now`. Returns how many rows went.
pub(in super::super) async fn forget(
    store: &PostgresStore,
    before: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let db = &store.shared.db;
    let mut total = 0;
    for (at, floor) in mark(db, before, now).await.map_err(failed)? {
        total += forget_up_to(db, at, floor).await.map_err(failed)?;
    }
    Ok(total)
}

/// Notes where the sequences are, and raises the floors; every namespace with its floor.
async fn mark(
    db: &Postgres,
    before: Timestamp,
    now: Timestamp,
) -> Result<Vec<(i32, i64)>, PostgresError> {
    const MARK: &str = "
        INSERT INTO change_mark (namespace, position, at) SELECT id, sequence, $1 FROM namespace
        ON CONFLICT (namespace, position) DO NOTHING";
    const OLD: &str = "
        SELECT id, changes_floor, greatest(changes_floor, (
                   SELECT max(position) FROM change_mark
                    WHERE change_mark.namespace = namespace.id AND at <= $1))
          FROM namespace ORDER BY id";
    let marking = db.transaction(Job::new("mark_changes").idempotent(), |tx| async move {
        tx.execute(MARK, &[&now.0]).await?;
        tx.query(OLD, &[&before.0]).await
    });
    let mut floors = Vec::new();
    for row in marking.await? {
        let (at, known, floor): (i32, i64, i64) = (row.get(0), row.get(1), row.get(2));
        if known < floor {
            raise(db, at, floor).await?;
        }
        floors.push((at, floor));
    }
    Ok(floors)
}

/// Raises a floor. One namespace at a time: who writes to it waits for this.
async fn raise(db: &Postgres, at: i32, floor: i64) -> Result<(), PostgresError> {
    const RAISE: &str = "
        UPDATE namespace SET changes_floor = greatest(changes_floor, $2) WHERE id = $1";
    const UNMARK: &str = "DELETE FROM change_mark WHERE namespace = $1 AND position < $2";
    let job = Job::new("raise_changes_floor").idempotent();
    let raised = db.transaction(job, |tx| async move {
        let values: &[&dyn Value] = &[&at, &floor];
        let (unmarked, raised) = join(tx.execute(UNMARK, values), tx.execute(RAISE, values)).await;
        unmarked.and(raised)
    });
    raised.await.map(drop)
}

/// Rows at or below the floor, in the order of their positions; how many went.
async fn forget_up_to(db: &Postgres, at: i32, floor: i64) -> Result<u64, PostgresError> {
    // Each batch begins where the last one ended: what is gone lies in the index for a
    // while, and would be passed by again and again.
    const SQL: &str = "
        WITH gone AS (
            DELETE FROM deletion WHERE namespace = $1 AND sequence IN (
                SELECT sequence FROM deletion
                 WHERE namespace = $1 AND sequence > $2 AND sequence <= $3
                 ORDER BY sequence LIMIT $4)
            RETURNING sequence)
        SELECT count(*), max(sequence) FROM gone";
    let (mut total, mut after) = (0, i64::MIN);
    loop {
        let job = Job::new("forget_changes").idempotent();
        let gone = db.transaction(job, |tx| async move {
            let values: &[&dyn Value] = &[&at, &after, &floor, &FORGOTTEN_ROWS];
            tx.query_one(SQL, values).await
        });
        let gone = gone.await?;
        total += unsigned(&gone, 0);
        match gone.get(1) {
            Some(last) => after = last,
            None => return Ok(total),
        }
    }
}
