//! What a revocation means.

use std::path::Path;

use fingerpost_db::Settings;
use fingerpost_signatures::KeyId;

use super::SigningError;
use crate::database::Database;
use crate::store::StoreError;
use crate::{postgres, sqlite};

/// What a revocation means for the rows of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    /// Rows that the key signed.
    pub signed: u64,
    /// Those of them that no other believed key signed: they become misses for
    /// readers that require signatures.
    pub misses: u64,
}

/// Counts what the revocation of `key` means while `believed` are the other keys that
/// readers believe. Reads only.
pub async fn revocation(
    database: &Database,
    key: KeyId,
    believed: &[KeyId],
) -> Result<Revocation, SigningError> {
    match database {
        Database::Sqlite(db) => {
            let believed = believed.to_vec();
            let count = db.read(move |conn| sqlite::revocation(conn, key, &believed));
            Ok(count.await.map_err(StoreError::database)?)
        }
        Database::Postgres { primary, .. } => {
            Ok(postgres::revocation(primary, key, believed).await?)
        }
    }
}

/// The same of a file, which is not brought up to date for that: one of an older version has
/// no signatures.
pub fn revocation_in_file(
    path: &Path,
    key: KeyId,
    believed: &[KeyId],
) -> Result<Revocation, SigningError> {
    let conn = fingerpost_db::connect_read_only(&Settings::new(path), sqlite::MIGRATIONS)?;
    let has_table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'signature')";
    let has_table = conn.query_row(has_table, [], |row| row.get(0));
    match has_table.map_err(StoreError::database)? {
        true => {
            let counted = sqlite::revocation(&conn, key, believed);
            Ok(counted.map_err(StoreError::database)?)
        }
        false => Ok(Revocation::default()),
    }
}
