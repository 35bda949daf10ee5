//! The body of an answer: responses to one or more requests on one stream.

use std::collections::BTreeMap;

use crate::cbor::Writer;
use crate::encoding::{ContentEncoding, EncodingError};
use crate::frame::{FrameKind, RequestId};
use crate::redirect::Location;

use self::payload::Payloads;

mod frames;
mod payload;

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
    answers: BTreeMap<RequestId, Answer>,
    payloads: Payloads,
}

/// How far the answer to a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Open,
    /// Open, with objects that are encoded already.
    Stored,
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

/// The map `{"status": "ok"}`.
const STATUS_OK: &[u8] = b"\xa1\x46status\x42ok";
/// The longest message of a failure, cut there: an error is one frame.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

impl Responder {
    /// The most objects of one response that are sent without compression on a
    /// compressed stream, in bytes.
    pub const RAW_BYTES_MAX: usize = payload::RAW_BYTES_MAX;

    /// A responder at the beginning of a body. Without an encoding the stream
    /// has no settings and nothing is marked as encoded. `level` is that of
    /// [`Compressor::new`](crate::Compressor::new).
    pub fn new(encoding: Option<ContentEncoding>, level: i32) -> Self {
        Self {
            answers: BTreeMap::new(),
            payloads: Payloads::new(encoding, level),
        }
    }

    /// Puts out what can be said before it is known how a request is answered:
    /// the settings of the stream, if it has some. The client sees that its
    /// request is being worked on.
    pub fn prepare(&mut self, out: &mut Vec<u8>, request_id: RequestId) {
        self.payloads.settle(out, request_id);
    }

    /// Begins an answer: the status map that says so.
    ///
    /// # Errors
    ///
    /// [`ResponderError`], as for all methods of this type.
    pub fn ok(&mut self, out: &mut Vec<u8>, request_id: RequestId) -> Result<(), ResponderError> {
        self.begin(request_id)?;
        self.answers.insert(request_id, Answer::Open);
        self.payloads.write(out, request_id, STATUS_OK)?;
        Ok(())
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
        self.payloads.write(out, request_id, objects)?;
        Ok(())
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
        self.payloads.flush(out)?;
        Ok(())
    }

    /// Begins an answer whose objects were encoded before, in the encoding of
    /// this responder: it goes on with [`stored`](Self::stored) and ends with
    /// [`end_stored`](Self::end_stored). It is on a stream of its own, because
    /// it was compressed as one.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn ok_stored(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
    ) -> Result<(), ResponderError> {
        self.begin(request_id)?;
        self.payloads.begin_stored(out, request_id)?;
        self.answers.insert(request_id, Answer::Stored);
        self.payloads
            .write_stored(out, request_id, STATUS_OK, false, false);
        Ok(())
    }

    /// Goes on with encoded bytes, cut anywhere.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn stored(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        bytes: &[u8],
    ) -> Result<(), ResponderError> {
        self.check_stored(request_id)?;
        self.payloads
            .write_stored(out, request_id, bytes, true, false);
        Ok(())
    }

    /// Ends an answer of encoded bytes.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn end_stored(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
    ) -> Result<(), ResponderError> {
        self.check_stored(request_id)?;
        self.payloads.write_stored(out, request_id, &[], true, true);
        self.answers.insert(request_id, Answer::Ended);
        Ok(())
    }

    /// Ends an answer.
    ///
    /// # Errors
    ///
    /// [`ResponderError`].
    pub fn end(&mut self, out: &mut Vec<u8>, request_id: RequestId) -> Result<(), ResponderError> {
        self.check_open(request_id)?;
        self.payloads.end(out, request_id)?;
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
        self.payloads.flush(out)?;
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
        let kind = FrameKind::CommandResponse;
        self.payloads.put_aside(out, request_id, kind, &map);
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
        self.payloads.write(out, request_id, &map)?;
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
        let _ = self.payloads.flush(out);
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
        let kind = FrameKind::Error;
        self.payloads.put_aside(out, request_id, kind, &map);
        self.answers.insert(request_id, Answer::Ended);
        Ok(())
    }

    fn begin(&self, request_id: RequestId) -> Result<(), ResponderError> {
        match self.answers.contains_key(&request_id) {
            true => Err(ResponderError::AlreadyAnswered(request_id)),
            false => Ok(()),
        }
    }

    fn check_stored(&self, request_id: RequestId) -> Result<(), ResponderError> {
        match self.answers.get(&request_id) {
            Some(Answer::Stored) => Ok(()),
            _ => Err(ResponderError::NotOpen(request_id)),
        }
    }

    fn check_open(&self, request_id: RequestId) -> Result<(), ResponderError> {
        match self.answers.get(&request_id) {
            Some(Answer::Open) => Ok(self.payloads.check()?),
            _ => Err(ResponderError::NotOpen(request_id)),
        }
    }
}

#[cfg(test)]
mod tests;
