//! Who does what goes one at a time, and what all who delete end with: giving room back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fingerpost_core::Timestamp;
use fingerpost_db::{DbError, Sqlite, Tx, release_lease, try_lease};

use super::{SqliteStore, failed};
use crate::changes::ChoreLease;
use crate::store::StoreError;

/// The name of this process as the holder of leases.
pub(super) fn process(store: &SqliteStore) -> String {
    format!("{:016x}", store.epoch.author())
}

/// Takes or prolongs a lease within a transaction; whether the holder has it now.
pub(super) fn hold_within(
    tx: &Tx<'_>,
    lease: ChoreLease,
    holder: &str,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let ttl_ms = u64::try_from(lease.term.as_millis()).unwrap_or(u64::MAX);
    try_lease(tx, lease.name, holder, ttl_ms, now)
}

/// Takes or prolongs a lease.
pub(super) async fn hold(
    store: &SqliteStore,
    lease: ChoreLease,
    holder: String,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let job = move |tx: &mut Tx<'_>| hold_within(tx, lease, &holder, now);
    store.db.write_background(job).await.map_err(failed)
}

/// Gives a lease of this process back.
pub(super) async fn release(store: &SqliteStore, lease: ChoreLease) -> Result<(), StoreError> {
    let holder = process(store);
    let job = move |tx: &mut Tx<'_>| release_lease(tx, lease.name, &holder);
    store.db.write_background(job).await.map_err(failed)
}

/// The lease of giving pages back: one process does it for all.
const SHRINK_LEASE: ChoreLease = ChoreLease {
    name: "shrink",
    term: Duration::from_secs(60),
};
/// Pages that are given back at once.
const PAGES: u32 = 512;
/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

impl SqliteStore {
    /// Gives freed pages back to the file system, a little at a time, unless
    /// another process is at it. A failure costs space and nothing else.
    pub(super) async fn shrink(&self) {
        if let Err(error) = self.try_shrink().await {
            tracing::warn!(%error, "Freed pages stay in the database file for now");
        }
    }

    async fn try_shrink(&self) -> Result<(), DbError> {
        const ROUNDS: usize = 10_000;
        let (holder, now) = (Arc::new(self.holder()), self.clock.now());
        let taker = Arc::clone(&holder);
        let take = move |tx: &mut Tx<'_>| hold_within(tx, SHRINK_LEASE, &taker, now);
        if !self.db.write_background(take).await? {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            if self.db.vacuum_step(PAGES).await? == 0 {
                break;
            }
        }
        let release = move |tx: &mut Tx<'_>| release_lease(tx, SHRINK_LEASE.name, &holder);
        self.db.write_background(release).await
    }

    /// A name for the holder of a lease that nobody else has.
    pub(super) fn holder(&self) -> String {
        let serial = self.leases.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{serial}", self.epoch.author())
    }
}

/// Gives some pages back; returns how many bytes.
pub(super) async fn give_back(db: &Sqlite) -> Result<u64, DbError> {
    let free = db.read(|conn| conn.query_row("PRAGMA freelist_count", [], |row| row.get(0)));
    let free: u64 = free.await?;
    if free == 0 {
        return Ok(0);
    }
    let left = db.vacuum_step(PAGES).await?;
    Ok(free.saturating_sub(left).saturating_mul(PAGE_BYTES))
}
