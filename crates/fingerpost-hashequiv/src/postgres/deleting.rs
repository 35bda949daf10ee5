//! The one way in which rows go, and what goes with them.
//!
//! A deletion locks the rows of its namespace and of all that fall back to it, so that
//! nobody adopts what is going. It writes down what went, by which the caches of other
//! instances and the readers of changes hear of it, and keeps the counts.

use std::future::Future;

use fingerpost_db::postgres::{Job, PostgresError, Row, Session, Value};
use parking_lot::Mutex;

use super::epoch::{DeletedTask, Epoch, Raised};
use super::methods::{column, number};
use super::rows::method_of;
use super::{Shared, listing};
use crate::namespace::NamespaceId;

/// A transaction that holds the locks of a deletion.
pub(super) struct Deletion<'a> {
    tx: &'a Session,
    at: NamespaceId,
    /// It and those that fall back to it, in the order of their numbers.
    locked: Vec<i32>,
    sequence: i64,
    /// The collection that is running.
    pub(super) collection: Option<i32>,
}

/// What a transaction deleted.
#[derive(Default)]
pub(super) struct Deleted {
    pub(super) mappings: u64,
    pub(super) outputs: u64,
    /// What caches may remember of it.
    tasks: Vec<DeletedTask>,
    raised: Vec<Raised>,
}

/// Deletes mappings, and the signatures of their outputs, which spoke for them. Each is a
/// number of the sequence, told to the log if its taskhash is a hash: other tasks are in
/// no cache and no snapshot.
const MAPPINGS: &str = "
    WITH gone AS (
         DELETE FROM mapping WHERE namespace = $1 AND sequence = ANY($2)
         RETURNING method, taskhash, sequence),
    numbered AS (
         SELECT $3 + row_number() OVER (ORDER BY sequence) AS position, method, taskhash
           FROM gone),
    logged AS (
         INSERT INTO deletion (namespace, sequence, method, taskhash)
         SELECT $1, position, method, taskhash FROM numbered
          WHERE octet_length(taskhash) = 32),
    unsigned AS (
         DELETE FROM signature WHERE namespace = $1 AND output = ANY(ARRAY(
                SELECT own.id FROM gone CROSS JOIN LATERAL (
                       SELECT id FROM output
                        WHERE output.namespace = $1 AND output.method = gone.method
                          AND output.taskhash = gone.taskhash OFFSET 0) AS own)))
    SELECT method, taskhash FROM gone";

const OUTPUTS: &str = "
    WITH unsigned AS (DELETE FROM signature WHERE namespace = $1 AND output = ANY($2))
    DELETE FROM output WHERE namespace = $1 AND id = ANY($2) RETURNING listing";

const WITHOUT_LISTINGS: &str = "
    WITH before AS (
         SELECT id, listing FROM output
          WHERE namespace = $1 AND id = ANY($2) AND listing IS NOT NULL)
    UPDATE output SET listing = NULL FROM before
     WHERE output.namespace = $1 AND output.id = before.id
    RETURNING before.listing";

/// Raises the epochs of `$2`, each a number of its own sequence; `$3` mappings of `$1` went.
const RAISE: &str = "
    WITH raised AS (
         UPDATE namespace
            SET deletion_epoch = deletion_epoch + 1,
                sequence = sequence + 1 + CASE WHEN id = $1 THEN $3 ELSE 0 END,
                mappings = mappings - CASE WHEN id = $1 THEN $3 ELSE 0 END
          WHERE id = ANY($2)
         RETURNING id, sequence, deletion_epoch)
    INSERT INTO deletion (namespace, sequence, epoch)
    SELECT id, sequence, deletion_epoch FROM raised
    RETURNING namespace, sequence, epoch";

const COUNT_OUTPUTS: &str = "UPDATE namespace SET outputs = outputs - $2 WHERE id = $1";

impl<'a> Deletion<'a> {
    /// Waits for the locks. What was read before may have changed meanwhile.
    pub(super) async fn begin(
        tx: &'a Session,
        epoch: &Epoch,
        at: NamespaceId,
    ) -> Result<Self, PostgresError> {
        const LOCK: &str = "SELECT id, sequence, collection FROM namespace
             WHERE id = ANY($1) ORDER BY id FOR UPDATE";
        let readers = epoch.readers(at);
        let locked: Vec<i32> = readers.iter().map(|at| column(at.0)).collect();
        let rows = tx.query(LOCK, &[&locked]).await?;
        let own = rows.iter().find(|row| row.get::<_, i32>(0) == column(at.0));
        let own = own.ok_or(PostgresError::Rows(0))?;
        Ok(Self {
            tx,
            at,
            locked,
            sequence: own.get(1),
            collection: own.get(2),
        })
    }

