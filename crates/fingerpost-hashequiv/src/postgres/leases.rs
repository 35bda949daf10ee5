//! Who does what goes one at a time. The times are those of the database's clock.

use std::sync::atomic::Ordering;

use fingerpost_db::postgres::{Job, PostgresError, Session, release_lease, try_lease};

use super::{PostgresStore, failed};
use crate::changes::ChoreLease;
use crate::store::StoreError;

/// Takes or prolongs a lease within a transaction; whether the holder has it now.
pub(super) async fn hold_within(
    tx: &Session,
    lease: ChoreLease,
    holder: &str,
) -> Result<bool, PostgresError> {
    let ttl_ms = u64::try_from(lease.term.as_millis()).unwrap_or(u64::MAX);
    try_lease(tx, lease.name, holder, ttl_ms).await
}

/// Takes or prolongs a lease.
pub(super) async fn hold(
    store: &PostgresStore,
    lease: ChoreLease,
    holder: String,
) -> Result<bool, StoreError> {
    let holder = &holder;
    let job = Job::new("hold_lease").idempotent();
    let held =
        store.shared.db.transaction(
            job,
            |tx| async move { hold_within(&tx, lease, holder).await },
        );
    held.await.map_err(failed)
}

/// Gives a lease of this instance back.
pub(super) async fn release(store: &PostgresStore, lease: ChoreLease) -> Result<(), StoreError> {
    let holder = &store.shared.instance;
    let job = Job::new("release_lease").idempotent();
    let released = store.shared.db.transaction(job, |tx| async move {
        release_lease(&tx, lease.name, holder).await
    });
    released.await.map_err(failed)
}

impl PostgresStore {
    /// A name for the holder of a lease that nobody else has.
    pub(super) fn holder(&self) -> String {
        let serial = self.leases.fetch_add(1, Ordering::Relaxed);
        format!("{}-{serial}", self.shared.instance)
    }
}
