//! The streams of an answer, each with its content encoding.

use std::collections::BTreeMap;

use super::response::ResponseError;
use crate::cbor::{self, Value};
use crate::encoding::{ContentEncoding, Decompressor};
use crate::frame::{FrameHeader, StreamFlags, StreamId, flags};

/// Streams beside one for each request, which is what servers use at most; each
/// may take a window of 8 MiB.
const MORE_STREAMS: usize = 3;
/// The settings name one encoding.
const SETTINGS_BYTES_MAX: usize = 1024;

/// The streams that began.
#[derive(Debug)]
pub(super) struct Streams {
    begun: BTreeMap<StreamId, Stream>,
    max: usize,
}

#[derive(Debug, Default)]
struct Stream {
    settings: Vec<u8>,
    decompressor: Option<Decompressor>,
}

impl Streams {
    /// The streams of the answers to so many requests.
    pub(super) fn of(requests: usize) -> Self {
        Self {
            begun: BTreeMap::new(),
            max: requests.saturating_add(MORE_STREAMS),
        }
    }

    /// Looks at what a header says about its stream.
    pub(super) fn take(&mut self, header: FrameHeader) -> Result<(), ResponseError> {
        let id = header.stream_id;
        if id.0 % 2 == 1 {
            return Err(ResponseError::OddStream(id));
        }
        if !self.begun.contains_key(&id) {
            if !header.stream_flags.contains(StreamFlags::BEGIN) {
                return Err(ResponseError::StreamNotBegun(id));
            }
            if self.begun.len() >= self.max {
                return Err(ResponseError::TooManyStreams);
            }
            self.begun.insert(id, Stream::default());
        }
        Ok(())
    }

    /// Takes in the payload of a settings frame.
    pub(super) fn settle(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), ResponseError> {
        let id = header.stream_id;
        let wrong = ResponseError::StreamSettings(id);
        let Some(stream) = self.begun.get_mut(&id) else {
            return Err(wrong);
        };
        if stream.decompressor.is_some()
            || stream.settings.len() + payload.len() > SETTINGS_BYTES_MAX
        {
            return Err(wrong);
        }
        stream.settings.extend_from_slice(payload);
        if header.flags & flags::EOS == 0 {
            return Ok(());
        }
        let name = cbor::decode(&stream.settings, &cbor::Limits::RESPONSE);
        let encoding = name
            .ok()
            .as_ref()
            .and_then(Value::as_bytes)
            .and_then(ContentEncoding::from_name)
            .ok_or(wrong)?;
        stream.decompressor = Some(Decompressor::new(encoding)?);
        Ok(())
    }

    /// What decodes the payloads of a stream.
    pub(super) fn decompressor(
        &mut self,
        id: StreamId,
    ) -> Result<&mut Decompressor, ResponseError> {
        let stream = self.begun.get_mut(&id);
        stream
            .and_then(|stream| stream.decompressor.as_mut())
            .ok_or(ResponseError::NoSettings(id))
    }

    /// Forgets the stream if the frame was its last.
    pub(super) fn close(&mut self, header: FrameHeader) {
        if header.stream_flags.contains(StreamFlags::END) {
            self.begun.remove(&header.stream_id);
        }
    }
}
