//! Methods and their numbers: found once, remembered for good.

use fingerpost_db::postgres::{Job, Postgres, PostgresError};
use fingerpost_hashequiv_proto::types::Method;

use super::{Shared, failed};
use crate::cache::MethodId;
use crate::store::StoreError;

/// Bytes of the name of a method at most: it is indexed.
const NAME_BYTES_MAX: usize = 2000;

impl Shared {
    /// The number of a method; `None` if nothing was ever reported with it.
    pub(super) async fn find_method(
        &self,
        db: &Postgres,
        method: &Method,
    ) -> Result<Option<MethodId>, PostgresError> {
        let name = method.as_str().as_bytes();
        if let Some(known) = self.cache.method(name) {
            return Ok(Some(known));
        }
        if name.len() > NAME_BYTES_MAX {
            return Ok(None);
        }
        let row = db.read("find_method", |session| async move {
            let sql = "SELECT id FROM method WHERE name = $1";
            session.query_opt(sql, &[&name]).await
        });
        let found = row.await?.map(|row| MethodId(number(row.get(0))));
        if let Some(id) = found {
            self.cache.learn_method(name, id);
        }
        Ok(found)
    }

    /// The number of a method, which is added when it is new.
    pub(super) async fn intern_method(&self, method: &Method) -> Result<MethodId, StoreError> {
        let known = self.find_method(&self.db, method).await.map_err(failed)?;
        if let Some(known) = known {
            return Ok(known);
        }
        let name = method.as_str().as_bytes();
        if name.len() > NAME_BYTES_MAX {
            return Err(StoreError::TooLong);
        }
        let add = self
            .db
            .transaction(Job::new("add_method").idempotent(), |tx| async move {
                let add = "INSERT INTO method (name) VALUES ($1) ON CONFLICT (name) DO NOTHING";
                tx.execute(add, &[&name]).await
            });
        add.await.map_err(failed)?;
        let added = self.find_method(&self.db, method).await.map_err(failed)?;
        added.ok_or_else(|| failed(PostgresError::Rows(0)))
    }
}

/// A number of ours as a column has it.
pub(super) const fn number(column: i32) -> u32 {
    column.unsigned_abs()
}

/// The column of a number of ours.
pub(super) const fn column(number: u32) -> i32 {
    number as i32
}
