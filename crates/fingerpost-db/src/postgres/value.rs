//! Values of statements, with their types. Naming the types saves the server's
//! being asked for them, and makes statements work without being prepared.

use tokio_postgres::types::{ToSql, Type};

/// A parameter of a statement: `$1` and so on. The type is that of the Rust
/// value; SQL casts where it needs another one (`$1::int4`).
pub trait Value: ToSql + Sync {
    /// Its type.
    fn sql_type(&self) -> Type;
    /// Itself, as the driver takes it.
    fn as_sql(&self) -> &(dyn ToSql + Sync);
}

macro_rules! values {
    ($($rust:ty => $sql:ident),* $(,)?) => {$(
        impl Value for $rust {
            fn sql_type(&self) -> Type {
                Type::$sql
            }
            fn as_sql(&self) -> &(dyn ToSql + Sync) {
                self
            }
        }
        impl Value for Option<$rust> {
            fn sql_type(&self) -> Type {
                Type::$sql
            }
            fn as_sql(&self) -> &(dyn ToSql + Sync) {
                self
            }
        }
    )*};
}

values! {
    bool => BOOL,
    i16 => INT2,
    i32 => INT4,
    i64 => INT8,
    f64 => FLOAT8,
    &str => TEXT,
    String => TEXT,
    &[u8] => BYTEA,
    Vec<u8> => BYTEA,
    &[i32] => INT4_ARRAY,
    &[i64] => INT8_ARRAY,
    Vec<i32> => INT4_ARRAY,
    Vec<i64> => INT8_ARRAY,
    &[&str] => TEXT_ARRAY,
    Vec<&str> => TEXT_ARRAY,
    &[String] => TEXT_ARRAY,
    Vec<String> => TEXT_ARRAY,
    &[&[u8]] => BYTEA_ARRAY,
    Vec<&[u8]> => BYTEA_ARRAY,
    &[Vec<u8>] => BYTEA_ARRAY,
    Vec<Vec<u8>> => BYTEA_ARRAY,
    Vec<Option<&[u8]>> => BYTEA_ARRAY,
    Vec<Option<i64>> => INT8_ARRAY,
    &[Option<&str>] => TEXT_ARRAY,
    &[Option<String>] => TEXT_ARRAY,
    &[Option<i64>] => INT8_ARRAY,
    &[Option<Vec<u8>>] => BYTEA_ARRAY,
}
