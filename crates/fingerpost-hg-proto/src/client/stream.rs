//! The streams of an answer, each with its content encoding.

use std::collections::BTreeMap;

use super::response::ResponseError;
use crate::cbor::{self, Value};
use crate::encoding::{ContentEncoding, Decompressor};
use crate::frame::{FrameHeader, StreamFlags, StreamId, flags};

/// Servers use one stream, or one for each answer that they encoded before; each
/// may take a window of 8 MiB.
const STREAMS_MAX: usize = 128;
/// The settings name one encoding.
const SETTINGS_BYTES_MAX: usize = 1024;

/// The streams that began.
#[derive(Debug, Default)]
pub(super) struct Streams(BTreeMap<StreamId, Stream>);

#[derive(Debug, Default)]
struct Stream {
    settings: Vec<u8>,
    decompressor: Option<Decompressor>,
}

impl Streams {
    /// Looks at what a header says about its stream.
    pub(super) fn take(&mut self, header: FrameHeader) -> Result<(), ResponseError> {
        let id = header.stream_id;
        if id.0 % 2 == 1 {
            return Err(ResponseError::OddStream(id));
        }
        if !self.0.contains_key(&id) {
            if !header.stream_flags.contains(StreamFlags::BEGIN) {
                return Err(ResponseError::StreamNotBegun(id));
            }
            if self.0.len() >= STREAMS_MAX {
                return Err(ResponseError::TooManyStreams);
            }
            self.0.insert(id, Stream::default());
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
        let Some(stream) = self.0.get_mut(&id) else {
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
        let stream = self.0.get_mut(&id);
        stream
            .and_then(|stream| stream.decompressor.as_mut())
            .ok_or(ResponseError::NoSettings(id))
    }

    /// Forgets the stream if the frame was its last.
    pub(super) fn close(&mut self, header: FrameHeader) {
        if header.stream_flags.contains(StreamFlags::END) {
            self.0.remove(&header.stream_id);
        }
    }
}
