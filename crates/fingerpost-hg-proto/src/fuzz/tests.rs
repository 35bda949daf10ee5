//! The fuzz targets as properties: over arbitrary bytes, and over inputs that
//! come close to real bodies.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::frame::{FrameHeader, FrameKind, StreamFlags, StreamId};

/// Parts of values that mean something somewhere.
const PARTS: [&[u8]; 30] = [
    b"\xa1\x46status\x42ok",
    b"\xa1\x44name\x45heads",
    b"\xa2\x44args\xa1\x43key\x41x\x44name\x46lookup",
    b"\xa1\x50contentencodings\x82\x44zlib\x48identity",
    b"\x44zlib",
    b"\x48zstd-8mb",
    b"\x48identity",
    b"\xa2\x45error\xa1\x47message\x42no\x46status\x45error",
    b"\xa2\x47message\x81\xa1\x43msg\x42no\x44type\x46server",
    b"\xa2\x48location\xa2\x49mediatype\x41m\x43url\x41u\x46status\x48redirect",
    b"\xa3\x47apibase\x44api/\x44apis\xa0\x4ev1capabilities\x40",
    b"\xa2\x46hashes\x80\x47targets\x81\xa2\x44name\x41a\x48protocol\x44http",
    b"\xa2",
    b"\xa1",
    b"\x83",
    b"\x81",
    b"\x80",
    b"\xd9\x01\x02\x82",
    b"\x5f",
    b"\xff",
    b"\x58\x40",
    b"\x43abc",
    b"\x41a",
    b"\x41b",
    b"\x00",
    b"\x38\x20",
    b"\xf5",
    b"\xf6",
    b"\x18\x01",
    b"\x61a",
];

/// Parts in a row, a few bytes thrown in.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        12 => select(&PARTS[..]).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
        1 => (0..90_usize).prop_map(|length| vec![b'x'; length]),
    ];
    vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn compressed(encoding: ContentEncoding, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut compressor = Compressor::new(encoding, 1).unwrap();
    compressor.compress(content, &mut out).unwrap();
    compressor.flush(&mut out).unwrap();
    out
}

fn frame(kinds: &'static [FrameKind], streams: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let encoding = prop_oneof![
        3 => Just(ContentEncoding::Identity),
        1 => Just(ContentEncoding::Zlib),
        1 => Just(ContentEncoding::Zstd8mb),
    ];
    let stream_flags = select(&[0_u8, 1, 1, 4, 4, 5, 2][..]);
    let header = (select(kinds), select(streams), stream_flags, 0..6_u8);
    (header, select(&[1_u16, 1, 3, 5][..]), content(), encoding).prop_map(
        |((kind, stream, stream_flags, flags), request_id, content, encoding)| {
            let payload = compressed(encoding, &content);
            let header = FrameHeader {
                payload_bytes: payload.len() as u32,
                request_id: RequestId(request_id),
                stream_id: StreamId(stream),
                stream_flags: StreamFlags(stream_flags),
                kind,
                flags,
            };
            [&header.to_bytes()[..], &payload].concat()
        },
    )
}

fn body(kinds: &'static [FrameKind], streams: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let control = any::<u8>().prop_map(|control| vec![control]);
    (
        control,
        vec(frame(kinds, streams), 0..6),
        vec(any::<u8>(), 0..3),
    )
        .prop_map(|(control, frames, tail)| [control, frames.concat(), tail].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_break_nothing(data in vec(any::<u8>(), 0..200)) {
        // The responder has a property of its own, which takes its time.
        for (_, target) in TARGETS.iter().filter(|(name, _)| *name != "hg_responder") {
            target(&data);
        }
    }

    #[test]
    fn values_are_canonical_and_not_seen_in_pieces(control in any::<u8>(), content in content()) {
        fuzz_cbor(&[&[control][..], &content].concat());
        fuzz_handshake(&content);
    }

    #[test]
    fn servers_do_not_see_how_a_body_is_cut(data in body(
        &[FrameKind::CommandRequest, FrameKind::SenderSettings, FrameKind::CommandData],
        &[1, 1, 1, 1, 2],
    )) {
        fuzz_frames(&data);
        fuzz_inbox(&data);
    }

    #[test]
    fn clients_do_not_see_how_a_body_is_cut(data in body(
        &[FrameKind::CommandResponse, FrameKind::CommandResponse, FrameKind::StreamSettings, FrameKind::Error],
        &[2, 2, 2, 2, 4, 1],
    )) {
        fuzz_frames(&data);
        fuzz_response(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn clients_read_what_servers_write(control in any::<u8>(), calls in vec(any::<u8>(), 0..80)) {
        fuzz_responder(&[&[control][..], &calls].concat());
    }

    #[test]
    fn what_is_compressed_comes_back(data in vec(any::<u8>(), 0..3000)) {
        fuzz_decompressor(&data);
    }
}
