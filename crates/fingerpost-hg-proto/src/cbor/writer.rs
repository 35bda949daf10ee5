//! Writing values in canonical form.

use super::head::{
    ARRAY, BREAK, BYTES, FALSE, INDEFINITE_BYTES, MAP, NEGATIVE, NULL, SET_TAG, TAG, TRUE, UNSIGNED,
};
use super::value::Value;

/// Appends values to a byte vector. Every method writes one item, or the head
/// of one, in its shortest form.
///
/// The writer trusts its caller: after [`map`](Self::map) come that many pairs
/// with their keys in canonical order, after [`array`](Self::array) and
/// [`set`](Self::set) that many items. [`value`](Self::value) takes care of all
/// of that by itself.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Writes to the end of `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Writes an integer that is not negative.
    #[inline]
    pub fn uint(&mut self, number: u64) {
        self.head(UNSIGNED, number);
    }

    /// Writes an integer.
    #[inline]
    pub fn int(&mut self, number: i64) {
        self.wide_int(number.into());
    }

    /// Writes a byte string.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.head(BYTES, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Writes the head of a byte string whose `len` bytes the caller appends to
    /// the same vector.
    #[inline]
    pub fn bytes_head(&mut self, len: usize) {
        self.head(BYTES, len as u64);
    }

    /// Writes `true` or `false`.
    #[inline]
    pub fn bool(&mut self, truth: bool) {
        self.out.push(if truth { TRUE } else { FALSE });
    }

    /// Writes `null`.
    #[inline]
    pub fn null(&mut self) {
        self.out.push(NULL);
    }

    /// Begins an array of `len` items.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.head(ARRAY, len as u64);
    }

    /// Begins a map of `len` pairs.
    #[inline]
    pub fn map(&mut self, len: usize) {
        self.head(MAP, len as u64);
    }

    /// Begins a set of `len` members.
    #[inline]
    pub fn set(&mut self, len: usize) {
        self.head(TAG, SET_TAG);
        self.head(ARRAY, len as u64);
    }

    /// Begins a byte string of unknown length, which only the top level of a
    /// stream may have. Its parts are written by [`bytes`](Self::bytes), each
    /// of at most 2^20 bytes.
    #[inline]
    pub fn begin_indefinite_bytes(&mut self) {
        self.out.push(INDEFINITE_BYTES);
    }

    /// Ends what [`begin_indefinite_bytes`](Self::begin_indefinite_bytes) began.
    #[inline]
    pub fn end_indefinite_bytes(&mut self) {
        self.out.push(BREAK);
    }

    /// Writes a whole value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Int(number) => self.wide_int(*number),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Bool(truth) => self.bool(*truth),
            Value::Null => self.null(),
            Value::Array(items) => {
                self.array(items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Set(members) => {
                self.set(members.len());
                members.iter().for_each(|member| self.value(member));
            }
            Value::Map(map) => {
                self.map(map.len());
                for (key, value) in map.iter() {
                    self.value(key);
                    self.value(value);
                }
            }
        }
    }

    fn wide_int(&mut self, number: i128) {
        match u64::try_from(number) {
            Ok(number) => self.head(UNSIGNED, number),
            Err(_) if number > 0 => self.head(UNSIGNED, u64::MAX),
            Err(_) => self.head(NEGATIVE, u64::try_from(-1 - number).unwrap_or(u64::MAX)),
        }
    }

    #[inline]
    fn head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        match argument {
            0..=23 => self.out.push(major | argument as u8),
            24..=0xff => self.out.extend_from_slice(&[major | 24, argument as u8]),
            _ => self.long_head(major, argument),
        }
    }

    fn long_head(&mut self, major: u8, argument: u64) {
        if let Ok(argument) = u16::try_from(argument) {
            self.out.push(major | 25);
            self.out.extend_from_slice(&argument.to_be_bytes());
        } else if let Ok(argument) = u32::try_from(argument) {
            self.out.push(major | 26);
            self.out.extend_from_slice(&argument.to_be_bytes());
        } else {
            self.out.push(major | 27);
            self.out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn numbers_take_their_shortest_form() {
        for (number, expected) in [
            (0, &[0x00][..]),
            (23, &[0x17]),
            (24, &[0x18, 24]),
            (255, &[0x18, 255]),
            (256, &[0x19, 1, 0]),
            (65_536, &[0x1a, 0, 1, 0, 0]),
            (1 << 32, &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]),
            (-1, &[0x20]),
            (-24, &[0x37]),
            (-25, &[0x38, 24]),
            (i64::MIN, &[0x3b, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            assert_eq!(written(|writer| writer.int(number)), expected, "{number}");
        }
    }

    #[test]
    fn numbers_that_no_cbor_holds_become_the_nearest() {
        let largest = written(|writer| writer.uint(u64::MAX));
        let above = Value::Int(i128::from(u64::MAX) + 1);
        assert_eq!(written(|writer| writer.value(&above)), largest);
        let below = written(|writer| writer.value(&Value::Int(i128::MIN)));
        assert_eq!(below, [0x3b, 255, 255, 255, 255, 255, 255, 255, 255]);
    }

    #[test]
    fn items_are_written_as_the_reference_does() {
        let status = written(|writer| {
            writer.map(1);
            writer.bytes(b"status");
            writer.bytes(b"ok");
        });
        assert_eq!(status, b"\xa1\x46status\x42ok");
        let set = written(|writer| {
            writer.set(2);
            writer.bool(false);
            writer.null();
        });
        assert_eq!(set, [0xd9, 0x01, 0x02, 0x82, 0xf4, 0xf6]);
        let chunked = written(|writer| {
            writer.begin_indefinite_bytes();
            writer.bytes(b"ab");
            writer.end_indefinite_bytes();
        });
        assert_eq!(chunked, b"\x5f\x42ab\xff");
    }
}
