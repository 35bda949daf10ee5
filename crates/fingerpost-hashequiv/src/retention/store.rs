//! What retention asks of a database.

use fingerpost_core::Timestamp;

use super::labels::Labels;
use super::record::RunRecord;
use super::rows::{Expired, Kind, RetainedPage, RetainedRow};
use crate::changes::ChoreLease;
use crate::store::Stored;
use crate::uses::Uses;

/// The part of a [`Store`](crate::Store) that knows rows as retention does, when they were
/// used, and what runs came to. As there, every method is atomic unless it says otherwise.
pub trait RetentionStore: Send + Sync + 'static {
    /// The names of namespaces that this process serves, of methods and of marks.
    fn labels(&self) -> Stored<'_, Labels>;

    /// Rows of all namespaces after the one numbered `after`, in the order of their
    /// numbers. `limit` rows are looked at: that is what it costs.
    fn retained(&self, kind: Kind, after: i64, limit: usize) -> Stored<'_, RetainedPage>;

    /// Deletes rows that are still as they were seen, in one short transaction, and
    /// prolongs the lease, without which nothing is deleted. May end before the last
    /// row, and says where. Of [`Kind::Siginfo`] only the listing goes.
    fn expire(
        &self,
        kind: Kind,
        rows: Vec<RetainedRow>,
        lease: ChoreLease,
        now: Timestamp,
    ) -> Stored<'_, Expired>;

    /// Gives some of the room that deleted rows left back to the file system; returns
    /// how many bytes, 0 when there is none left.
    fn give_back(&self) -> Stored<'_, u64>;

    /// Jobs that wait for the database now. Cheap.
    fn waiting_jobs(&self) -> u64;

    /// Keeps a run of retention, which its start names; the last hundred stay.
    fn put_run(&self, run: RunRecord) -> Stored<'_, ()>;

    /// The last runs, the newest first.
    fn runs(&self, limit: usize) -> Stored<'_, Vec<RunRecord>>;

    /// Says of runs that did not end that they were stopped.
    fn end_runs(&self, now: Timestamp) -> Stored<'_, ()>;

    /// Uses that [`Store::unihashes`](crate::Store::unihashes) met and that are not stored yet.
    fn uses(&self) -> &Uses;

    /// Stores them, in batches; returns how many.
    fn store_uses(&self, now: Timestamp) -> Stored<'_, u64>;
}
