//! What answers are made of: held back for a while, compressed or not, and cut
//! into frames.

use super::frames::{Frames, Label};
use crate::encoding::{Compressor, ContentEncoding, EncodingError};
use crate::frame::{FrameHeader, FrameKind, RequestId};

/// The payloads of one stream.
#[derive(Debug)]
pub(super) struct Payloads {
    encoding: Option<ContentEncoding>,
    level: i32,
    compressor: Option<Compressor>,
    /// The compressor was given something that it may not have put out yet.
    unflushed: bool,
    /// Objects that are in no frame and no compressor yet, all of `current`.
    pending: Vec<u8>,
    current: Option<RequestId>,
    /// Why nothing more can be compressed. Answers only fail from then on, so
    /// that none ends as if it were whole.
    pub(super) broken: Option<EncodingError>,
    frames: Frames,
    /// The stream carries bytes that were encoded before, and nothing else.
    is_stored: bool,
}

/// The most that is sent as it is on a compressed stream.
pub(super) const RAW_BYTES_MAX: usize = 1024;
/// Smaller pieces of objects are put together before they are compressed: each
/// may become a frame, and costs a call.
const HELD_BYTES_MAX: usize = 32 << 10;
/// The most that is compressed in one go, which bounds how far the body grows
/// between two frames.
const COMPRESS_BYTES: usize = 128 << 10;

impl Payloads {
    pub(super) fn new(encoding: Option<ContentEncoding>, level: i32) -> Self {
        Self {
            encoding,
            level,
            compressor: None,
            unflushed: false,
            pending: Vec::new(),
            current: None,
            broken: None,
            frames: Frames::default(),
            is_stored: false,
        }
    }

    /// Whether the stream can go on.
    pub(super) fn check(&self) -> Result<(), EncodingError> {
        self.broken.map_or(Ok(()), Err)
    }

    /// Whether something was worth a compressor.
    #[cfg(test)]
    pub(super) fn has_compressed(&self) -> bool {
        self.compressor.is_some()
    }

    /// Puts out the stream's settings, if it has some and they are not out.
    pub(super) fn settle(&mut self, out: &mut Vec<u8>, request_id: RequestId) {
        if let Some(encoding) = self.encoding {
            self.frames.settle(out, request_id, encoding);
        }
    }

    /// Goes over to a stream for bytes that are encoded already.
    pub(super) fn begin_stored(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
    ) -> Result<(), EncodingError> {
        self.check()?;
        self.flush(out)?;
        self.frames.turn_over();
        self.is_stored = true;
        self.settle(out, request_id);
        Ok(())
    }

    /// Takes in a part of a payload that is encoded already, or of its status.
    pub(super) fn write_stored(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        bytes: &[u8],
        encoded: bool,
        eos: bool,
    ) {
        let label = Label {
            encoded: encoded && self.encoding.is_some(),
            ..label(request_id, eos)
        };
        self.frames.put(out, bytes, label);
    }

    /// Goes over to a stream with a new compressor after one of stored bytes.
    fn leave_stored(&mut self) {
        if std::mem::take(&mut self.is_stored) {
            self.frames.turn_over();
            self.compressor = None;
            self.unflushed = false;
        }
    }

