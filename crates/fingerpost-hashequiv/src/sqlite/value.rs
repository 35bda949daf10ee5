//! How the domain's values lie in columns.

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};

use crate::created::Created;

/// A hash in a column: a BLOB of 32 bytes, or TEXT of any other form.
#[derive(Clone, Debug)]
pub(crate) struct Hash<T>(pub(crate) T);

/// A hash as a value of its own.
pub(crate) trait HashValue {
    /// The column's value.
    fn value(&self) -> Value;
}

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

        impl HashValue for Hash<&$hash> {
            fn value(&self) -> Value {
                match self.0.as_bytes() {
                    Some(bytes) => Value::Blob(bytes.to_vec()),
                    None => Value::Text(self.0.to_text()),
                }
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

impl ToSql for Created {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::At(moment) => ToSqlOutput::from(moment.0),
            Self::Text(text) => ToSqlOutput::from(text.as_str()),
            Self::Never => ToSqlOutput::from(rusqlite::types::Null),
        })
    }
}

impl FromSql for Created {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Null => Ok(Self::Never),
            ValueRef::Integer(micros) => Ok(Self::At(Timestamp(micros))),
            text => Ok(Self::Text(text.as_str()?.to_owned())),
        }
    }
}
