use super::*;
use crate::cbor::DecodeError;
use crate::frame::FrameError;
use crate::request::RequestError;
use crate::server::HttpFailure;

const LIMITS: Limits = Limits {
    body_bytes: 4000,
    frames: 12,
    payload_bytes: 1000,
    commands: 4,
    open_requests: 2,
    request_bytes: 600,
    settings_bytes: 100,
    cbor: cbor::Limits {
        depth: 4,
        bytes: 600,
        items: 50,
    },
};

const NEW: u8 = flags::REQUEST_NEW;
const NEXT: u8 = flags::REQUEST_CONTINUATION;
const MORE: u8 = flags::REQUEST_MORE;
const DATA: u8 = flags::REQUEST_EXPECTS_DATA;
const HEADS: &[u8] = b"\xa1\x44name\x45heads";
const SETTINGS: &[u8] = b"\xa1\x50contentencodings\x82\x44zlib\x44nope";

/// A frame on stream 1, which it begins if it has to.
fn frame(request_id: u16, kind: FrameKind, flags: u8, payload: &[u8]) -> Vec<u8> {
    framed(request_id, 1, 1, kind, flags, payload)
}

fn framed(
    request_id: u16,
    stream: u8,
    stream_flags: u8,
    kind: FrameKind,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let header = FrameHeader {
        payload_bytes: payload.len() as u32,
        request_id: RequestId(request_id),
        stream_id: StreamId(stream),
        stream_flags: StreamFlags(stream_flags),
        kind,
        flags,
    };
    [&header.to_bytes()[..], payload].concat()
}

fn request(request_id: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(request_id, FrameKind::CommandRequest, flags, payload)
}

fn data(request_id: u16, flags: u8) -> Vec<u8> {
    frame(request_id, FrameKind::CommandData, flags, b"data")
}

fn settings(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(1, FrameKind::SenderSettings, flags, payload)
}

/// The ids of the commands in a body, in the order of their ends.
fn ids(frames: &[Vec<u8>]) -> Result<Vec<u16>, Misbehaved> {
    let mut inbox = Inbox::new(LIMITS);
    let mut received = Vec::new();
    inbox.push(&frames.concat(), &mut received)?;
    inbox.finish()?;
    let ids = received.into_iter();
    Ok(ids
        .map(|Received::Command { request_id, .. }| request_id.0)
        .collect())
}

fn refused(frames: &[Vec<u8>], expected: Misbehaved) {
    assert_eq!(ids(frames), Err(expected));
}

#[test]
fn requests_of_different_ids_may_interleave() {
    let (one, other) = HEADS.split_at(5);
    let frames = [
        request(1, NEW | MORE, one),
        request(3, NEW | MORE, one),
        request(3, NEXT | MORE, b""),
        request(3, NEXT, other),
        request(5, NEW, HEADS),
        request(1, NEXT, other),
    ];
    assert_eq!(ids(&frames), Ok(vec![3, 5, 1]));
}

#[test]
fn data_is_waited_for_and_dropped() {
    let frames = [
        request(1, NEW | DATA | MORE, &HEADS[..3]),
        request(1, NEXT | DATA, &HEADS[3..]),
        request(3, NEW, HEADS),
        data(1, flags::CONTINUATION),
        data(1, flags::EOS),
    ];
    assert_eq!(ids(&frames), Ok(vec![3, 1]));
    refused(&frames[..4], Misbehaved::Incomplete(RequestId(1)));
    refused(
        &[request(1, NEW, HEADS), data(1, 2)],
        Misbehaved::DataNotExpected(RequestId(1)),
    );
    refused(&[data(1, 2)], Misbehaved::DataNotExpected(RequestId(1)));
    refused(
        &[frames[0].clone(), data(1, 2)],
        Misbehaved::DataNotExpected(RequestId(1)),
    );
    refused(
        &[request(1, NEW | DATA, HEADS), data(1, 0)],
        Misbehaved::DataFlags(0),
    );
    refused(
        &[request(1, NEW | DATA | MORE, HEADS), request(1, NEXT, b"")],
        Misbehaved::DataFlagDiffers(RequestId(1)),
    );
}

