//! Leases: rows by which the processes on one file agree who does the
//! background work. Times are those of the host's clock, which all share.

use fingerpost_core::Timestamp;
use rusqlite::params;

use crate::Tx;

/// Takes the lease `name` for `holder` until `ttl_ms` after `now`, or prolongs
/// it. Returns whether the holder has it now.
///
/// A lease that ends more than two terms ahead was taken before the clock was
/// set back, and counts as ended.
pub fn try_lease(
    tx: &Tx<'_>,
    name: &str,
    holder: &str,
    ttl_ms: u64,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let ttl = term(ttl_ms);
    let changed = tx
        .conn()
        .prepare_cached(
            "INSERT INTO lease (name, holder, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE holder = excluded.holder OR until <= ?4 OR until > ?5",
        )?
        .execute(params![
            name,
            holder,
            now.0.saturating_add(ttl),
            now.0,
            now.0.saturating_add(ttl.saturating_mul(2)),
        ])?;
    Ok(changed == 1)
}

/// Prolongs a lease that `holder` still has; `false` when another took it.
pub fn renew_lease(
    tx: &Tx<'_>,
    name: &str,
    holder: &str,
    ttl_ms: u64,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let changed = tx
        .conn()
        .prepare_cached("UPDATE lease SET until = ?3 WHERE name = ?1 AND holder = ?2")?
        .execute(params![name, holder, now.0.saturating_add(term(ttl_ms))])?;
    Ok(changed == 1)
}

/// Gives the lease back; nothing happens when `holder` does not have it.
pub fn release_lease(tx: &Tx<'_>, name: &str, holder: &str) -> rusqlite::Result<()> {
    tx.conn()
        .prepare_cached("DELETE FROM lease WHERE name = ?1 AND holder = ?2")?
        .execute(params![name, holder])?;
    Ok(())
}

/// Milliseconds to the microseconds of [`Timestamp`].
fn term(ttl_ms: u64) -> i64 {
    i64::try_from(ttl_ms)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::format;

    const TTL_MS: u64 = 1000;

    fn at(millis: i64) -> Timestamp {
        Timestamp(1_000_000_000 + millis * 1000)
    }

    fn with_tx(work: impl FnOnce(&Tx<'_>)) {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(format::BASE_SQL).unwrap();
        work(&Tx::new(&conn, &mut Vec::new()));
    }

    #[test]
    fn a_lease_has_one_holder_until_it_ends() {
        with_tx(|tx| {
            assert!(try_lease(tx, "gc", "a", TTL_MS, at(0)).unwrap());
            assert!(!try_lease(tx, "gc", "b", TTL_MS, at(500)).unwrap());
            assert!(try_lease(tx, "gc", "a", TTL_MS, at(600)).unwrap());
            assert!(!try_lease(tx, "gc", "b", TTL_MS, at(1500)).unwrap());
            assert!(try_lease(tx, "gc", "b", TTL_MS, at(1600)).unwrap());
            assert!(!renew_lease(tx, "gc", "a", TTL_MS, at(1700)).unwrap());
        });
    }

    #[test]
    fn a_released_lease_is_free() {
        with_tx(|tx| {
            assert!(try_lease(tx, "gc", "a", TTL_MS, at(0)).unwrap());
            release_lease(tx, "gc", "b").unwrap();
            assert!(!try_lease(tx, "gc", "b", TTL_MS, at(1)).unwrap());
            release_lease(tx, "gc", "a").unwrap();
            assert!(try_lease(tx, "gc", "b", TTL_MS, at(2)).unwrap());
        });
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        with_tx(|tx| {
            assert!(try_lease(tx, "gc", "a", TTL_MS, at(3_600_000)).unwrap());
            assert!(try_lease(tx, "gc", "b", TTL_MS, at(0)).unwrap());
        });
    }
}
