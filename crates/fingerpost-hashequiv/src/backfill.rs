//! Keeping what an upstream answered, beside the answering.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fingerpost_core::Clock;
use fingerpost_hashequiv_proto::types::Unihash;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::metrics::SharedMetrics;
use crate::service::UPSTREAM_AT;
use crate::store::{CopiedRow, Store, Task};

/// Rows that wait at most; further ones are dropped and asked for again later.
const QUEUE_MAX: usize = 100_000;

/// Rows that are stored in one transaction.
const BATCH: usize = 500;

/// Rest after the store failed.
const BACKOFF: Duration = Duration::from_secs(1);

/// The queue of rows to keep, deduplicated by task.
pub(crate) struct Backfill {
    waiting: Mutex<HashMap<Task, Unihash>>,
    wake: Notify,
    /// Tells whether work is waiting or under way.
    idle: watch::Sender<bool>,
    metrics: SharedMetrics,
}

impl Backfill {
    /// Starts the worker; it ends with the last user of the queue.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: SharedMetrics,
    ) -> Arc<Self> {
        let backfill = Arc::new(Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            idle: watch::Sender::new(true),
            metrics,
        });
        tokio::spawn(work(Arc::downgrade(&backfill), store, clock));
        backfill
    }

    /// Queues rows; never waits.
    pub(crate) fn push(&self, rows: impl IntoIterator<Item = (Task, Unihash)>) {
        let mut waiting = self.waiting.lock();
        for (task, unihash) in rows {
            if waiting.len() >= QUEUE_MAX && !waiting.contains_key(&task) {
                self.metrics.backfill_dropped.inc();
                continue;
            }
            waiting.insert(task, unihash);
        }
        self.note(&waiting);
        if !waiting.is_empty() {
            self.idle.send_replace(false);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Number of rows that wait; work in progress is not counted.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Waits until everything is stored, or `limit` has passed.
    pub(crate) async fn wait(&self, limit: Duration) -> bool {
        let mut idle = self.idle.subscribe();
        let waited = tokio::time::timeout(limit, idle.wait_for(|idle| *idle)).await;
        matches!(waited, Ok(Ok(_)))
    }

    fn take(&self) -> Vec<(Task, Unihash)> {
        let mut waiting = self.waiting.lock();
        let tasks: Vec<Task> = waiting.keys().take(BATCH).cloned().collect();
        let rows = tasks
            .into_iter()
            .filter_map(|task| waiting.remove_entry(&task))
            .collect();
        self.note(&waiting);
        rows
    }

    fn note(&self, waiting: &HashMap<Task, Unihash>) {
        let count = i64::try_from(waiting.len()).unwrap_or(i64::MAX);
        self.metrics.backfill_queue.set(count);
    }

    /// Notes that nothing is left, unless something came meanwhile.
    fn rest(&self) {
        let waiting = self.waiting.lock();
        if waiting.is_empty() {
            self.idle.send_replace(true);
        }
    }
}

async fn work(backfill: Weak<Backfill>, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    while let Some(queue) = backfill.upgrade() {
        let rows = queue.take();
        if rows.is_empty() {
            queue.rest();
            // The queue must not be kept alive while it sleeps.
            let wake = tokio::time::timeout(BACKOFF, queue.wake.notified());
            let _ = wake.await;
            continue;
        }
        let copies = rows.iter().map(|(task, unihash)| CopiedRow {
            task: task.clone(),
            unihash: Some(unihash.clone()),
            output: None,
        });
        match store
            .copy_rows(UPSTREAM_AT, copies.collect(), clock.now())
            .await
        {
            Ok(()) => {
                queue.metrics.backfilled.inc_by(rows.len() as u64);
            }
            Err(error) => {
                tracing::warn!(%error, "Copying from the upstream waits for the database");
                queue.push(rows);
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}