#[test]
fn settings_come_first_and_may_be_split() {
    let (one, other) = SETTINGS.split_at(9);
    let frames = [
        settings(flags::CONTINUATION, one),
        settings(flags::EOS, other),
        request(1, NEW, HEADS),
    ];
    let mut inbox = Inbox::new(LIMITS);
    inbox.push(&frames.concat(), &mut Vec::new()).unwrap();
    assert_eq!(
        inbox.content_encodings(),
        Some(&[b"zlib".to_vec(), b"nope".to_vec()][..])
    );
    assert_eq!(inbox.content_encoding(), Some(ContentEncoding::Zlib));
    let kind = FrameKind::SenderSettings;
    refused(
        &[settings(2, SETTINGS), settings(2, SETTINGS)],
        Misbehaved::SettingsOrder(kind),
    );
    refused(
        &[request(1, NEW, HEADS), settings(2, SETTINGS)],
        Misbehaved::SettingsOrder(kind),
    );
    refused(
        &[settings(1, one), request(1, NEW, HEADS)],
        Misbehaved::SettingsOrder(FrameKind::CommandRequest),
    );
    refused(&[settings(0, SETTINGS)], Misbehaved::SettingsFlags(0));
    refused(&[settings(3, SETTINGS)], Misbehaved::SettingsFlags(3));
    refused(&[settings(2, b"\x81\x00")], Misbehaved::SettingsShape);
    refused(
        &[settings(2, b"\xa1\x50contentencodings\x41x")],
        Misbehaved::SettingsShape,
    );
    refused(
        &[settings(2, one)],
        Misbehaved::SettingsCbor(DecodeError::Truncated),
    );
    refused(&[settings(2, SETTINGS)], Misbehaved::NoCommand);
    refused(&[settings(1, one)], Misbehaved::NoCommand);
}

#[test]
fn without_settings_the_client_takes_the_identity() {
    for (frames, encoding) in [
        (
            vec![request(1, NEW, HEADS)],
            Some(ContentEncoding::Identity),
        ),
        (vec![settings(2, b"\xa0")], Some(ContentEncoding::Identity)),
        (
            vec![settings(2, b"\xa1\x50contentencodings\x81\x41x")],
            None,
        ),
    ] {
        let mut inbox = Inbox::new(LIMITS);
        inbox.push(&frames.concat(), &mut Vec::new()).unwrap();
        assert_eq!(inbox.content_encoding(), encoding);
    }
}

#[test]
fn streams_begin_once_and_are_odd() {
    let kind = FrameKind::CommandRequest;
    let on = |id, stream, flags| framed(id, stream, flags, kind, NEW, HEADS);
    assert_eq!(
        ids(&[on(1, 1, 1), on(3, 1, 0), on(5, 255, 1)]),
        Ok(vec![1, 3, 5])
    );
    refused(&[on(1, 2, 1)], Misbehaved::EvenStream(StreamId(2)));
    refused(&[on(1, 0, 1)], Misbehaved::EvenStream(StreamId(0)));
    refused(&[on(1, 1, 0)], Misbehaved::StreamNotBegun);
    refused(&[on(1, 1, 1), on(3, 3, 0)], Misbehaved::StreamNotBegun);
    refused(&[on(1, 1, 3), on(3, 1, 0)], Misbehaved::StreamNotBegun);
    refused(&[on(1, 1, 5)], Misbehaved::Encoded(StreamId(1)));
}

#[test]
fn frames_out_of_order_are_refused() {
    let id = RequestId(1);
    let begun = request(1, NEW | MORE, b"\xa1");
    refused(
        &[begun, request(1, NEW, HEADS)],
        Misbehaved::AlreadyReceiving(id),
    );
    refused(
        &[request(1, NEW, HEADS), request(1, NEW, HEADS)],
        Misbehaved::AlreadyComplete(id),
    );
    refused(
        &[request(1, NEW, HEADS), request(1, NEXT, b"")],
        Misbehaved::AlreadyComplete(id),
    );
    refused(
        &[request(1, NEW | DATA, HEADS), request(1, NEXT | DATA, b"")],
        Misbehaved::AlreadyComplete(id),
    );
    refused(&[request(1, NEXT, HEADS)], Misbehaved::NotReceiving(id));
    refused(&[request(1, 0, HEADS)], Misbehaved::RequestFlags(0));
    refused(
        &[request(1, NEW | NEXT, HEADS)],
        Misbehaved::RequestFlags(3),
    );
    for kind in [
        FrameKind::CommandResponse,
        FrameKind::Error,
        FrameKind::TextOutput,
        FrameKind::Progress,
        FrameKind::StreamSettings,
    ] {
        refused(&[frame(1, kind, 2, b"")], Misbehaved::UnexpectedKind(kind));
    }
    refused(
        &[vec![0, 0, 0, 1, 0, 1, 1, 0x41]],
        FrameError::UnknownKind(4).into(),
    );
}

