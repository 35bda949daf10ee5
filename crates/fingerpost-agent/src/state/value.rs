//! How hashes lie in columns.

use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// A hash in a column: a BLOB of 32 bytes, or TEXT of any other form.
#[derive(Clone, Debug)]
pub(super) struct Hash<T>(pub(super) T);

macro_rules! hash_column {
    ($($hash:ty),*) => {$(
        impl ToSql for Hash<&$hash> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(match self.0.as_bytes() {
                    Some(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
                    None => ToSqlOutput::from(self.0.to_text()),
                })
            }
        }

        impl FromSql for Hash<$hash> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value {
                    ValueRef::Blob(bytes) => {
                        let bytes = bytes.try_into().map_err(|_| FromSqlError::InvalidBlobSize {
                            expected_size: 32,
                            blob_size: bytes.len(),
                        })?;
                        Ok(Self(<$hash>::from_bytes(bytes)))
                    }
                    text => Ok(Self(<$hash>::parse(text.as_str()?))),
                }
            }
        }
    )*};
}

hash_column!(Taskhash, Outhash, Unihash);
