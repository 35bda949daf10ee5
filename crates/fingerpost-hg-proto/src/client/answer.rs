//! The content of one answer: a status, then objects.

use super::message::format_message;
use super::response::{Response, ResponseError};
use crate::cbor::{self, Decoder, Event, Value};
use crate::frame::RequestId;
use crate::redirect::Location;
use crate::request::byte_strings;

/// An answer whose end has not come.
#[derive(Debug)]
pub(super) struct Answer {
    request_id: RequestId,
    decoder: Decoder,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The first value, a status map.
    Status,
    /// Objects.
    Objects,
    /// Nothing but the end.
    Closing,
}

impl Answer {
    pub(super) fn new(request_id: RequestId, limits: cbor::Limits, whole_bytes: usize) -> Self {
        Self {
            request_id,
            decoder: Decoder::new(limits).chunks_above(whole_bytes),
            stage: Stage::Status,
        }
    }

    /// The objects alone, as they lie where a redirect points to.
    pub(super) fn objects(request_id: RequestId, limits: cbor::Limits, whole_bytes: usize) -> Self {
        Self {
            stage: Stage::Objects,
            ..Self::new(request_id, limits, whole_bytes)
        }
    }

    /// Reads the next thing out of the content, from its front.
    pub(super) fn read(&mut self, content: &mut &[u8]) -> Result<Option<Response>, ResponseError> {
        let event = self.decoder.next(content);
        let event = event.map_err(|error| ResponseError::Cbor(self.request_id, error))?;
        match (self.stage, event) {
            (_, None) => Ok(None),
            (Stage::Closing, Some(_)) => Err(ResponseError::AfterEnd(self.request_id)),
            (Stage::Status, Some(Event::Value(value))) => {
                let status = read_status(value).ok_or(ResponseError::Status(self.request_id))?;
                self.stage = match status {
                    Response::Ok => Stage::Objects,
                    _ => Stage::Closing,
                };
                Ok(Some(status))
            }
            (Stage::Status, Some(_)) => Err(ResponseError::Status(self.request_id)),
            (Stage::Objects, Some(event)) => Ok(Some(match event {
                Event::Value(value) => Response::Object(value),
                Event::BytesBegin { len } => Response::BytesBegin { len },
                Event::BytesChunk(chunk) => Response::BytesChunk(chunk.to_vec()),
                Event::BytesEnd => Response::BytesEnd,
            })),
        }
    }

    /// Says that no more content comes.
    pub(super) fn finish(&self) -> Result<(), ResponseError> {
        let finished = self.decoder.finish();
        finished.map_err(|error| ResponseError::Cbor(self.request_id, error))?;
        match self.stage {
            Stage::Status => Err(ResponseError::Status(self.request_id)),
            Stage::Objects | Stage::Closing => Ok(()),
        }
    }
}

fn read_status(value: Value) -> Option<Response> {
    match value.get(b"status")?.as_bytes()? {
        b"ok" => Some(Response::Ok),
        b"redirect" => Location::from_value(value.get(b"location")?).map(Response::Redirect),
        b"error" => {
            let error = value.get(b"error")?;
            Some(Response::Refused {
                message: error.get(b"message")?.as_bytes()?.to_vec(),
                args: error.get(b"args").map_or(Some(Vec::new()), byte_strings)?,
            })
        }
        _ => None,
    }
}

/// Reads the content of an error frame: its kind, and a message made of parts.
pub(super) fn read_error(content: &[u8]) -> Option<Response> {
    let error = cbor::decode(content, &cbor::Limits::REQUEST).ok()?;
    let mut message = Vec::new();
    for part in error.get(b"message")?.as_array()? {
        let args = part.get(b"args").map_or(Some(Vec::new()), byte_strings)?;
        message.extend(format_message(part.get(b"msg")?.as_bytes()?, &args));
    }
    Some(Response::Failed {
        kind: error.get(b"type")?.as_bytes()?.to_vec(),
        message,
    })
}
