//! Frames out of bytes that arrive in pieces.

use super::FrameHeader;

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: FrameHeader,
    /// Its payload, as it was on the wire.
    pub payload: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// A number that stands for no kind of frame.
    #[error("unknown frame type: {0}")]
    UnknownKind(u8),
    /// A payload above the reader's limit; noticed from the header.
    #[error("a frame of {0} bytes is too long")]
    TooLong(u32),
    /// The input ended inside a frame.
    #[error("the input ends inside a frame")]
    Truncated,
}

/// Reads frames. Only an unfinished one is kept, and memory for it is taken as
/// its bytes arrive. After an error the same error comes again for ever.
#[derive(Debug)]
pub struct FrameReader {
    payload_bytes_max: usize,
    /// Header and payload of the unfinished frame.
    partial: Vec<u8>,
    /// The frame in `partial` has been handed out.
    done: bool,
    failed: Option<FrameError>,
}

impl FrameReader {
    /// A reader that takes payloads up to this length.
    pub fn new(payload_bytes_max: usize) -> Self {
        Self {
            payload_bytes_max,
            partial: Vec::new(),
            done: false,
            failed: None,
        }
    }

    /// Takes the next frame from the front of `input`; `None` once `input` is
    /// used up and more of it is needed.
    ///
    /// # Errors
    ///
    /// [`FrameError`], for a header that no frame of ours can have.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'a>>, FrameError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if self.done {
            self.done = false;
            self.partial.clear();
        }
        if self.partial.is_empty()
            && let Some((header, rest)) = input.split_first_chunk()
        {
            let header = self.header(*header)?;
            if let Some((payload, rest)) = rest.split_at_checked(header.payload_bytes as usize) {
                *input = rest;
                return Ok(Some(Frame { header, payload }));
            }
        }
        self.fill(FrameHeader::BYTES, input);
        let Some(&header) = self.partial.first_chunk() else {
            return Ok(None);
        };
        let header = self.header(header)?;
        let whole = FrameHeader::BYTES + header.payload_bytes as usize;
        self.fill(whole, input);
        if self.partial.len() < whole {
            return Ok(None);
        }
        self.done = true;
        Ok(Some(Frame {
            header,
            payload: self.partial.get(FrameHeader::BYTES..).unwrap_or_default(),
        }))
    }

    /// Says that no more input comes.
    ///
    /// # Errors
    ///
    /// The error of before, or [`FrameError::Truncated`] inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.failed {
            Some(failed) => Err(failed),
            None if self.partial.is_empty() || self.done => Ok(()),
            None => Err(FrameError::Truncated),
        }
    }

    fn header(&mut self, bytes: [u8; FrameHeader::BYTES]) -> Result<FrameHeader, FrameError> {
        let header = FrameHeader::from_bytes(bytes).and_then(|header| {
            match header.payload_bytes as usize > self.payload_bytes_max {
                true => Err(FrameError::TooLong(header.payload_bytes)),
                false => Ok(header),
            }
        });
        header.inspect_err(|&error| self.failed = Some(error))
    }

    /// Moves input to the unfinished frame until that is `len` bytes long.
    fn fill(&mut self, len: usize, input: &mut &[u8]) {
        let missing = len.saturating_sub(self.partial.len());
        let (part, rest) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(part);
        *input = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameKind, RequestId, StreamFlags, StreamId};

    fn wire(payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader {
            payload_bytes: payload.len() as u32,
            request_id: RequestId(1),
            stream_id: StreamId::CLIENT,
            stream_flags: StreamFlags::BEGIN,
            kind: FrameKind::CommandRequest,
            flags: 1,
        };
        [&header.to_bytes()[..], payload].concat()
    }

    #[test]
    fn frames_come_out_however_they_are_cut() {
        let bytes = [wire(b"first"), wire(b""), wire(&[7; 300])].concat();
        for piece in 1..bytes.len() {
            let mut reader = FrameReader::new(300);
            let mut payloads = Vec::new();
            for mut input in bytes.chunks(piece) {
                while let Some(frame) = reader.next(&mut input).unwrap() {
                    payloads.push(frame.payload.to_vec());
                }
                assert!(input.is_empty());
            }
            assert_eq!(payloads, [b"first".to_vec(), Vec::new(), vec![7; 300]]);
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_header() {
        let mut reader = FrameReader::new(300);
        let header = &wire(&[0; 301])[..8];
        for mut input in [header, b""] {
            assert_eq!(reader.next(&mut input), Err(FrameError::TooLong(301)));
        }
        assert_eq!(reader.finish(), Err(FrameError::TooLong(301)));
    }

    #[test]
    fn an_end_inside_a_frame_is_told() {
        let bytes = wire(b"first");
        for len in 1..bytes.len() {
            let mut reader = FrameReader::new(300);
            assert_eq!(reader.next(&mut &bytes[..len]), Ok(None));
            assert_eq!(reader.finish(), Err(FrameError::Truncated));
        }
    }
}
