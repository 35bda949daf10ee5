//! Command requests out of the body of an HTTP request.

use std::collections::{BTreeMap, BTreeSet};

use super::misbehaved::Misbehaved;
use crate::cbor::{self, Value};
use crate::encoding::ContentEncoding;
use crate::frame::{
    Frame, FrameHeader, FrameKind, FrameReader, RequestId, StreamFlags, StreamId, flags,
};
use crate::request::{CommandRequest, byte_strings};

/// What the body of one request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Frames in the body.
    pub frames: usize,
    /// Bytes of one frame's payload.
    pub payload_bytes: usize,
    /// Commands in the body.
    pub commands: usize,
    /// Requests that are incomplete at the same time.
    pub open_requests: usize,
    /// Bytes of one request's map.
    pub request_bytes: usize,
    /// Bytes of the sender's settings.
    pub settings_bytes: usize,
    /// What the maps of all requests may hold together in items, and one of them
    /// in depth and bytes.
    pub cbor: cbor::Limits,
}

impl Default for Limits {
    /// For a body of 16 MiB.
    fn default() -> Self {
        Self::of_body(16 << 20)
    }
}

impl Limits {
    /// A body of so many bytes in frames of up to 1 MiB, 64 commands, of which 16
    /// may be incomplete, 64 KiB of settings, and a frame for each KiB and an item
    /// for each 64 bytes, but as many as in 16 MiB in any case.
    pub fn of_body(body_bytes: usize) -> Self {
        let least = cbor::Limits::REQUEST;
        Self {
            body_bytes,
            frames: (body_bytes >> 10).max(16_384),
            payload_bytes: 1 << 20,
            commands: 64,
            open_requests: 16,
            request_bytes: body_bytes,
            settings_bytes: 64 << 10,
            cbor: cbor::Limits {
                bytes: body_bytes,
                items: (body_bytes / 64).max(least.items),
                ..least
            },
        }
    }
}

/// What an [`Inbox`] yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A command request, complete.
    Command {
        /// Its id, which no other request of the body has.
        request_id: RequestId,
        /// What is asked for.
        request: CommandRequest,
    },
}

/// Reads the body of a request as it arrives.
#[derive(Debug)]
pub struct Inbox {
    limits: Limits,
    frames: FrameReader,
    phase: Phase,
    streams: ActiveStreams,
    open: BTreeMap<RequestId, OpenRequest>,
    complete: BTreeSet<RequestId>,
    content_encodings: Option<Vec<Vec<u8>>>,
    body_bytes: usize,
    frames_seen: usize,
    failed: Option<Misbehaved>,
}

/// What may come next.
#[derive(Debug)]
enum Phase {
    /// Settings or a request.
    Start,
    /// The rest of the settings.
    Settings(Vec<u8>),
    /// Requests and their data.
    Requests,
}

#[derive(Debug)]
struct OpenRequest {
    map: Vec<u8>,
    expects_data: bool,
    /// The map is complete, its data is coming.
    receives_data: bool,
}

impl Inbox {
    /// An inbox for one body.
    pub fn new(limits: Limits) -> Self {
        Self {
            frames: FrameReader::new(limits.payload_bytes),
            limits,
            phase: Phase::Start,
            streams: ActiveStreams::default(),
            open: BTreeMap::new(),
            complete: BTreeSet::new(),
            content_encodings: None,
            body_bytes: 0,
            frames_seen: 0,
            failed: None,
        }
    }

