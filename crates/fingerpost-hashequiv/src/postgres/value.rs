//! How the domain's values lie in columns.

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::Row;
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};

use crate::created::Created;
use crate::store::StoreError;

/// Bytes of a text that can be a hash at most: both hashes of a row of the relation O
/// have to fit into an entry of an index, which has 2,700.
pub(super) const HASH_BYTES_MAX: usize = 1000;
/// Before a text that is not 64 lower-case hex digits.
const TEXT: u8 = 1;
/// Instead, where the text would have the length of a hash then.
const TEXT_OF_31: [u8; 2] = [2, 0];

/// A hash as a column has it.
pub(super) trait Hash: Sized {
    /// Its bytes; `None` if it is longer than any that are stored.
    fn to_column(&self) -> Option<Vec<u8>>;
    /// The hash of a column.
    fn of_column(column: &[u8]) -> Result<Self, StoreError>;
}

macro_rules! hashes {
    ($($hash:ty),*) => {$(
        impl Hash for $hash {
            fn to_column(&self) -> Option<Vec<u8>> {
                match self.as_bytes() {
                    Some(bytes) => Some(bytes.to_vec()),
                    None => encoded(&self.to_text()),
                }
            }

            fn of_column(column: &[u8]) -> Result<Self, StoreError> {
                match column.try_into() {
                    Ok(bytes) => Ok(Self::from_bytes(bytes)),
                    Err(_) => Ok(Self::parse(&decoded(column)?)),
                }
            }
        }
    )*};
}

hashes!(Taskhash, Outhash, Unihash);

fn encoded(text: &str) -> Option<Vec<u8>> {
    if text.len() > HASH_BYTES_MAX {
        return None;
    }
    let mut column = Vec::with_capacity(text.len() + 2);
    match text.len() {
        31 => column.extend(TEXT_OF_31),
        _ => column.push(TEXT),
    }
    column.extend(text.as_bytes());
    Some(column)
}

fn decoded(column: &[u8]) -> Result<String, StoreError> {
    let bytes = match column {
        [TEXT, text @ ..] => text,
        [2, 0, text @ ..] => text,
        _ => return Err(damaged("a hash")),
    };
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged("a hash"))
}

pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} is in no form that was ever written"))
}

/// The text of a column.
pub(super) fn text(column: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(column.to_vec()).map_err(|_| damaged("a text"))
}

/// The text of a column that may be NULL.
pub(super) fn text_of(row: &Row, column: usize) -> Result<Option<String>, StoreError> {
    row.get::<_, Option<&[u8]>>(column).map(text).transpose()
}

/// A time out of its two columns.
pub(super) fn created(row: &Row, column: usize) -> Result<Created, StoreError> {
    if let Some(micros) = row.get::<_, Option<i64>>(column) {
        return Ok(Created::At(Timestamp(micros)));
    }
    let text = text_of(row, column + 1)?;
    Ok(text.map_or(Created::Never, Created::Text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_come_back_and_no_two_look_alike() {
        let lengths = (0..70).chain([HASH_BYTES_MAX]);
        let texts = lengths.flat_map(|length| ["g", "a", "\0"].map(|one| one.repeat(length)));
        let mut columns = std::collections::HashMap::new();
        for text in texts {
            let column = Taskhash::parse(&text).to_column().unwrap();
            let is_hash = text.len() == 64 && text.starts_with('a');
            assert_eq!(column.len() == 32, is_hash, "{text:?}");
            assert_eq!(Taskhash::of_column(&column).unwrap().to_text(), text);
            if let Some(other) = columns.insert(column, text.clone()) {
                assert_eq!(other, text);
            }
        }
        assert_eq!(
            Taskhash::parse(&"g".repeat(HASH_BYTES_MAX + 1)).to_column(),
            None
        );
        assert!(Taskhash::of_column(&[]).is_err());
        assert!(Taskhash::of_column(&[1, 0xff]).is_err());
    }
}