    /// Deletes mappings by their place in the sequence, and outputs by their number; at
    /// most once for each deletion. Those that are gone already do not count.
    pub(super) async fn delete(
        &self,
        mappings: &[i64],
        outputs: &[i64],
    ) -> Result<Deleted, PostgresError> {
        let mut deleted = Deleted::default();
        if !mappings.is_empty() {
            self.delete_mappings(mappings, &mut deleted).await?;
        }
        if !outputs.is_empty() {
            self.delete_outputs(outputs, &mut deleted).await?;
        }
        Ok(deleted)
    }

    async fn delete_mappings(
        &self,
        sequences: &[i64],
        deleted: &mut Deleted,
    ) -> Result<(), PostgresError> {
        let at = column(self.at.0);
        let values: &[&dyn Value] = &[&at, &sequences, &self.sequence];
        let gone = self.tx.query(MAPPINGS, values).await?;
        if gone.is_empty() {
            return Ok(());
        }
        let task = |row: &Row| {
            Some(DeletedTask {
                method: method_of(row.get(0)),
                taskhash: row.get::<_, &[u8]>(1).try_into().ok()?,
            })
        };
        deleted.mappings = gone.len() as u64;
        deleted.tasks = gone.iter().filter_map(task).collect();
        let values: &[&dyn Value] = &[&at, &self.locked, &(gone.len() as i64)];
        let raised = self.tx.query(RAISE, values).await?;
        let raised = raised.iter().map(|row| Raised {
            namespace: NamespaceId(number(row.get(0))),
            position: row.get(1),
            epoch: row.get(2),
        });
        deleted.raised = raised.collect();
        Ok(())
    }

    async fn delete_outputs(
        &self,
        ids: &[i64],
        deleted: &mut Deleted,
    ) -> Result<(), PostgresError> {
        let at = column(self.at.0);
        let gone = self.tx.query(OUTPUTS, &[&at, &ids]).await?;
        deleted.outputs = gone.len() as u64;
        if gone.is_empty() {
            return Ok(());
        }
        let count = gone.len() as i64;
        self.tx.execute(COUNT_OUTPUTS, &[&at, &count]).await?;
        self.remove_unused(&gone).await
    }

    /// Takes the listings of outputs away.
    pub(super) async fn delete_listings(&self, ids: &[i64]) -> Result<(), PostgresError> {
        let values: &[&dyn Value] = &[&column(self.at.0), &ids];
        let gone = self.tx.query(WITHOUT_LISTINGS, values).await?;
        self.remove_unused(&gone).await
    }

    async fn remove_unused(&self, gone: &[Row]) -> Result<(), PostgresError> {
        let listings = gone.iter().filter_map(|row| row.get(0)).collect();
        listing::remove_unused(self.tx, self.at, listings).await
    }
}

impl Deleted {
    /// Rows of both relations.
    pub(super) const fn rows(&self) -> u64 {
        self.mappings + self.outputs
    }
}

impl Shared {
    /// Runs a transaction that deletes in a namespace, and sees to it that the cache has
    /// forgotten what it deleted when this returns. Spawn it: who drops it leaves the
    /// cache to the next poll.
    pub(super) async fn deleting<T, F, Fut>(
        &self,
        job: &'static str,
        at: NamespaceId,
        work: F,
    ) -> Result<T, PostgresError>
    where
        F: Fn(Session) -> Fut,
        Fut: Future<Output = Result<(T, Deleted), PostgresError>>,
    {
        // Of the last run; nothing is stored of earlier ones, because it does not run
        // again when the answer to a commit is lost: what it counts would be wrong.
        let last = Mutex::new(Deleted::default());
        let (work, noted) = (&work, &last);
        let run = self.db.transaction(Job::new(job), |tx| async move {
            let (value, deleted) = work(tx).await?;
            *noted.lock() = deleted;
            Ok(value)
        });
        let outcome = run.await;
        let deleted = last.into_inner();
        match &outcome {
            Ok(_) => {
                self.epoch.forget(at, &deleted.tasks);
                self.epoch.note(&deleted.raised);
            }
            // It may be stored. Which epoch there is the polls will see.
            Err(PostgresError::UnknownOutcome(_)) => self.epoch.forget(at, &deleted.tasks),
            Err(_) => {}
        }
        outcome
    }
}