    /// Takes in a piece of the body and appends what is complete to `received`.
    ///
    /// # Errors
    ///
    /// [`Misbehaved`], now and at every later call. What was received before
    /// is void then.
    pub fn push(&mut self, body: &[u8], received: &mut Vec<Received>) -> Result<(), Misbehaved> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let result = self.take(body, received);
        result.inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// The bytes that were taken in.
    pub const fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Says that the body is complete.
    ///
    /// # Errors
    ///
    /// The error of before, or what is missing at the end.
    pub fn finish(&self) -> Result<(), Misbehaved> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.frames.finish()?;
        match self.open.keys().next() {
            Some(&request_id) => Err(Misbehaved::Incomplete(request_id)),
            None if self.complete.is_empty() => Err(Misbehaved::NoCommand),
            None => Ok(()),
        }
    }

    /// The content encodings that the client lists, in its order; `None` if it
    /// sent no settings (so far).
    pub fn content_encodings(&self) -> Option<&[Vec<u8>]> {
        self.content_encodings.as_deref()
    }

    /// The encoding of the answer: see [`ContentEncoding::choose`]. A client
    /// that lists nothing at all takes the identity.
    pub fn content_encoding(&self) -> Option<ContentEncoding> {
        match &self.content_encodings {
            None => Some(ContentEncoding::Identity),
            Some(names) => ContentEncoding::choose(names),
        }
    }

    fn take(&mut self, body: &[u8], received: &mut Vec<Received>) -> Result<(), Misbehaved> {
        self.body_bytes = self.body_bytes.saturating_add(body.len());
        if self.body_bytes > self.limits.body_bytes {
            return Err(Misbehaved::BodyTooLong);
        }
        let mut body = body;
        // The reader is out of the way while its frames are looked at.
        let mut frames = std::mem::replace(&mut self.frames, FrameReader::new(0));
        let result = loop {
            match frames.next(&mut body) {
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
                Ok(Some(frame)) => match self.frame(frame) {
                    Ok(None) => {}
                    Ok(Some(command)) => received.push(command),
                    Err(error) => break Err(error),
                },
            }
        };
        self.frames = frames;
        result
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<Option<Received>, Misbehaved> {
        self.frames_seen += 1;
        if self.frames_seen > self.limits.frames {
            return Err(Misbehaved::TooManyFrames);
        }
        self.streams.take(frame.header)?;
        match frame.header.kind {
            FrameKind::SenderSettings => self.settings(frame).map(|()| None),
            FrameKind::CommandRequest => self.request(frame),
            FrameKind::CommandData => self.data(frame),
            kind => Err(Misbehaved::UnexpectedKind(kind)),
        }
    }

    fn settings(&mut self, frame: Frame<'_>) -> Result<(), Misbehaved> {
        let mut settings = match &mut self.phase {
            Phase::Start => Vec::new(),
            Phase::Settings(settings) => std::mem::take(settings),
            Phase::Requests => return Err(Misbehaved::SettingsOrder(frame.header.kind)),
        };
        let more =
            goes_on(frame.header.flags).ok_or(Misbehaved::SettingsFlags(frame.header.flags))?;
        settings.extend_from_slice(frame.payload);
        if settings.len() > self.limits.settings_bytes {
            return Err(Misbehaved::RequestTooLong(frame.header.request_id));
        }
        if more {
            self.phase = Phase::Settings(settings);
            return Ok(());
        }
        let value = cbor::decode(&settings, &self.limits.cbor).map_err(Misbehaved::SettingsCbor)?;
        self.content_encodings = content_encodings(&value)?;
        self.phase = Phase::Requests;
        Ok(())
    }

    fn request(&mut self, frame: Frame<'_>) -> Result<Option<Received>, Misbehaved> {
        let FrameHeader {
            request_id,
            flags,
            kind,
            ..
        } = frame.header;
        if matches!(self.phase, Phase::Settings(_)) {
            return Err(Misbehaved::SettingsOrder(kind));
        }
        self.phase = Phase::Requests;
        let expects_data = flags & flags::REQUEST_EXPECTS_DATA != 0;
        let is_new = flags & flags::REQUEST_NEW != 0;
        if is_new == (flags & flags::REQUEST_CONTINUATION != 0) {
            return Err(Misbehaved::RequestFlags(flags));
        }
        if self.complete.contains(&request_id) {
            return Err(Misbehaved::AlreadyComplete(request_id));
        }
        if is_new {
            self.begin(request_id, expects_data)?;
        }
        let Some(request) = self.open.get_mut(&request_id) else {
            return Err(Misbehaved::NotReceiving(request_id));
        };
        if request.receives_data {
            return Err(Misbehaved::AlreadyComplete(request_id));
        }
        if request.expects_data != expects_data {
            return Err(Misbehaved::DataFlagDiffers(request_id));
        }
        if frame.payload.len() > self.limits.request_bytes.saturating_sub(request.map.len()) {
            return Err(Misbehaved::RequestTooLong(request_id));
        }
        request.map.extend_from_slice(frame.payload);
        if flags & flags::REQUEST_MORE != 0 {
            return Ok(None);
        }
        match expects_data {
            true => request.receives_data = true,
            false => return self.complete(request_id).map(Some),
        }
        Ok(None)
    }

    fn begin(&mut self, request_id: RequestId, expects_data: bool) -> Result<(), Misbehaved> {
        if self.open.contains_key(&request_id) {
            return Err(Misbehaved::AlreadyReceiving(request_id));
        }
        if self.open.len() >= self.limits.open_requests {
            return Err(Misbehaved::TooManyOpenRequests);
        }
        if self.open.len() + self.complete.len() >= self.limits.commands {
            return Err(Misbehaved::TooManyCommands);
        }
        let request = OpenRequest {
            map: Vec::new(),
            expects_data,
            receives_data: false,
        };
        self.open.insert(request_id, request);
        Ok(())
    }

    /// Data is received and dropped: no command of the protocol reads any.
    fn data(&mut self, frame: Frame<'_>) -> Result<Option<Received>, Misbehaved> {
        let request_id = frame.header.request_id;
        if matches!(self.phase, Phase::Settings(_)) {
            return Err(Misbehaved::SettingsOrder(frame.header.kind));
        }
        let expected = self.open.get(&request_id);
        if !expected.is_some_and(|request| request.receives_data) {
            return Err(Misbehaved::DataNotExpected(request_id));
        }
        match goes_on(frame.header.flags) {
            None => Err(Misbehaved::DataFlags(frame.header.flags)),
            Some(true) => Ok(None),
            Some(false) => self.complete(request_id).map(Some),
        }
    }

    fn complete(&mut self, request_id: RequestId) -> Result<Received, Misbehaved> {
        let request = self.open.remove(&request_id);
        let map = request.map(|request| request.map).unwrap_or_default();
        self.complete.insert(request_id);
        let request = CommandRequest::decode(&map, &self.limits.cbor)?;
        self.limits.cbor.items -= request.args.items().min(self.limits.cbor.items);
        Ok(Received::Command {
            request_id,
            request,
        })
    }
}