    /// Takes in a part of a request's payload.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        objects: &[u8],
    ) -> Result<(), EncodingError> {
        self.check()?;
        self.leave_stored();
        self.turn_to(out, request_id)?;
        match self.encoding {
            None | Some(ContentEncoding::Identity) => {
                self.write_plain(out, request_id, objects);
                Ok(())
            }
            Some(encoding) => self.write_compressed(out, request_id, encoding, objects),
        }
    }

    fn write_plain(&mut self, out: &mut Vec<u8>, request_id: RequestId, objects: &[u8]) {
        let room = FrameHeader::PAYLOAD_BYTES_MAX.saturating_sub(self.pending.len());
        let Some((filling, rest)) = objects.split_at_checked(room) else {
            self.pending.extend_from_slice(objects);
            return;
        };
        self.pending.extend_from_slice(filling);
        self.put_pending(out, request_id, false);
        let tail = rest.len() % FrameHeader::PAYLOAD_BYTES_MAX;
        let (whole, tail) = rest.split_at(rest.len() - tail);
        self.put_plain(out, request_id, whole, false);
        self.pending.extend_from_slice(tail);
    }

    fn write_compressed(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        encoding: ContentEncoding,
        objects: &[u8],
    ) -> Result<(), EncodingError> {
        if self.pending.len().saturating_add(objects.len()) <= HELD_BYTES_MAX {
            self.pending.extend_from_slice(objects);
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        let label = label(request_id, false);
        self.compress(out, label, encoding, &pending, Then::GoOn)?;
        for piece in objects.chunks(COMPRESS_BYTES) {
            self.compress(out, label, encoding, piece, Then::GoOn)?;
        }
        pending.clear();
        self.pending = pending;
        Ok(())
    }

    /// Ends the payload of a request.
    pub(super) fn end(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
    ) -> Result<(), EncodingError> {
        self.check()?;
        self.turn_to(out, request_id)?;
        self.put_held(out, request_id, true)
    }

    /// Puts out a whole answer that is never encoded. What is held back should
    /// be out.
    pub(super) fn put_aside(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        kind: FrameKind,
        payload: &[u8],
    ) {
        let label = Label {
            kind,
            ..label(request_id, true)
        };
        self.frames.put(out, payload, label);
    }

    /// Makes a request the one whose objects are held back. The compressor is
    /// shared, so nothing of another one may stay in it.
    fn turn_to(&mut self, out: &mut Vec<u8>, request_id: RequestId) -> Result<(), EncodingError> {
        if self.current != Some(request_id) {
            self.flush(out)?;
            self.current = Some(request_id);
        }
        Ok(())
    }

    /// Puts out everything that is held back.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodingError> {
        match self.current {
            Some(current) => self.put_held(out, current, false),
            None => Ok(()),
        }
    }

    /// Puts out what is held back, in the compressor and before it.
    fn put_held(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        eos: bool,
    ) -> Result<(), EncodingError> {
        let is_small = !self.unflushed && self.pending.len() <= RAW_BYTES_MAX;
        match self.encoding {
            Some(encoding) if encoding != ContentEncoding::Identity && !is_small => {
                let pending = std::mem::take(&mut self.pending);
                let label = label(request_id, eos);
                self.compress(out, label, encoding, &pending, Then::Flush)
            }
            _ => {
                self.put_pending(out, request_id, eos);
                Ok(())
            }
        }
    }

    fn put_pending(&mut self, out: &mut Vec<u8>, request_id: RequestId, eos: bool) {
        let mut pending = std::mem::take(&mut self.pending);
        self.put_plain(out, request_id, &pending, eos);
        pending.clear();
        self.pending = pending;
    }

    /// Puts out payload as it is, which is what the identity means by encoded.
    fn put_plain(&mut self, out: &mut Vec<u8>, request_id: RequestId, payload: &[u8], eos: bool) {
        if payload.is_empty() && !eos {
            return;
        }
        self.settle(out, request_id);
        let label = Label {
            encoded: self.encoding == Some(ContentEncoding::Identity),
            ..label(request_id, eos)
        };
        self.frames.put(out, payload, label);
    }

    /// Compresses a piece straight into the frames that carry it.
    fn compress(
        &mut self,
        out: &mut Vec<u8>,
        label: Label,
        encoding: ContentEncoding,
        piece: &[u8],
        then: Then,
    ) -> Result<(), EncodingError> {
        self.frames.settle(out, label.request_id, encoding);
        let start = Frames::open(out);
        let result = self.compress_payload(out, encoding, piece, then);
        if let Err(error) = result {
            out.truncate(start);
            self.broken = Some(error);
            self.unflushed = false;
            return Err(error);
        }
        let label = Label {
            encoded: true,
            ..label
        };
        self.frames.seal(out, start, label);
        Ok(())
    }

    fn compress_payload(
        &mut self,
        out: &mut Vec<u8>,
        encoding: ContentEncoding,
        piece: &[u8],
        then: Then,
    ) -> Result<(), EncodingError> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(encoding, self.level)?),
        };
        compressor.compress(piece, out)?;
        self.unflushed = then == Then::GoOn;
        match then {
            Then::GoOn => Ok(()),
            Then::Flush => compressor.flush(out),
        }
    }
}

/// What a compressor does after a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It may hold back some of it.
    GoOn,
    /// It puts out everything.
    Flush,
}

/// A response frame whose payload is not encoded.
const fn label(request_id: RequestId, eos: bool) -> Label {
    Label {
        request_id,
        kind: FrameKind::CommandResponse,
        eos,
        encoded: false,
    }
}
