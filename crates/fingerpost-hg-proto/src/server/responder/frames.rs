//! The frames of one answer body: what they say about their stream, and where
//! long payloads are cut.

use crate::cbor::Writer;
use crate::encoding::ContentEncoding;
use crate::frame::{FrameHeader, FrameKind, RequestId, StreamFlags, StreamId, flags};

/// Writes frames of the server's streams, one stream after the other.
#[derive(Debug)]
pub(super) struct Frames {
    stream_id: StreamId,
    begun: bool,
    settled: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            stream_id: StreamId::SERVER,
            begun: false,
            settled: false,
        }
    }
}

/// What a header says beside its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) request_id: RequestId,
    pub(super) kind: FrameKind,
    /// The last of these frames is the last of its response.
    pub(super) eos: bool,
    /// Payloads are marked as encoded, unless they are empty.
    pub(super) encoded: bool,
}

const PAYLOAD_BYTES_MAX: usize = FrameHeader::PAYLOAD_BYTES_MAX;

impl Frames {
    /// Goes over to another stream, with settings and an encoding of its own, if
    /// something is on this one already.
    pub(super) fn turn_over(&mut self) {
        if self.begun {
            // Streams of servers have even numbers. One that was left is never
            // used again, and there are fewer than 64 in a body.
            self.stream_id = StreamId(self.stream_id.0.saturating_add(2));
            (self.begun, self.settled) = (false, false);
        }
    }

    /// Says once how payloads are encoded.
    pub(super) fn settle(
        &mut self,
        out: &mut Vec<u8>,
        request_id: RequestId,
        encoding: ContentEncoding,
    ) {
        if self.settled {
            return;
        }
        self.settled = true;
        let label = Label {
            request_id,
            kind: FrameKind::StreamSettings,
            eos: true,
            encoded: false,
        };
        let start = Self::open(out);
        Writer::new(out).bytes(encoding.name().as_bytes());
        self.seal(out, start, label);
    }

    /// Writes a payload, in several frames if it is long.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, payload: &[u8], label: Label) {
        out.reserve(payload.len() + framing_bytes(payload.len()));
        let (whole, last) = cut_last(payload);
        for payload in whole.chunks(PAYLOAD_BYTES_MAX) {
            self.put_one(
                out,
                payload,
                Label {
                    eos: false,
                    ..label
                },
            );
        }
        if !last.is_empty() || label.eos {
            self.put_one(out, last, label);
        }
    }

    /// Leaves room for a header; the caller then appends a payload.
    pub(super) fn open(out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.extend_from_slice(&[0; FrameHeader::BYTES]);
        start
    }

    /// Puts headers where they belong, now that the payload after the one at
    /// `start` is known. Nothing remains of an empty one that is not the last.
    pub(super) fn seal(&mut self, out: &mut Vec<u8>, start: usize, label: Label) {
        let first = start + FrameHeader::BYTES;
        let len = out.len().saturating_sub(first);
        if len == 0 && !label.eos {
            out.truncate(start);
            return;
        }
        let frames = len.div_ceil(PAYLOAD_BYTES_MAX).max(1);
        // Long payloads are rare here. Each part moves up by the headers that
        // come before it, the last one first.
        out.resize(out.len() + (frames - 1) * FrameHeader::BYTES, 0);
        for part in (1..frames).rev() {
            let from = first + part * PAYLOAD_BYTES_MAX;
            let until = (from + PAYLOAD_BYTES_MAX).min(first + len);
            out.copy_within(from..until, from + part * FrameHeader::BYTES);
        }
        for part in 0..frames {
            let is_last = part + 1 == frames;
            let payload_bytes = match is_last {
                true => len - part * PAYLOAD_BYTES_MAX,
                false => PAYLOAD_BYTES_MAX,
            };
            let eos = label.eos && is_last;
            let header = self.header(payload_bytes, Label { eos, ..label });
            let at = start + part * (PAYLOAD_BYTES_MAX + FrameHeader::BYTES);
            out[at..at + FrameHeader::BYTES].copy_from_slice(&header);
        }
    }

    fn put_one(&mut self, out: &mut Vec<u8>, payload: &[u8], label: Label) {
        out.extend_from_slice(&self.header(payload.len(), label));
        out.extend_from_slice(payload);
    }

    fn header(&mut self, payload_bytes: usize, label: Label) -> [u8; FrameHeader::BYTES] {
        let mut stream_flags = StreamFlags::NONE;
        if !std::mem::replace(&mut self.begun, true) {
            stream_flags = stream_flags.with(StreamFlags::BEGIN);
        }
        if label.encoded && payload_bytes > 0 {
            stream_flags = stream_flags.with(StreamFlags::ENCODED);
        }
        let header = FrameHeader {
            payload_bytes: u32::try_from(payload_bytes).expect("32768 at most"),
            request_id: label.request_id,
            stream_id: self.stream_id,
            stream_flags,
            kind: label.kind,
            flags: match (label.kind, label.eos) {
                (FrameKind::Error, _) => 0,
                (_, true) => flags::EOS,
                (_, false) => flags::CONTINUATION,
            },
        };
        header.to_bytes()
    }
}

