//! The body of an answer: responses to one or more requests on one stream.

use std::collections::BTreeMap;

use crate::cbor::Writer;
use crate::encoding::{Compressor, ContentEncoding, EncodingError};
use crate::frame::{FrameHeader, FrameKind, RequestId};
use crate::redirect::Location;

use self::frames::{Frames, Label};

mod frames;

/// Writes the frames that answer a request. Every method appends to the vector
/// it is given, which is the next piece of the HTTP body; what the responder
/// holds back comes with a later call, at the latest with
/// [`end`](Self::end).
///
/// Each request is answered by [`ok`](Self::ok), [`objects`](Self::objects) and
/// [`end`](Self::end), or by one of [`refuse`](Self::refuse),
/// [`redirect`](Self::redirect) and [`fail`](Self::fail) instead; `fail` may
/// also come after objects. Another order is an error and writes nothing.
///
/// One compression context serves all responses, and is made only for what is
/// worth it: up to [`RAW_BYTES_MAX`](Self::RAW_BYTES_MAX) travel as they are,
/// which every receiver takes frame by frame.
#[derive(Debug)]
pub struct Responder {
    encoding: Option<ContentEncoding>,
    level: i32,
    compressor: Option<Compressor>,
    /// The compressor was given something that it may not have put out yet.
    unflushed: bool,
    /// Objects that are in no frame yet, all of `current`.
    pending: Vec<u8>,
    current: Option<RequestId>,
    answers: BTreeMap<RequestId, Answer>,
    /// Why nothing more can be compressed. Answers only fail from then on, so
    /// that none ends as if it were whole.
    broken: Option<EncodingError>,
    frames: Frames,
}

/// How far the answer to a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Open,
    Ended,
}

/// Why a responder refuses a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponderError {
    /// Objects before [`Responder::ok`] or after the end.
    #[error("the answer to request {0} is not open")]
    NotOpen(RequestId),
    /// A second beginning: a redirect and a refusal are the first and only
    /// thing that a request is answered.
    #[error("request {0} has an answer already")]
    AlreadyAnswered(RequestId),
    /// The stream cannot be compressed.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
}

/// The most that is compressed in one go, which bounds how far the body grows
/// between two frames.
const COMPRESS_BYTES: usize = 128 << 10;
/// The longest message of a failure, cut there: an error is one frame.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

impl Responder {
    /// The most objects of one response that are sent without compression on a
    /// compressed stream, in bytes.
    pub const RAW_BYTES_MAX: usize = 1024;

    /// A responder at the beginning of a body. Without an encoding the stream
    /// has no settings and nothing is marked as encoded. `level` is that of
    /// [`Compressor::new`].
    pub fn new(encoding: Option<ContentEncoding>, level: i32) -> Self {
        Self {
            encoding,
            level,
            compressor: None,
            unflushed: false,
            pending: Vec::new(),
            current: None,
            answers: BTreeMap::new(),
            broken: None,
            frames: Frames::default(),
        }
    }

    /// Begins an answer: the status map that says so.
    ///
    /// # Errors
    ///
    /// [`ResponderError`], as for all methods of this type.
    pub fn ok(&mut self, out: &mut Vec<u8>, request_id: RequestId) -> Result<(), ResponderError> {
        self.begin(request_id)?;
        self.answers.insert(request_id, Answer::Open);
        self.write(out, request_id, b"\xa1\x46status\x42ok")
    }

