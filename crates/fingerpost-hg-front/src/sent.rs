//! What was sent of an answer, to go on from when the rest comes from elsewhere.

use fingerpost_core::Failure;

/// How much of the end of what was sent is compared with what is made again: two
/// streams that agree in so many encoded bytes at one place are the same.
const TAIL_BYTES: usize = 4096;

/// How much was sent, and the end of it.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    len: u64,
    tail: Vec<u8>,
}

impl Sent {
    /// Notes what is sent now.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        let last = bytes.len().saturating_sub(TAIL_BYTES);
        self.tail.extend_from_slice(&bytes[last..]);
        let over = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..over);
    }

    /// How many of the bytes of the same answer at `offset` were sent before.
    /// Everything that encodes gives the same bytes for the same objects, so those
    /// have to be the same, as far as that is still known, and not the `last`
    /// before what was sent.
    pub(crate) fn before(&self, offset: u64, bytes: &[u8], last: bool) -> Result<usize, Failure> {
        let end = offset + bytes.len() as u64;
        if !self.agrees(offset, bytes) || (last && end < self.len) {
            return Err(Failure::internal("made again, it is another answer"));
        }
        Ok((end.min(self.len).saturating_sub(offset)) as usize)
    }

    fn agrees(&self, offset: u64, bytes: &[u8]) -> bool {
        let tail_at = self.len - self.tail.len() as u64;
        let begin = offset.max(tail_at);
        let end = (offset + bytes.len() as u64).min(self.len);
        if begin >= end {
            return true;
        }
        let len = (end - begin) as usize;
        let (made, sent) = ((begin - offset) as usize, (begin - tail_at) as usize);
        bytes[made..made + len] == self.tail[sent..sent + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_known_again() {
        let answer: Vec<u8> = (0..20_000_u32).map(|at| (at % 251) as u8).collect();
        let mut sent = Sent::default();
        for piece in answer[..10_000].chunks(700) {
            sent.add(piece);
        }
        let before = |at: usize, bytes: &[u8], last| sent.before(at as u64, bytes, last);
        let check = |at: usize, len: usize, expected: usize| {
            let bytes = &answer[at..at + len];
            assert_eq!(before(at, bytes, false).unwrap(), expected, "{at} {len}");
        };
        check(0, 100, 100);
        check(0, 20_000, 10_000);
        check(9_990, 20, 10);
        check(9_990, 5, 5);
        check(10_000, 50, 0);
        check(12_000, 50, 0);
        check(10_000, 0, 0);
        // It ends where it did, and not before.
        assert!(before(0, &answer[..10_000], true).is_ok());
        assert!(before(0, &answer[..9_999], true).is_err());
        let mut other = answer.clone();
        other[9_999] ^= 1;
        assert!(before(9_000, &other[9_000..12_000], false).is_err());
        assert!(before(5_000, &other[5_000..10_000], false).is_err());
        assert!(before(0, &other[..9_999], false).is_ok());
    }
}
