//! Responses out of the body of an answer.

use std::collections::{BTreeMap, VecDeque};

use super::answer::{Answer, read_error};
use super::response::{Event, Response, ResponseError};
use super::stream::Streams;
use crate::cbor;
use crate::frame::{FrameHeader, FrameKind, FrameReader, RequestId, StreamFlags, flags};

/// What the body of an answer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one frame's payload.
    pub payload_bytes: usize,
    /// Byte strings above this are delivered in chunks.
    pub whole_bytes: usize,
    /// What one object may hold.
    pub cbor: cbor::Limits,
    /// Bytes of all responses together, decoded.
    pub content_bytes: u64,
}

impl Default for Limits {
    /// Frames of up to 1 MiB, byte strings whole up to 64 MiB, any number of
    /// them.
    fn default() -> Self {
        Self {
            payload_bytes: 1 << 20,
            whole_bytes: 64 << 20,
            cbor: cbor::Limits::RESPONSE,
            content_bytes: u64::MAX,
        }
    }
}

/// Reads the body of an answer as it arrives. After an error the same error
/// comes again for ever.
#[derive(Debug)]
pub struct ResponseReader {
    limits: Limits,
    frames: FrameReader,
    tells_frames: bool,
    /// Body that was pushed; what is before `taken` is used up.
    body: Vec<u8>,
    taken: usize,
    streams: Streams,
    answers: BTreeMap<RequestId, Answer>,
    payload: Option<Payload>,
    /// Content that was decoded last; what is before `read` is used up. Even
    /// if all of it is, the end of a byte string may have to be told.
    content: Vec<u8>,
    read: usize,
    may_tell_more: bool,
    content_bytes: u64,
    events: VecDeque<Event>,
    failed: Option<ResponseError>,
}

/// A response frame whose payload is being looked at.
#[derive(Debug)]
struct Payload {
    header: FrameHeader,
    /// The payload; what is before `taken` is decoded.
    bytes: Vec<u8>,
    taken: usize,
    /// All of it is decoded.
    exhausted: bool,
    /// The content so far, of an error frame.
    error: Vec<u8>,
}

/// Content is decoded in pieces of this size, whatever a payload expands to.
const CONTENT_BYTES: usize = 64 << 10;
/// An error frame holds a message, not data.
const ERROR_BYTES_MAX: usize = 1 << 20;

impl ResponseReader {
    /// A reader for the answers to these requests.
    pub fn new(limits: Limits, requests: impl IntoIterator<Item = RequestId>) -> Self {
        let answer = |id| (id, Answer::new(id, limits.cbor, limits.whole_bytes));
        let answers: BTreeMap<_, _> = requests.into_iter().map(answer).collect();
        Self {
            limits,
            frames: FrameReader::new(limits.payload_bytes),
            tells_frames: false,
            body: Vec::new(),
            taken: 0,
            streams: Streams::of(answers.len()),
            answers,
            payload: None,
            content: Vec::new(),
            read: 0,
            may_tell_more: false,
            content_bytes: 0,
            events: VecDeque::new(),
            failed: None,
        }
    }

    /// Tells of every frame too, before what it carries.
    #[must_use]
    pub fn tell_frames(mut self) -> Self {
        self.tells_frames = true;
        self
    }

    /// Takes in a piece of the body. It is kept until [`next`](Self::next) has
    /// read it, so read between two pushes until nothing more comes.
    pub fn push(&mut self, body: &[u8]) {
        self.body.drain(..self.taken.min(self.body.len()));
        self.taken = 0;
        self.body.extend_from_slice(body);
    }

