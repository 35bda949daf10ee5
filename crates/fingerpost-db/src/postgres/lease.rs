//! Leases: rows by which the processes on one database agree who does the
//! background work. Times are those of the server's clock, which all share.

use super::error::PostgresError;
use super::session::Session;

/// Ten years; longer terms are as good.
const TERM_MS_MAX: u64 = 315_360_000_000;

/// Takes the lease `name` for `holder` until `ttl_ms` from now, or prolongs it.
/// Returns whether the holder has it now. The session is that of a transaction.
///
/// A lease that ends more than two terms ahead was taken before the server's
/// clock was set back, and counts as ended.
pub async fn try_lease(
    session: &Session,
    name: &str,
    holder: &str,
    ttl_ms: u64,
) -> Result<bool, PostgresError> {
    let changed = session
        .execute(
            "INSERT INTO lease (name, holder, until)
             VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE lease.holder = excluded.holder OR lease.until <= clock_timestamp()
             OR lease.until > clock_timestamp() + 2 * $3 * interval '1 millisecond'",
            &[&name, &holder, &term(ttl_ms)],
        )
        .await?;
    Ok(changed == 1)
}

/// Prolongs a lease that `holder` still has; `false` when another took it.
pub async fn renew_lease(
    session: &Session,
    name: &str,
    holder: &str,
    ttl_ms: u64,
) -> Result<bool, PostgresError> {
    let changed = session
        .execute(
            "UPDATE lease SET until = clock_timestamp() + $3 * interval '1 millisecond'
             WHERE name = $1 AND holder = $2",
            &[&name, &holder, &term(ttl_ms)],
        )
        .await?;
    Ok(changed == 1)
}

/// Gives the lease back; nothing happens when `holder` does not have it.
pub async fn release_lease(
    session: &Session,
    name: &str,
    holder: &str,
) -> Result<(), PostgresError> {
    session
        .execute(
            "DELETE FROM lease WHERE name = $1 AND holder = $2",
            &[&name, &holder],
        )
        .await?;
    Ok(())
}

/// As the server multiplies intervals.
fn term(ttl_ms: u64) -> f64 {
    ttl_ms.min(TERM_MS_MAX) as f64
}
