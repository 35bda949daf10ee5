//! The body of a request.

use crate::cbor::Writer;
use crate::frame::{FrameHeader, FrameKind, RequestId, StreamFlags, StreamId, flags};
use crate::request::CommandRequest;

/// Writes settings and command requests as stock clients do.
#[derive(Debug)]
pub struct RequestWriter {
    content_encodings: Option<Vec<Vec<u8>>>,
    begun: bool,
    next_id: Option<u16>,
}

/// A body has no more than 32,768 requests: their ids are odd numbers of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests in one body")]
pub struct TooManyRequests;

impl RequestWriter {
    /// A writer at the beginning of a body whose settings list these content
    /// encodings, in the client's order.
    pub fn new<N: AsRef<[u8]>>(content_encodings: impl IntoIterator<Item = N>) -> Self {
        let names = content_encodings.into_iter();
        Self {
            content_encodings: Some(names.map(|name| name.as_ref().to_vec()).collect()),
            ..Self::without_settings()
        }
    }

    /// A writer that sends no settings; the server answers in the identity.
    pub const fn without_settings() -> Self {
        Self {
            content_encodings: None,
            begun: false,
            next_id: Some(1),
        }
    }

    /// Appends a request, the settings before the first one, and gives back
    /// the id that its answer will have.
    ///
    /// # Errors
    ///
    /// [`TooManyRequests`], and nothing is written.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        request: &CommandRequest,
    ) -> Result<RequestId, TooManyRequests> {
        let id = self.next_id.ok_or(TooManyRequests)?;
        let request_id = RequestId(id);
        self.next_id = id.checked_add(2);
        if let Some(names) = self.content_encodings.take() {
            self.put_settings(out, request_id, &names);
        }
        let mut map = Vec::new();
        request.encode(&mut map);
        let mut parts = map.chunks(FrameHeader::PAYLOAD_BYTES_MAX).peekable();
        let mut flags = flags::REQUEST_NEW;
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                flags |= flags::REQUEST_MORE;
            }
            self.put(out, request_id, FrameKind::CommandRequest, flags, part);
            flags = flags::REQUEST_CONTINUATION;
        }
        Ok(request_id)
    }

    fn put_settings(&mut self, out: &mut Vec<u8>, request_id: RequestId, names: &[Vec<u8>]) {
        let mut settings = Vec::new();
        let mut writer = Writer::new(&mut settings);
        writer.map(1);
        writer.bytes(b"contentencodings");
        writer.array(names.len());
        names.iter().for_each(|name| writer.bytes(name));
        let mut parts = settings.chunks(FrameHeader::PAYLOAD_BYTES_MAX).peekable();
        while let Some(part) = parts.next() {
            let flags = match parts.peek() {
                Some(_) => flags::CONTINUATION,
                None => flags::EOS,
            };
            self.put(out, request_id, FrameKind::SenderSettings, flags, part);
        }
    }

    fn put(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        kind: FrameKind,
        flags: u8,
        payload: &[u8],
    ) {
        let stream_flags = match std::mem::replace(&mut self.begun, true) {
            true => StreamFlags::NONE,
            false => StreamFlags::BEGIN,
        };
        let header = FrameHeader {
            payload_bytes: u32::try_from(payload.len()).expect("32768 at most"),
            request_id,
            stream_id: StreamId::CLIENT,
            stream_flags,
            kind,
            flags,
        };
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Args;
    use crate::server::{Inbox, Limits, Received};

    fn received(body: &[u8]) -> Vec<Received> {
        let mut inbox = Inbox::new(Limits::default());
        let mut received = Vec::new();
        inbox.push(body, &mut received).unwrap();
        inbox.finish().unwrap();
        received
    }

    #[test]
    fn long_requests_are_split_and_put_together() {
        for len in [0, 32_700, 32_768 - 28, 32_768 - 27, 65_536 - 30, 200_000] {
            let args: Args = [("key", vec![b'x'; len])].into_iter().collect();
            let request = CommandRequest::new("lookup", args);
            let mut body = Vec::new();
            let mut writer = RequestWriter::new(["zlib"]);
            let request_id = writer.write(&mut body, &request).unwrap();
            let expected = Received::Command {
                request_id,
                request,
            };
            assert_eq!(received(&body), [expected]);
        }
    }

    #[test]
    fn ids_are_odd_and_end() {
        let mut writer = RequestWriter::without_settings();
        let request = CommandRequest::new("heads", Args::new());
        let mut ids = Vec::new();
        let mut body = Vec::new();
        while let Ok(RequestId(id)) = writer.write(&mut body, &request) {
            ids.push(id);
            body.clear();
        }
        assert!(ids.iter().copied().eq((1..=u16::MAX).step_by(2)));
        assert!(body.is_empty());
    }
}
