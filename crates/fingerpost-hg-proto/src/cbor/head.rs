//! The first bytes of every item: a major type and an argument (RFC 8949,
//! section 3).

use super::limits::DecodeError;

/// Major type of unsigned integers.
pub(super) const UNSIGNED: u8 = 0;
/// Major type of negative integers.
pub(super) const NEGATIVE: u8 = 1;
/// Major type of byte strings.
pub(super) const BYTES: u8 = 2;
/// Major type of text strings, which the subset does not have.
pub(super) const TEXT: u8 = 3;
/// Major type of arrays.
pub(super) const ARRAY: u8 = 4;
/// Major type of maps.
pub(super) const MAP: u8 = 5;
/// Major type of tags.
pub(super) const TAG: u8 = 6;

/// The tag of finite sets, over an array.
pub(super) const SET_TAG: u64 = 258;
/// `false`, `true` and `null`, whole.
pub(super) const FALSE: u8 = 0xf4;
/// See [`FALSE`].
pub(super) const TRUE: u8 = 0xf5;
/// See [`FALSE`].
pub(super) const NULL: u8 = 0xf6;
/// Begins a byte string of indefinite length.
pub(super) const INDEFINITE_BYTES: u8 = 0x5f;
/// Ends what has an indefinite length.
pub(super) const BREAK: u8 = 0xff;

/// The most bytes that a head takes.
const HEAD_BYTES: usize = 9;

/// A head, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The first byte as it was.
    pub(super) first: u8,
    /// Major type, 0 to 7.
    pub(super) major: u8,
    /// The argument; `None` for an indefinite length.
    pub(super) argument: Option<u64>,
}

/// How many bytes the head takes that begins with this byte; `None` for the
/// reserved ones.
pub(super) const fn head_bytes(first: u8) -> Option<usize> {
    match first & 0x1f {
        0..=23 | 31 => Some(1),
        24 => Some(2),
        25 => Some(3),
        26 => Some(5),
        27 => Some(9),
        _ => None,
    }
}

/// Reads a head of exactly the length that [`head_bytes`] gives.
fn read(head: &[u8]) -> Option<Head> {
    let (&first, rest) = head.split_first()?;
    let argument = match first & 0x1f {
        short @ 0..=23 => Some(u64::from(short)),
        31 => None,
        _ => Some(
            rest.iter()
                .fold(0, |number, &byte| number << 8 | u64::from(byte)),
        ),
    };
    Some(Head {
        first,
        major: first >> 5,
        argument,
    })
}

/// The bytes of a head that came so far.
#[derive(Debug, Default)]
pub(super) struct PartialHead {
    bytes: [u8; HEAD_BYTES],
    len: usize,
}

impl PartialHead {
    /// Whether no byte of a head has come.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes a whole head from the input; `None` until all of it is there.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Head>, DecodeError> {
        loop {
            let first = match (self.len, input.first()) {
                (0, None) => return Ok(None),
                (0, Some(&first)) => first,
                _ => self.bytes[0],
            };
            let wanted = head_bytes(first).ok_or(DecodeError::Reserved(first))?;
            if self.len == 0
                && let Some((whole, rest)) = input.split_at_checked(wanted)
            {
                *input = rest;
                return Ok(read(whole));
            }
            if self.len == wanted {
                self.len = 0;
                return Ok(read(&self.bytes[..wanted]));
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            self.bytes[self.len] = byte;
            self.len += 1;
            *input = rest;
        }
    }
}
