//! The life of the database in which positions, epochs and numbers have their meaning.
//!
//! A dump that was restored, a recovery to a point in time and a replica that was promoted
//! before it had heard of everything give the same position to something else, and nothing
//! in their tables says so. Their server does: it is another one, or writes another
//! timeline, or the tables were made anew. Where the database lived when its life began is
//! stored, and where that is somewhere else by now another life begins: every sequence and
//! epoch jumps, and no position of before is known any more.

use std::sync::atomic::{AtomicBool, Ordering};

use fingerpost_db::postgres::{Job, Postgres, PostgresError, Row, Session};
use parking_lot::Mutex;

use crate::cache::UnihashCache;

/// How far sequences and epochs jump: no number of the old life is met again.
const JUMP: i64 = 1 << 32;

/// What stands before the place that the server tells: who wants to begin another life by
/// hand changes the incarnation.
const PREFIX: &str = "SELECT encode(incarnation, 'hex') || ' ' FROM fingerpost";

/// What the server tells of its place; NULL on a replica, which is where its primary is.
const SERVER: &str = "
    SELECT CASE WHEN pg_is_in_recovery() THEN NULL
           ELSE concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
                          left(pg_walfile_name(pg_current_wal_lsn()), 8),
                          (SELECT oid FROM pg_database WHERE datname = current_database()),
                          CAST(to_regclass('namespace') AS oid)) END";

/// Relatives of PostgreSQL have no such functions, or do not let us use them.
const NOWHERE: &str = "SELECT ''";

/// The life of the database, as this instance knows it.
pub(super) struct History {
    life: Mutex<[u8; 16]>,
    is_nowhere: AtomicBool,
}

/// What is stored, and where we are.
struct Look {
    life: Option<[u8; 16]>,
    stored: String,
    /// `None`: on a replica.
    now: Option<String>,
}

impl Look {
    /// Whether the database lives where it was said to live. Where nobody can say, it does.
    fn is_settled(&self) -> bool {
        let Some(now) = &self.now else {
            return true;
        };
        match now.split_once(' ') {
            Some((incarnation, "")) => self.stored.split(' ').next() == Some(incarnation),
            _ => *now == self.stored,
        }
    }
}

impl History {
    /// Finds out which life it is, and begins another one where that is needed.
    pub(super) async fn open(db: &Postgres) -> Result<Self, PostgresError> {
        let history = Self {
            life: Mutex::new(db.incarnation()),
            is_nowhere: AtomicBool::new(false),
        };
        let own = &history;
        let ask = async || {
            let look = db.read("history", |session| async move { own.look(&session).await });
            look.await
        };
        let look = match ask().await {
            // It is noted if it is for good, and less is asked for then.
            Err(PostgresError::Refused(_)) => ask().await?,
            outcome => outcome?,
        };
        let life = match look.life {
            Some(life) if look.is_settled() => life,
            // Its primary was never opened: there is nothing to be mistaken about.
            None if look.now.is_none() => db.incarnation(),
            _ => history.settle(db).await?,
        };
        *history.life.lock() = life;
        Ok(history)
    }

    /// The life as of the last look.
    pub(super) fn life(&self) -> [u8; 16] {
        *self.life.lock()
    }

    /// Looks again. When another life has begun, or has to, all that was remembered in the
    /// old one is forgotten.
    pub(super) async fn heed(
        &self,
        db: &Postgres,
        session: &Session,
        cache: &UnihashCache,
    ) -> Result<(), PostgresError> {
        let look = self.look(session).await?;
        let life = match look.life {
            Some(life) if look.is_settled() => life,
            None if look.now.is_none() => return Ok(()),
            _ => self.settle(db).await?,
        };
        if life != self.life() {
            // In this order: what is written down as of the new life is.
            cache.forget_life();
            *self.life.lock() = life;
        }
        Ok(())
    }

    fn server_sql(&self) -> &'static str {
        match self.is_nowhere.load(Ordering::Acquire) {
            true => NOWHERE,
            false => SERVER,
        }
    }

    async fn look(&self, session: &Session) -> Result<Look, PostgresError> {
        let server = self.server_sql();
        let sql = format!(
            "SELECT here.place, history.place, history.incarnation
               FROM (SELECT ({PREFIX}) || ({server}) AS place) AS here
               LEFT JOIN change_history AS history ON history.id = 1"
        );
        let row = session.query_one(&sql, &[]).await;
        if let Err(error) = &row
            && server == SERVER
            && is_for_good(error)
        {
            tracing::warn!(
                %error,
                "the server does not say where it is: a database that was put back is not told \
                 from one that was not"
            );
            self.is_nowhere.store(true, Ordering::Release);
        }
        let row = row?;
        Ok(Look {
            now: row.get(0),
            stored: row.get::<_, Option<String>>(1).unwrap_or_default(),
            life: life_of(&row, 2)?,
        })
    }

    /// Begins another life unless somebody else has just done so; the life then. Short:
    /// everybody who writes waits. The log of the old life lies below the floors and goes
    /// as old deletions do.
    async fn settle(&self, db: &Postgres) -> Result<[u8; 16], PostgresError> {
        const RANDOM: &str = "decode(replace(CAST(gen_random_uuid() AS text), '-', ''), 'hex')";
        const LOCK: &str = "SELECT incarnation FROM change_history WHERE id = 1 FOR UPDATE";
        const LOCK_ALL: &str = "SELECT id FROM namespace ORDER BY id FOR UPDATE";
        const JUMP_ALL: &str = "
            UPDATE namespace SET sequence = sequence + $1, changes_floor = sequence + $1,
                                 deletion_epoch = deletion_epoch + $1";
        let server = self.server_sql();
        let first = format!(
            "INSERT INTO change_history (id, incarnation, place)
             VALUES (1, {RANDOM}, ({PREFIX}) || ({server})) ON CONFLICT (id) DO NOTHING"
        );
        let next = format!(
            "UPDATE change_history SET incarnation = {RANDOM}, place = ({PREFIX}) || ({server})"
        );
        let (first, next) = (&first, &next);
        let job = Job::new("settle_history").idempotent();
        let settled = db.transaction(job, |tx| async move {
            tx.execute(first, &[]).await?;
            tx.query(LOCK, &[]).await?;
            if !self.look(&tx).await?.is_settled() {
                tracing::warn!("the database was put back: nobody goes on from where it was");
                tx.query(LOCK_ALL, &[]).await?;
                tx.execute(JUMP_ALL, &[&JUMP]).await?;
                tx.execute(next, &[]).await?;
            }
            let row = tx.query_one(LOCK, &[]).await?;
            life_of(&row, 0)?.ok_or(PostgresError::Rows(0))
        });
        settled.await
    }
}

/// Whether the server will refuse the same again. One of before 17 that reads a file while
/// it writes it finds the file damaged, and calls that an internal error.
fn is_for_good(error: &PostgresError) -> bool {
    matches!(error, PostgresError::Refused(_)) && error.code() != Some("XX000")
}

/// The life in a column. Nobody but us writes it: damage is met as a row that is not there.
fn life_of(row: &Row, column: usize) -> Result<Option<[u8; 16]>, PostgresError> {
    let bytes: Option<&[u8]> = row.get(column);
    let life = bytes.map(<[u8; 16]>::try_from).transpose();
    life.map_err(|_| PostgresError::Rows(0))
}

#[cfg(test)]
mod tests;
