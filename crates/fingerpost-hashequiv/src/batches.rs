//! Work on many rows in batches, between which other writes go: the same for whatever
//! database.

use std::future::Future;
use std::time::Duration;

use crate::changes::ChoreLease;
use crate::namespace::NamespaceId;
use crate::progress::{Job, Progress};
use crate::store::StoreError;

/// Rows that one batch looks at at most when it walks a table.
pub(crate) const SCAN_ROWS: i64 = 5_000;

/// How long who is busy is waited for; a client waits 30 s for us.
const BUSY_WAIT: Duration = Duration::from_secs(25);
/// How often it is looked.
const BUSY_RETRY: Duration = Duration::from_millis(200);

/// The lease of a sweep, so that two of them run one after the other. It ends
/// by itself when its client left or its process died.
pub(crate) const SWEEP_LEASE: ChoreLease = ChoreLease {
    name: "gc-sweep",
    term: Duration::from_secs(5),
};

/// What a batch came to.
pub(crate) enum Step<P> {
    /// Rows that it changed, and where to go on.
    Rows(u64, Option<P>),
    /// The mark is not the current one.
    WrongMark(String),
    /// Somebody else is at it, in this process or in another.
    Busy(&'static str),
}

/// Where a walk through both relations stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// At the relation U, after this row.
    Unihashes(i64),
    /// At the relation O, after this row.
    Outputs(i64),
}

/// Runs one batch after the other, each a transaction of its own, from `first` on.
/// Returns how many rows they changed.
pub(crate) async fn in_batches<P, F, Fut>(
    progress: &Progress,
    (at, job): (NamespaceId, Job),
    first: P,
    batch: F,
) -> Result<u64, StoreError>
where
    P: Copy,
    F: Fn(P) -> Fut,
    Fut: Future<Output = Result<Step<P>, StoreError>>,
{
    let progress = progress.begin(at, job);
    let (mut next, mut total, mut waited) = (Some(first), 0, Duration::ZERO);
    while let Some(place) = next {
        match batch(place).await? {
            Step::Rows(rows, following) => {
                total += rows;
                progress.add(rows);
                next = following;
            }
            Step::Busy(_) if waited < BUSY_WAIT => {
                waited += BUSY_RETRY;
                tokio::time::sleep(BUSY_RETRY).await;
            }
            Step::Busy(what) => return Err(StoreError::Busy(what)),
            Step::WrongMark(mark) => return Err(StoreError::WrongMark(mark)),
        }
    }
    Ok(total)
}
