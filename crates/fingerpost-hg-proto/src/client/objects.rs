//! The objects of an answer where a content redirect points to: plain CBOR,
//! without frames and without a status.

use super::answer::Answer;
use super::reader::Limits;
use super::response::{Event, Response, ResponseError};
use crate::frame::RequestId;

/// Reads such content as it arrives, and tells what a
/// [`ResponseReader`](super::ResponseReader) tells of the same objects. After an
/// error the same error comes again for ever.
#[derive(Debug)]
pub struct ObjectReader {
    request_id: RequestId,
    answer: Answer,
    content_bytes: u64,
    content_bytes_max: u64,
    failed: Option<ResponseError>,
}

impl ObjectReader {
    /// A reader of the objects that answer a request. Limits of frames mean
    /// nothing here.
    pub fn new(limits: Limits, request_id: RequestId) -> Self {
        Self {
            request_id,
            answer: Answer::objects(request_id, limits.cbor, limits.whole_bytes),
            content_bytes: 0,
            content_bytes_max: limits.content_bytes,
            failed: None,
        }
    }

    /// Takes the next event from the front of `content`; `None` once `content` is
    /// used up and more of it is needed. Call it until then: nothing is lost,
    /// but the end of a byte string may have to be told.
    ///
    /// # Errors
    ///
    /// [`ResponseError::Cbor`] and [`ResponseError::TooLong`].
    pub fn next(&mut self, content: &mut &[u8]) -> Result<Option<Event>, ResponseError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.read(content)
            .inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Says that the content is complete, and gives the last event, which is
    /// [`Response::End`].
    ///
    /// # Errors
    ///
    /// The error of before, or that the content ends inside a value.
    pub fn finish(self) -> Result<Event, ResponseError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.answer.finish()?;
        Ok(Event {
            request_id: self.request_id,
            response: Response::End,
        })
    }

    fn read(&mut self, content: &mut &[u8]) -> Result<Option<Event>, ResponseError> {
        let before = content.len();
        let response = self.answer.read(content)?;
        let used = (before - content.len()) as u64;
        self.content_bytes = self.content_bytes.saturating_add(used);
        if self.content_bytes > self.content_bytes_max {
            return Err(ResponseError::TooLong);
        }
        Ok(response.map(|response| Event {
            request_id: self.request_id,
            response,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::{self, DecodeError, Value, Writer};

    const ONE: RequestId = RequestId(1);
    const LIMITS: Limits = Limits {
        payload_bytes: 0,
        whole_bytes: 8,
        cbor: cbor::Limits {
            depth: 4,
            bytes: 100,
            items: 20,
        },
        content_bytes: 60,
    };

    fn read(content: &[u8], piece_bytes: usize) -> Result<Vec<Response>, ResponseError> {
        let mut reader = ObjectReader::new(LIMITS, ONE);
        let mut told = Vec::new();
        for mut piece in content.chunks(piece_bytes) {
            while let Some(event) = reader.next(&mut piece)? {
                assert_eq!(event.request_id, ONE);
                told.push(event.response);
            }
        }
        told.push(reader.finish()?.response);
        Ok(told)
    }

    fn objects() -> Vec<u8> {
        let mut content = Vec::new();
        let mut writer = Writer::new(&mut content);
        writer.value(&Value::record([(&b"totalitems"[..], 1_u64.into())]));
        writer.bytes(b"short");
        writer.bytes(b"longer than that");
        content
    }

    #[test]
    fn objects_are_told_wherever_the_content_is_cut() {
        let content = objects();
        for piece_bytes in 1..=content.len() {
            let mut told = read(&content, piece_bytes).unwrap();
            let mut long = Vec::new();
            told.retain(|response| match response {
                Response::BytesChunk(chunk) => {
                    long.extend_from_slice(chunk);
                    false
                }
                _ => true,
            });
            let expected = [
                Response::Object(Value::record([(&b"totalitems"[..], 1_u64.into())])),
                Response::Object(Value::bytes("short")),
                Response::BytesBegin { len: Some(16) },
                Response::BytesEnd,
                Response::End,
            ];
            assert_eq!(told, expected);
            assert_eq!(long, b"longer than that");
        }
    }

    #[test]
    fn nothing_at_all_is_an_answer_without_objects() {
        assert_eq!(read(b"", 1), Ok(vec![Response::End]));
    }

    #[test]
    fn what_is_cut_inside_a_value_is_refused() {
        let content = objects();
        let truncated = ResponseError::Cbor(ONE, DecodeError::Truncated);
        assert_eq!(
            read(&content[..content.len() - 1], 7),
            Err(truncated.clone())
        );
        assert_eq!(read(&content[..5], 7), Err(truncated));
    }

    #[test]
    fn limits_hold() {
        let refused = |content: &[u8]| read(content, 7).unwrap_err();
        assert_eq!(refused(&[0xf6; 61]), ResponseError::TooLong);
        assert_eq!(
            refused(&[0x81; 10]),
            ResponseError::Cbor(ONE, DecodeError::TooDeep)
        );
        assert!(matches!(refused(b"<html>"), ResponseError::Cbor(..)));
    }
}
