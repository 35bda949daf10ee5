//! Frames: the units of both directions. Eight bytes of header, then a payload.

use std::fmt;

mod reader;

pub use reader::{Frame, FrameError, FrameReader};

/// What ties the frames of one command together: one number for the request
/// and everything that answers it. Clients count 1, 3, 5...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u16);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stream of frames in one direction: what shares a content encoding. Odd
/// from clients, even from servers; each side uses one per exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u8);

impl StreamId {
    /// The stream that clients use.
    pub const CLIENT: Self = Self(1);
    /// The stream that servers use.
    pub const SERVER: Self = Self(2);
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a frame says about its stream, a set of flags in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StreamFlags(pub u8);

impl StreamFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The first frame of the stream.
    pub const BEGIN: Self = Self(1);
    /// The last frame of the stream. Stock peers never set it.
    pub const END: Self = Self(2);
    /// The payload is encoded as the stream's settings say.
    pub const ENCODED: Self = Self(4);

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a frame carries. The numbers are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// 1: part of a command request.
    CommandRequest,
    /// 2: data that belongs to a command request.
    CommandData,
    /// 3: part of the answer to a command.
    CommandResponse,
    /// 5: an answer that ends in an error.
    Error,
    /// 6: text for a user. Stock clients stop at it; we never send it.
    TextOutput,
    /// 7: progress. As [`TextOutput`](Self::TextOutput).
    Progress,
    /// 8: what the sender can take, before its first command.
    SenderSettings,
    /// 9: how the stream encodes its payloads.
    StreamSettings,
}

impl FrameKind {
    /// The kind of a number; `None` for 0, 4 and what is above 9.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::CommandRequest,
            2 => Self::CommandData,
            3 => Self::CommandResponse,
            5 => Self::Error,
            6 => Self::TextOutput,
            7 => Self::Progress,
            8 => Self::SenderSettings,
            9 => Self::StreamSettings,
            _ => return None,
        })
    }

    /// The number on the wire, four bits.
    pub const fn number(self) -> u8 {
        match self {
            Self::CommandRequest => 1,
            Self::CommandData => 2,
            Self::CommandResponse => 3,
            Self::Error => 5,
            Self::TextOutput => 6,
            Self::Progress => 7,
            Self::SenderSettings => 8,
            Self::StreamSettings => 9,
        }
    }

    /// The protocol's own name, `command-request` for example.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandRequest => "command-request",
            Self::CommandData => "command-data",
            Self::CommandResponse => "command-response",
            Self::Error => "error-response",
            Self::TextOutput => "text-output",
            Self::Progress => "progress",
            Self::SenderSettings => "sender-protocol-settings",
            Self::StreamSettings => "stream-settings",
        }
    }
}

/// Flags of a frame of its kind, four bits.
pub mod flags {
    /// Command request: its first frame.
    pub const REQUEST_NEW: u8 = 1;
    /// Command request: a later frame.
    pub const REQUEST_CONTINUATION: u8 = 2;
    /// Command request: more frames of it follow.
    pub const REQUEST_MORE: u8 = 4;
    /// Command request: frames with data follow it.
    pub const REQUEST_EXPECTS_DATA: u8 = 8;
    /// Everything but requests and errors: more frames of it follow.
    pub const CONTINUATION: u8 = 1;
    /// Everything but requests and errors: the last frame of it.
    pub const EOS: u8 = 2;
}

/// The header of a frame: 8 bytes, numbers little end first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// Length of the payload as it is on the wire, 24 bits.
    pub payload_bytes: u32,
    /// The request that the frame belongs to.
    pub request_id: RequestId,
    /// The stream that it travels on.
    pub stream_id: StreamId,
    /// What it says about that stream.
    pub stream_flags: StreamFlags,
    /// What it carries.
    pub kind: FrameKind,
    /// Flags of its kind, four bits: see [`flags`].
    pub flags: u8,
}

impl FrameHeader {
    /// Length of a header.
    pub const BYTES: usize = 8;
    /// The longest payload that we ever send. Stock peers send no longer one
    /// either, and lose their place after one of more than 65,535 bytes: they
    /// count the third byte of the length as 16,384s.
    pub const PAYLOAD_BYTES_MAX: usize = 32_768;

    /// The header as it is on the wire.
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        let [l0, l1, l2, _] = self.payload_bytes.to_le_bytes();
        let [r0, r1] = self.request_id.0.to_le_bytes();
        let kind = self.kind.number() << 4 | self.flags & 0xf;
        [
            l0,
            l1,
            l2,
            r0,
            r1,
            self.stream_id.0,
            self.stream_flags.0,
            kind,
        ]
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`FrameError::UnknownKind`].
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Result<Self, FrameError> {
        let [l0, l1, l2, r0, r1, stream, stream_flags, kind] = bytes;
        let Some(known) = FrameKind::from_number(kind >> 4) else {
            return Err(FrameError::UnknownKind(kind >> 4));
        };
        Ok(Self {
            payload_bytes: u32::from_le_bytes([l0, l1, l2, 0]),
            request_id: RequestId(u16::from_le_bytes([r0, r1])),
            stream_id: StreamId(stream),
            stream_flags: StreamFlags(stream_flags),
            kind: known,
            flags: kind & 0xf,
        })
    }
}

/// As debugging clients print it: `len=28 request=1 stream=1 begin
/// sender-protocol-settings flags=2`.
impl fmt::Display for FrameHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "len={} request={} stream={}",
            self.payload_bytes, self.request_id, self.stream_id
        )?;
        for (flag, name) in [
            (StreamFlags::BEGIN, "begin"),
            (StreamFlags::END, "end"),
            (StreamFlags::ENCODED, "encoded"),
        ] {
            if self.stream_flags.contains(flag) {
                write!(f, " {name}")?;
            }
        }
        write!(f, " {} flags={}", self.kind.as_str(), self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_both_ways() {
        let bytes = [0x2b, 0, 1, 1, 2, 2, 5, 0x31];
        let header = FrameHeader::from_bytes(bytes).unwrap();
        assert_eq!(header.payload_bytes, 0x1002b);
        assert_eq!(header.request_id, RequestId(0x201));
        assert_eq!(header.stream_id, StreamId::SERVER);
        assert!(header.stream_flags.contains(StreamFlags::BEGIN));
        assert!(!header.stream_flags.contains(StreamFlags::END));
        assert_eq!(header.kind, FrameKind::CommandResponse);
        assert_eq!(header.flags, flags::CONTINUATION);
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(
            header.to_string(),
            "len=65579 request=513 stream=2 begin encoded command-response flags=1"
        );
    }

    #[test]
    fn numbers_without_a_kind_are_refused() {
        for number in 0..16 {
            match FrameKind::from_number(number) {
                Some(kind) => assert_eq!(kind.number(), number),
                None => assert_eq!(
                    FrameHeader::from_bytes([0, 0, 0, 1, 0, 1, 1, number << 4]),
                    Err(FrameError::UnknownKind(number))
                ),
            }
        }
    }
}
