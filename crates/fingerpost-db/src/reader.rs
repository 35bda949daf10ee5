//! A thread that runs read jobs.

use rusqlite::Connection;

use crate::job::ReadJob;
use crate::metrics::{Metrics, count};
use crate::queue::{Lane, Queue};

/// Reads waiting for a reader.
pub(crate) type ReadQueue = Queue<Box<dyn ReadJob>>;

/// Runs jobs until the queue is closed and empty.
pub(crate) fn run(conn: &Connection, queue: &ReadQueue, metrics: &Metrics) {
    while let Some((_, job)) = queue.next(Lane::Foreground) {
        if !job.run(conn) {
            count(&metrics.job_failures);
        }
        count(&metrics.read_jobs);
    }
}
