//! What the planner of the database knows of tables that have just grown.
//!
//! Statements are planned once for each connection. Of a table that was empty then every
//! index looks as good as the others, and a plan that reads a whole index for each task
//! stays until somebody analyses the table: PostgreSQL does so by itself, a minute and
//! hundreds of thousands of rows later. So whoever adds rows sees to it while a table
//! grows from nothing; every connection of every instance plans anew then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fingerpost_db::postgres::{Job, PostgresError, Session, Value};

use super::Shared;

/// Tables that are asked for each group.
const TABLES: [&str; 4] = ["mapping", "output", "listing", "listing_base"];
/// So many new rows are the first to be looked at.
const FIRST: u64 = 256;
/// Beyond so many rows a doubling takes so long that the database notices it in time.
const LAST: u64 = 1 << 22;

/// Rows that this process added.
#[derive(Debug, Default)]
pub(super) struct Growth(AtomicU64);

impl Growth {
    /// Adds some, and says whether there are twice as many as when it said so last.
    fn add(&self, rows: u64) -> bool {
        let before = self.0.fetch_add(rows, Ordering::Relaxed);
        let after = before.saturating_add(rows);
        let doublings = |rows: u64| (rows / FIRST).checked_ilog2();
        before < LAST && doublings(after) > doublings(before)
    }
}

impl Shared {
    /// Rows were added. Nobody waits for what follows from that.
    pub(super) fn grew(self: &Arc<Self>, rows: usize) {
        if self.growth.add(rows as u64) {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = shared.analyse_grown().await {
                    // Not every database that speaks PostgreSQL knows these words.
                    tracing::debug!(%error, "tables that grew were not analysed");
                }
            });
        }
    }

    /// Analyses the tables that are more than twice as large as the planner believes.
    async fn analyse_grown(&self) -> Result<(), PostgresError> {
        const GROWN: &str = "
            SELECT relname::text FROM pg_class
             WHERE oid = ANY(ARRAY(SELECT to_regclass(name)::oid FROM unnest($1) AS name))
               AND pg_relation_size(oid) > 2 * 8192 * relpages::bigint
             ORDER BY relname";
        let job = Job::new("analyse").idempotent();
        let analysed = self.db.transaction(job, |tx: Session| async move {
            let tables: Vec<&str> = TABLES.to_vec();
            let values: &[&dyn Value] = &[&tables];
            let grown = tx.query(GROWN, values).await?;
            let grown: Vec<&str> = grown.iter().map(|row| row.get(0)).collect();
            if !grown.is_empty() {
                tx.batch(&format!("ANALYZE {}", grown.join(", "))).await?;
            }
            Ok(())
        });
        analysed.await
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Farm, until};
    use super::*;

    #[test]
    fn each_doubling_is_told_once() {
        let growth = Growth::default();
        let told: Vec<u64> = (1..=2048).filter(|_| growth.add(1)).collect();
        assert_eq!(told, [256, 512, 1024, 2048]);
        assert!(growth.add(100_000));
        assert!(!growth.add(1));
        assert!(growth.add(LAST));
        assert!(!growth.add(LAST * 8));
    }
    #[tokio::test]
    async fn tables_are_analysed_while_they_grow() {
        let farm = Farm::new();
        let instance = farm.instance().await;
        assert_eq!(farm.sql(PLANNED), "-1\n-1");
        let reports = (0..300).map(|number| {
            let name = format!("{number:04x}");
            let instance = &instance;
            async move { instance.report(&name, &name, &name).await }
        });
        futures_util::future::join_all(reports).await;
        let known = async || {
            let planned = farm.sql(PLANNED);
            let rows = planned.lines().map(|rows| rows.parse::<u64>());
            rows.into_iter()
                .all(|rows| rows.is_ok_and(|rows| rows >= FIRST))
        };
        until("analysed", known).await;
    }

    const PLANNED: &str =
        "SELECT reltuples::int FROM pg_class WHERE relname IN ('mapping', 'output')";
}