    /// The next event; `None` once more of the body is needed.
    ///
    /// # Errors
    ///
    /// [`ResponseError`].
    #[expect(clippy::should_implement_trait, reason = "more may come after None")]
    pub fn next(&mut self) -> Result<Option<Event>, ResponseError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.advance()
            .inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Says that the body is complete.
    ///
    /// # Errors
    ///
    /// The error of before, or what is missing at the end: a server that
    /// stops in the middle leaves requests without an end.
    pub fn finish(&self) -> Result<(), ResponseError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.frames.finish()?;
        match self.answers.keys().next() {
            Some(&request_id) => Err(ResponseError::Unanswered(request_id)),
            None => Ok(()),
        }
    }

    fn advance(&mut self) -> Result<Option<Event>, ResponseError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let Some(payload) = &mut self.payload else {
                match self.read_frame()? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            if self.read < self.content.len() || self.may_tell_more {
                self.read_content()?;
            } else if payload.exhausted {
                self.end_frame()?;
            } else {
                self.decode_payload()?;
            }
        }
    }

    /// Takes the next frame. False: more of the body is needed.
    fn read_frame(&mut self) -> Result<bool, ResponseError> {
        let mut body = self.body.get(self.taken..).unwrap_or_default();
        let before = body.len();
        let frame = self.frames.next(&mut body);
        self.taken += before - body.len();
        let Some(frame) = frame? else {
            return Ok(false);
        };
        let header = frame.header;
        if self.tells_frames {
            self.events.push_back(Event {
                request_id: header.request_id,
                response: Response::FrameSeen(header),
            });
        }
        self.streams.take(header)?;
        match header.kind {
            FrameKind::StreamSettings => self.streams.settle(header, frame.payload)?,
            FrameKind::CommandResponse | FrameKind::Error => {
                check_response(header, &self.answers)?;
                self.payload = Some(Payload {
                    header,
                    bytes: frame.payload.to_vec(),
                    taken: 0,
                    exhausted: false,
                    error: Vec::new(),
                });
            }
            kind => return Err(ResponseError::UnexpectedKind(kind)),
        }
        Ok(true)
    }

    /// Decodes the next piece of the payload.
    fn decode_payload(&mut self) -> Result<(), ResponseError> {
        let Some(payload) = &mut self.payload else {
            return Ok(());
        };
        let header = payload.header;
        self.content.clear();
        self.read = 0;
        if header.stream_flags.contains(StreamFlags::ENCODED) {
            let decompressor = self.streams.decompressor(header.stream_id)?;
            let mut rest = payload.bytes.get(payload.taken..).unwrap_or_default();
            decompressor.decompress(&mut rest, &mut self.content, CONTENT_BYTES)?;
            payload.taken = payload.bytes.len() - rest.len();
            payload.exhausted = self.content.len() < CONTENT_BYTES;
        } else {
            self.content = std::mem::take(&mut payload.bytes);
            payload.exhausted = true;
        }
        self.content_bytes = self.content_bytes.saturating_add(self.content.len() as u64);
        match self.content_bytes > self.limits.content_bytes {
            true => Err(ResponseError::TooLong),
            false => Ok(()),
        }
    }

    /// Reads the next thing out of the content.
    fn read_content(&mut self) -> Result<(), ResponseError> {
        let mut content = self.content.get(self.read..).unwrap_or_default();
        let before = content.len();
        let Some(payload) = &mut self.payload else {
            return Ok(());
        };
        let request_id = payload.header.request_id;
        if payload.header.kind == FrameKind::Error {
            payload.error.extend_from_slice(content);
            self.read = self.content.len();
            return match payload.error.len() > ERROR_BYTES_MAX {
                true => Err(ResponseError::ErrorFrame(request_id)),
                false => Ok(()),
            };
        }
        let Some(answer) = self.answers.get_mut(&request_id) else {
            return Err(ResponseError::UnknownRequest(request_id));
        };
        let response = answer.read(&mut content)?;
        self.read += before - content.len();
        self.may_tell_more = response.is_some();
        if let Some(response) = response {
            self.tell(request_id, response);
        }
        Ok(())
    }

    /// All of a frame was read: looks whether that was the last of its request.
    fn end_frame(&mut self) -> Result<(), ResponseError> {
        let Some(Payload { header, error, .. }) = self.payload.take() else {
            return Ok(());
        };
        let request_id = header.request_id;
        self.streams.close(header);
        if header.kind == FrameKind::Error {
            self.answers.remove(&request_id);
            let failed = read_error(&error).ok_or(ResponseError::ErrorFrame(request_id))?;
            self.tell(request_id, failed);
        } else if header.flags & flags::EOS != 0 {
            if let Some(answer) = self.answers.remove(&request_id) {
                answer.finish()?;
            }
            self.tell(request_id, Response::End);
        }
        Ok(())
    }

    fn tell(&mut self, request_id: RequestId, response: Response) {
        self.events.push_back(Event {
            request_id,
            response,
        });
    }
}

fn check_response(
    header: FrameHeader,
    answers: &BTreeMap<RequestId, Answer>,
) -> Result<(), ResponseError> {
    let goes_on = header.flags & flags::CONTINUATION != 0;
    let ends = header.flags & flags::EOS != 0;
    if header.kind == FrameKind::CommandResponse && goes_on == ends {
        return Err(ResponseError::Flags(header.flags));
    }
    match answers.contains_key(&header.request_id) {
        true => Ok(()),
        false => Err(ResponseError::UnknownRequest(header.request_id)),
    }
}

#[cfg(test)]
mod tests;