/// How many bytes of headers a payload takes.
fn framing_bytes(payload_bytes: usize) -> usize {
    (payload_bytes / PAYLOAD_BYTES_MAX + 1) * FrameHeader::BYTES
}

/// The payload of the last frame, 1 to 32768 bytes, and all before it.
fn cut_last(payload: &[u8]) -> (&[u8], &[u8]) {
    let last = match payload.len() % PAYLOAD_BYTES_MAX {
        0 => PAYLOAD_BYTES_MAX.min(payload.len()),
        rest => rest,
    };
    payload.split_at(payload.len() - last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameReader;

    const LABEL: Label = Label {
        request_id: RequestId(3),
        kind: FrameKind::CommandResponse,
        eos: true,
        encoded: true,
    };

    fn payload(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at / 7) as u8).collect()
    }

    fn frames(mut bytes: &[u8]) -> Vec<(FrameHeader, Vec<u8>)> {
        let mut reader = FrameReader::new(PAYLOAD_BYTES_MAX);
        let mut frames = Vec::new();
        while let Some(frame) = reader.next(&mut bytes).unwrap() {
            frames.push((frame.header, frame.payload.to_vec()));
        }
        reader.finish().unwrap();
        frames
    }

    #[test]
    fn sealing_in_place_and_putting_give_the_same_frames() {
        for len in [0, 1, 32_767, 32_768, 32_769, 65_536, 65_537, 300_000] {
            for label in [
                LABEL,
                Label {
                    eos: false,
                    ..LABEL
                },
            ] {
                let payload = payload(len);
                let mut put = b"before".to_vec();
                Frames::default().put(&mut put, &payload, label);
                let mut sealed = b"before".to_vec();
                let start = Frames::open(&mut sealed);
                sealed.extend_from_slice(&payload);
                Frames::default().seal(&mut sealed, start, label);
                assert!(put == sealed, "{len} bytes, {label:?}");
                let frames = frames(&put[6..]);
                assert_eq!(
                    frames.len(),
                    len.div_ceil(32_768).max(usize::from(label.eos))
                );
                let joined: Vec<u8> = frames.iter().flat_map(|(_, part)| part.clone()).collect();
                assert!(joined == payload);
            }
        }
    }

    #[test]
    fn only_the_first_frame_begins_and_only_the_last_one_ends() {
        let mut out = Vec::new();
        let mut writer = Frames::default();
        writer.settle(&mut out, RequestId(1), ContentEncoding::Zlib);
        writer.settle(&mut out, RequestId(1), ContentEncoding::Zlib);
        writer.put(&mut out, &payload(70_000), LABEL);
        writer.put(&mut out, &[], LABEL);
        let told: Vec<_> = frames(&out)
            .iter()
            .map(|(header, _)| header.to_string())
            .collect();
        assert_eq!(
            told,
            [
                "len=5 request=1 stream=2 begin stream-settings flags=2",
                "len=32768 request=3 stream=2 encoded command-response flags=1",
                "len=32768 request=3 stream=2 encoded command-response flags=1",
                "len=4464 request=3 stream=2 encoded command-response flags=2",
                "len=0 request=3 stream=2 command-response flags=2",
            ]
        );
    }
}