/// What the flags of settings and data say: more follows, or this is the end.
/// `None` if they say neither or both.
fn goes_on(flags: u8) -> Option<bool> {
    match (flags & flags::CONTINUATION != 0, flags & flags::EOS != 0) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

/// The list of names in a client's settings, if they have one.
fn content_encodings(settings: &Value) -> Result<Option<Vec<Vec<u8>>>, Misbehaved> {
    let settings = settings.as_map().ok_or(Misbehaved::SettingsShape)?;
    let names = settings.get(b"contentencodings").map(byte_strings);
    match names {
        None => Ok(None),
        Some(None) => Err(Misbehaved::SettingsShape),
        Some(names) => Ok(names),
    }
}

/// The client's streams that began and did not end, a bit for each odd id.
#[derive(Debug, Default)]
struct ActiveStreams(u128);

impl ActiveStreams {
    fn take(&mut self, header: FrameHeader) -> Result<(), Misbehaved> {
        let StreamId(id) = header.stream_id;
        if id % 2 == 0 {
            return Err(Misbehaved::EvenStream(header.stream_id));
        }
        let bit = 1 << (id / 2);
        if self.0 & bit == 0 && !header.stream_flags.contains(StreamFlags::BEGIN) {
            return Err(Misbehaved::StreamNotBegun);
        }
        self.0 |= bit;
        if header.stream_flags.contains(StreamFlags::ENCODED) {
            return Err(Misbehaved::Encoded(header.stream_id));
        }
        if header.stream_flags.contains(StreamFlags::END) {
            self.0 &= !bit;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