#[test]
fn the_map_of_a_request_is_checked() {
    let with = |map: &[u8], error: RequestError| {
        refused(&[request(1, NEW, map)], Misbehaved::Request(error));
    };
    with(b"\xa0", RequestError::NoName);
    with(b"\xa1\x44name\x01", RequestError::NoName);
    with(b"\x81\x00", RequestError::NotAMap("array"));
    with(b"", RequestError::Cbor(DecodeError::Truncated));
    with(
        b"\xa1\x44name\x65heads",
        RequestError::Cbor(DecodeError::TextString),
    );
    with(b"\xa2\x44args\x00\x44name\x41x", RequestError::Args);
    with(b"\xa2\x44args\xa1\x00\x00\x44name\x41x", RequestError::Args);
    with(b"\xa2\x44name\x41x\x48redirect\x00", RequestError::Redirect);
    with(
        b"\xa2\x44name\x41x\x48redirect\xa1\x46hashes\x81\x00",
        RequestError::Redirect,
    );
}

#[test]
fn what_a_redirect_map_leaves_out_is_empty() {
    let map = b"\xa3\x45extra\x01\x44name\x41x\x48redirect\xa1\x47targets\x81\x41a";
    let mut received = Vec::new();
    let mut inbox = Inbox::new(LIMITS);
    inbox.push(&request(1, NEW, map), &mut received).unwrap();
    let [Received::Command { request, .. }] = &received[..] else {
        panic!("one command")
    };
    let redirect = request.redirect.as_ref().unwrap();
    assert_eq!(redirect.targets, [b"a"]);
    assert!(redirect.hashes.is_empty() && request.args.is_empty());
}

#[test]
fn limits_are_kept() {
    let long = vec![0; 601];
    let heads = |id| request(id, NEW, HEADS);
    refused(
        &[
            request(1, NEW | MORE, &long[..600]),
            request(1, NEXT, b"\0"),
        ],
        Misbehaved::RequestTooLong(RequestId(1)),
    );
    refused(
        &[request(1, NEW, &long)],
        Misbehaved::RequestTooLong(RequestId(1)),
    );
    refused(
        &[settings(1, &long[..101])],
        Misbehaved::RequestTooLong(RequestId(1)),
    );
    refused(
        &[heads(1), heads(3), heads(5), heads(7), heads(9)],
        Misbehaved::TooManyCommands,
    );
    let open = |id| request(id, NEW | MORE, HEADS);
    refused(
        &[open(1), open(3), open(5)],
        Misbehaved::TooManyOpenRequests,
    );
    refused(
        &vec![request(1, NEW | MORE, b""); 1],
        Misbehaved::Incomplete(RequestId(1)),
    );
    let mut frames = vec![open(1)];
    frames.resize(13, request(1, NEXT | MORE, b""));
    refused(&frames, Misbehaved::TooManyFrames);
    refused(
        &[request(1, NEW, &[0; 1001])],
        FrameError::TooLong(1001).into(),
    );
    refused(&[vec![0; 4001]], Misbehaved::BodyTooLong);
}

#[test]
fn http_answers_what_the_reference_does() {
    for (misbehaved, http) in [
        (Misbehaved::StreamNotBegun, HttpFailure::PlainText),
        (RequestError::NoName.into(), HttpFailure::PlainText),
        (FrameError::UnknownKind(4).into(), HttpFailure::PlainText),
        (FrameError::Truncated.into(), HttpFailure::Internal),
        (
            RequestError::Cbor(DecodeError::Truncated).into(),
            HttpFailure::Internal,
        ),
        (Misbehaved::NoCommand, HttpFailure::Internal),
        (Misbehaved::Incomplete(RequestId(1)), HttpFailure::Internal),
        (Misbehaved::Encoded(StreamId(1)), HttpFailure::Internal),
        (
            Misbehaved::SettingsCbor(DecodeError::Truncated),
            HttpFailure::Internal,
        ),
        (
            RequestError::Cbor(DecodeError::TooDeep).into(),
            HttpFailure::TooLarge,
        ),
        (FrameError::TooLong(1 << 20).into(), HttpFailure::TooLarge),
        (Misbehaved::BodyTooLong, HttpFailure::TooLarge),
    ] {
        assert_eq!(misbehaved.http(), http, "{misbehaved}");
    }
}

#[test]
fn after_an_error_nothing_else_is_received() {
    let mut inbox = Inbox::new(LIMITS);
    let mut received = Vec::new();
    for body in [request(1, 0, HEADS), request(1, NEW, HEADS)] {
        assert_eq!(
            inbox.push(&body, &mut received),
            Err(Misbehaved::RequestFlags(0))
        );
    }
    assert_eq!(inbox.finish(), Err(Misbehaved::RequestFlags(0)));
    assert!(received.is_empty());
}
