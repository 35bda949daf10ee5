//! Requests that say twice how long their body is.

/// Looks at the lines of what is read for a head that has both `Content-Length` and
/// `Transfer-Encoding`.
///
/// The HTTP library goes by the latter, takes the former away and closes afterwards,
/// as RFC 9112 (6.3) lets it. But such a request was made so that two servers
/// understand two things, and whoever is asked for the second one must not have done
/// the first. What looks like a head within a body harms nobody but who sent it.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// How a line begins of which a part was read.
    line: [u8; CODING.len()],
    len: usize,
    has_length: bool,
    has_coding: bool,
}

const LENGTH: &[u8] = b"content-length:";
/// The longer one.
const CODING: &[u8] = b"transfer-encoding:";

impl Framing {
    /// Whether a head with both ends in what was read now.
    pub(crate) fn is_doubtful(&mut self, read: &[u8]) -> bool {
        let mut is_doubtful = false;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', read) {
            let part = &read[start..end];
            is_doubtful |= match self.len {
                0 => self.ends_doubtful_head(part),
                _ => {
                    self.keep(part);
                    let (line, len) = (self.line, std::mem::take(&mut self.len));
                    self.ends_doubtful_head(&line[..len])
                }
            };
            start = end + 1;
        }
        self.keep(&read[start..]);
        is_doubtful
    }

    /// Keeps how a line begins that goes on in the next read.
    fn keep(&mut self, part: &[u8]) {
        let taken = part.len().min(self.line.len() - self.len);
        self.line[self.len..][..taken].copy_from_slice(&part[..taken]);
        self.len += taken;
    }

    /// Takes a line, or how it begins.
    #[inline]
    fn ends_doubtful_head(&mut self, line: &[u8]) -> bool {
        let begins = |name: &[u8]| {
            let start = line.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        match line.first() {
            None | Some(b'\r') => {
                let has_both = self.has_length && self.has_coding;
                (self.has_length, self.has_coding) = (false, false);
                return has_both;
            }
            Some(b'c' | b'C') => self.has_length |= begins(LENGTH),
            Some(b't' | b'T') => self.has_coding |= begins(CODING),
            Some(_) => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &[u8] =
        b"POST / HTTP/1.1\r\ncontent-Length: 4\r\nhost: x\r\nTransfer-encoding: chunked\r\n\r\n";

    #[test]
    fn a_head_with_both_is_found_wherever_it_is_cut() {
        for cut in 0..BOTH.len() {
            let mut framing = Framing::default();
            let (first, second) = BOTH.split_at(cut);
            assert!(!framing.is_doubtful(first), "{cut}");
            assert!(framing.is_doubtful(second), "{cut}");
            assert!(!framing.is_doubtful(b"GET / HTTP/1.1\r\n\r\n"), "{cut}");
        }
        let bare: Vec<u8> = BOTH.iter().copied().filter(|byte| *byte != b'\r').collect();
        assert!(Framing::default().is_doubtful(&bare));
    }

    #[test]
    fn a_head_with_one_of_them_is_right() {
        for head in [
            "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nx-content-length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 4\r\nx: transfer-encoding: chunked\r\n\r\n",
        ] {
            let mut framing = Framing::default();
            let twice = head.repeat(2);
            assert!(!framing.is_doubtful(twice.as_bytes()), "{head}");
        }
        // Two of them together are not one with both.
        let one = "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        let other = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(!Framing::default().is_doubtful([one, other].concat().as_bytes()));
    }
}
