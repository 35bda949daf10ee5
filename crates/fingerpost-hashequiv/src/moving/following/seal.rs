//! What tells whether a row is the one that was taken.

use rusqlite::Row;
use rusqlite::types::ValueRef;

/// What a row of the reference is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) content: i64,
    pub(super) mark: i64,
}

/// The seal of a row: an id, a mark, and the values of the content.
pub(super) fn seal(row: &Row<'_>) -> rusqlite::Result<Seal> {
    let mut mark = Digest::default();
    mark.add(row.get_ref(1)?);
    let mut content = Digest::default();
    for column in 2..row.as_ref().column_count() {
        content.add(row.get_ref(column)?);
    }
    Ok(Seal {
        content: content.0.cast_signed(),
        mark: mark.0.cast_signed(),
    })
}

/// The seal of an output by its [`OUTPUT_KEY`](super::comparing::OUTPUT_KEY).
pub(super) fn seal_of_output(key: Option<&[u8]>) -> Seal {
    let (mut mark, mut content) = (Digest::default(), Digest::default());
    mark.add(ValueRef::Text(b""));
    content.add(key.map_or(ValueRef::Null, ValueRef::Text));
    Seal {
        content: content.0.cast_signed(),
        mark: mark.0.cast_signed(),
    }
}

/// 64 bits of values. Nobody gains by making two alike: it tells whether a row is the
/// one that had its id before. The same in every program, because it is stored.
#[derive(Default)]
struct Digest(u64);

impl Digest {
    fn add(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.word(0),
            ValueRef::Integer(number) => {
                self.word(1);
                self.word(number.cast_unsigned());
            }
            ValueRef::Real(number) => {
                self.word(2);
                self.word(number.to_bits());
            }
            ValueRef::Text(bytes) => self.bytes(3, bytes),
            ValueRef::Blob(bytes) => self.bytes(4, bytes),
        }
    }

    fn bytes(&mut self, kind: u64, bytes: &[u8]) {
        self.word(kind | (bytes.len() as u64) << 3);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    const fn word(&mut self, word: u64) {
        let mixed = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