    /// Goes on with objects: CBOR of any number of them, cut anywhere.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn objects(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        objects: &[u8],
    ) -> Result<(), ResponderError> {
        self.check_open(request_id)?;
        self.write(out, request_id, objects)
    }

    /// Puts out everything that was held back, so that the client can read all
    /// objects so far.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn flush(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
    ) -> Result<(), ResponderError> {
        self.check_open(request_id)?;
        self.drain(out)
    }

    /// Ends an answer.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn end(&mut self, out: &mut Vec<u8>, request_id: RequestId) -> Result<(), ResponderError> {
        self.check_open(request_id)?;
        self.turn_to(out, request_id)?;
        self.put_held(out, request_id, true)?;
        self.answers.insert(request_id, Answer::Ended);
        Ok(())
    }

    /// Answers with a refusal: a message in which each `%s` stands for one of
    /// `args`, in order. It is never encoded.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn refuse(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        message: &[u8],
        args: &[Vec<u8>],
    ) -> Result<(), ResponderError> {
        self.begin(request_id)?;
        self.drain(out)?;
        let mut map = Vec::with_capacity(64 + message.len());
        let mut writer = Writer::new(&mut map);
        writer.map(2);
        writer.bytes(b"error");
        writer.map(1 + usize::from(!args.is_empty()));
        if !args.is_empty() {
            writer.bytes(b"args");
            writer.array(args.len());
            args.iter().for_each(|arg| writer.bytes(arg));
        }
        writer.bytes(b"message");
        writer.bytes(message);
        writer.bytes(b"status");
        writer.bytes(b"error");
        let label = label(request_id, true);
        self.frames.put(out, &map, label);
        self.answers.insert(request_id, Answer::Ended);
        Ok(())
    }

    /// Answers with a place where the objects can be fetched.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn redirect(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        location: &Location,
    ) -> Result<(), ResponderError> {
        self.begin(request_id)?;
        self.answers.insert(request_id, Answer::Open);
        let mut map = Vec::with_capacity(64 + location.url.len());
        location.encode_status(&mut map);
        self.write(out, request_id, &map)?;
        self.end(out, request_id)
    }

    /// Ends an answer with an error, whatever was sent of it before: something
    /// failed on our side.
    ///
    /// # Errors
    ///
    /// [`ResponderError::AlreadyAnswered`] after the end.
    pub fn fail(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        message: &[u8],
    ) -> Result<(), ResponderError> {
        if self.answers.get(&request_id) == Some(&Answer::Ended) {
            return Err(ResponderError::AlreadyAnswered(request_id));
        }
        // What the compressor holds would come out in the next answer. If it
        // is what failed, the client is told so all the same.
        let _ = self.drain(out);
        let message = message.get(..MESSAGE_BYTES_MAX).unwrap_or(message);
        let mut map = Vec::with_capacity(64 + message.len());
        let mut writer = Writer::new(&mut map);
        writer.map(2);
        writer.bytes(b"message");
        writer.array(1);
        writer.map(1);
        writer.bytes(b"msg");
        writer.bytes(message);
        writer.bytes(b"type");
        writer.bytes(b"server");
        let label = Label {
            kind: FrameKind::Error,
            ..label(request_id, true)
        };
        self.frames.put(out, &map, label);
        self.answers.insert(request_id, Answer::Ended);
        Ok(())
    }

    fn begin(&self, request_id: RequestId) -> Result<(), ResponderError> {
        match self.answers.contains_key(&request_id) {
            true => Err(ResponderError::AlreadyAnswered(request_id)),
            false => Ok(()),
        }
    }

    fn check_open(&self, request_id: RequestId) -> Result<(), ResponderError> {
        match self.answers.get(&request_id) {
            Some(Answer::Open) => self.check_whole(),
            _ => Err(ResponderError::NotOpen(request_id)),
        }
    }

    fn check_whole(&self) -> Result<(), ResponderError> {
        self.broken.map_or(Ok(()), |broken| Err(broken.into()))
    }

    fn write(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        objects: &[u8],
    ) -> Result<(), ResponderError> {
        self.check_whole()?;
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
    ) -> Result<(), ResponderError> {
        if !self.unflushed {
            if self.pending.len().saturating_add(objects.len()) <= Self::RAW_BYTES_MAX {
                self.pending.extend_from_slice(objects);
                return Ok(());
            }
            if self.compressor.is_none() {
                let compressor = Compressor::new(encoding, self.level);
                self.compressor = Some(compressor.inspect_err(|&error| self.broken = Some(error))?);
            }
            let pending = std::mem::take(&mut self.pending);
            self.compress(out, request_id, &pending)?;
        }
        for piece in objects.chunks(COMPRESS_BYTES) {
            self.compress(out, request_id, piece)?;
        }
        Ok(())
    }

    fn compress(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        piece: &[u8],
    ) -> Result<(), ResponderError> {
        self.unflushed = true;
        self.put_compressed(out, label(request_id, false), |compressor, out| {
            compressor.compress(piece, out)
        })
    }

    /// Makes a request the one whose objects are held back. The compressor is
    /// shared, so nothing of another one may stay in it.
    fn turn_to(&mut self, out: &mut Vec<u8>, request_id: RequestId) -> Result<(), ResponderError> {
        if self.current != Some(request_id) {
            self.drain(out)?;
            self.current = Some(request_id);
        }
        Ok(())
    }

    /// Puts out everything that is held back.
    fn drain(&mut self, out: &mut Vec<u8>) -> Result<(), ResponderError> {
        match self.current {
            Some(current) => self.put_held(out, current, false),
            None => Ok(()),
        }
    }

    /// Puts out what is held back: in the compressor or before it, never both.
    fn put_held(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        eos: bool,
    ) -> Result<(), ResponderError> {
        if !std::mem::take(&mut self.unflushed) {
            self.put_pending(out, request_id, eos);
            return Ok(());
        }
        self.put_compressed(out, label(request_id, eos), Compressor::flush)
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
        if let Some(encoding) = self.encoding {
            self.frames.settle(out, request_id, encoding);
        }
        let label = Label {
            encoded: self.encoding == Some(ContentEncoding::Identity),
            ..label(request_id, eos)
        };
        self.frames.put(out, payload, label);
    }

    fn put_compressed(
        &mut self,
        out: &mut Vec<u8>,
        label: Label,
        work: impl FnOnce(&mut Compressor, &mut Vec<u8>) -> Result<(), EncodingError>,
    ) -> Result<(), ResponderError> {
        let Some(compressor) = &mut self.compressor else {
            return Ok(());
        };
        let encoding = compressor.encoding();
        self.frames.settle(out, label.request_id, encoding);
        let start = Frames::open(out);
        if let Err(error) = work(compressor, out) {
            out.truncate(start);
            self.unflushed = false;
            self.broken = Some(error);
            return Err(error.into());
        }
        let label = Label {
            encoded: true,
            ..label
        };
        self.frames.seal(out, start, label);
        Ok(())
    }
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

#[cfg(test)]
mod tests;
