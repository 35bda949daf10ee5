//! Fuzz targets: plain functions over bytes that panic when something that
//! must hold does not. Each decoder has one. They are for tests and fuzzers,
//! never for a server.
//!
//! The first byte of an input steers: mostly into how long pieces the rest
//! is cut.

use crate::cbor::{self, Decoder, Event, Value, Writer};
use crate::client::{self, RequestWriter, Response, ResponseError, ResponseReader};
use crate::encoding::{Compressor, ContentEncoding, Decompressor};
use crate::frame::{FrameError, FrameReader, RequestId};
use crate::handshake::Handshake;
use crate::redirect::RedirectOffer;
use crate::request::CommandRequest;
use crate::server::{self, Inbox, Misbehaved, Received};

mod answers;

pub use answers::fuzz_responder;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 7] = [
    ("hg_cbor", fuzz_cbor),
    ("hg_frames", fuzz_frames),
    ("hg_inbox", fuzz_inbox),
    ("hg_response", fuzz_response),
    ("hg_responder", fuzz_responder),
    ("hg_decompressor", fuzz_decompressor),
    ("hg_handshake", fuzz_handshake),
];

/// Small enough for short inputs to pass them.
const CBOR_LIMITS: cbor::Limits = cbor::Limits {
    depth: 6,
    bytes: 300,
    items: 60,
};
const PAYLOAD_BYTES_MAX: usize = 400;

/// Splits off the byte that steers, and the length of pieces that it means.
fn steered(data: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (&control, input) = data.split_first()?;
    Some((control, usize::from(control) % 13 + 1, input))
}

/// CBOR: a value that is read is written in canonical form, which is read
/// as the same value and written the same; and a stream is the same values
/// however it is cut.
pub fn fuzz_cbor(data: &[u8]) {
    let Some((_, piece, input)) = steered(data) else {
        return;
    };
    if let Ok(value) = cbor::decode(input, &CBOR_LIMITS) {
        let canonical = encoded(&value);
        assert!(canonical.len() <= input.len(), "shortest forms");
        assert_eq!(cbor::decode(&canonical, &CBOR_LIMITS).as_ref(), Ok(&value));
        check_order(&value);
    }
    let whole = told(input, input.len().max(1));
    assert_eq!(whole, told(input, piece));
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).value(value);
    out
}

/// Keys and members grow, so none is there twice.
fn check_order(value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(check_order),
        Value::Set(set) => assert!(set.as_slice().is_sorted_by(|one, other| one < other)),
        Value::Map(map) => {
            assert!(map.iter().is_sorted_by(|(one, _), (other, _)| one < other));
            map.iter().for_each(|(_, value)| check_order(value));
        }
        _ => {}
    }
}

/// What a stream tells in pieces: values, and byte strings with their chunks
/// joined.
fn told(input: &[u8], piece: usize) -> (Vec<Told>, Result<(), cbor::DecodeError>) {
    let mut decoder = Decoder::new(CBOR_LIMITS).chunks_above(50);
    let mut told = Vec::new();
    for mut rest in input.chunks(piece) {
        loop {
            match decoder.next(&mut rest) {
                Err(error) => return (told, Err(error)),
                Ok(None) => break,
                Ok(Some(Event::Value(value))) => told.push(Told::Value(value)),
                Ok(Some(Event::BytesBegin { len })) => told.push(Told::Bytes(len, Vec::new())),
                Ok(Some(Event::BytesChunk(chunk))) => {
                    let Some(Told::Bytes(_, bytes)) = told.last_mut() else {
                        panic!("a chunk of nothing")
                    };
                    bytes.extend_from_slice(chunk);
                }
                Ok(Some(Event::BytesEnd)) => told.push(Told::End),
            }
        }
        assert!(rest.is_empty());
    }
    (told, decoder.finish())
}

#[derive(Debug, PartialEq)]
enum Told {
    Value(Value),
    Bytes(Option<u64>, Vec<u8>),
    End,
}

/// Frames: the same come out however the input is cut, and written again they
/// are the input.
pub fn fuzz_frames(data: &[u8]) {
    let Some((_, piece, input)) = steered(data) else {
        return;
    };
    let (written, result) = frames(input, input.len().max(1));
    assert!(input.starts_with(&written));
    if result.is_ok() {
        assert_eq!(input.len(), written.len());
    }
    assert_eq!((written, result), frames(input, piece));
}

fn frames(input: &[u8], piece: usize) -> (Vec<u8>, Result<(), FrameError>) {
    let mut reader = FrameReader::new(PAYLOAD_BYTES_MAX);
    let mut written = Vec::new();
    for mut rest in input.chunks(piece) {
        loop {
            match reader.next(&mut rest) {
                Err(error) => return (written, Err(error)),
                Ok(None) => break,
                Ok(Some(frame)) => {
                    assert_eq!(frame.header.payload_bytes as usize, frame.payload.len());
                    written.extend_from_slice(&frame.header.to_bytes());
                    written.extend_from_slice(frame.payload);
                }
            }
        }
    }
    (written, reader.finish())
}

/// The server's inbox: the same comes out however the body is cut, and a
/// client that asks for the same writes what is read the same.
pub fn fuzz_inbox(data: &[u8]) {
    let Some((_, piece, input)) = steered(data) else {
        return;
    };
    let whole = received(input, input.len().max(1));
    assert_eq!(whole, received(input, piece));
    let Ok(commands) = whole else {
        return;
    };
    let mut body = Vec::new();
    let mut writer = RequestWriter::new(ContentEncoding::ALL.map(ContentEncoding::name));
    for (_, request) in &commands {
        writer.write(&mut body, request).expect("they were few");
    }
    let again = received(&body, usize::MAX).expect("clients write what servers read");
    let requests = |commands: Vec<(RequestId, CommandRequest)>| {
        let requests = commands.into_iter().map(|(_, request)| request);
        requests.collect::<Vec<_>>()
    };
    assert_eq!(requests(again), requests(commands));
}

fn received(body: &[u8], piece: usize) -> Result<Vec<(RequestId, CommandRequest)>, Misbehaved> {
    let mut inbox = Inbox::new(server::Limits {
        frames: 40,
        // More than the input's, for what is written again.
        payload_bytes: 2 * PAYLOAD_BYTES_MAX,
        commands: 5,
        open_requests: 3,
        request_bytes: 300,
        settings_bytes: 100,
        cbor: CBOR_LIMITS,
        ..server::Limits::default()
    });
    let mut received = Vec::new();
    for piece in body.chunks(piece) {
        if let Err(misbehaved) = inbox.push(piece, &mut received) {
            assert_eq!(inbox.finish().as_ref(), Err(&misbehaved));
            assert!(!misbehaved.body().trim_end().is_empty());
            return Err(misbehaved);
        }
    }
    let _ = inbox.content_encoding();
    inbox.finish()?;
    let received = received.into_iter();
    Ok(received
        .map(
            |Received::Command {
                 request_id,
                 request,
             }| (request_id, request),
        )
        .collect())
}

/// The client's reader: the same comes out however the body is cut.
pub fn fuzz_response(data: &[u8]) {
    let Some((_, piece, input)) = steered(data) else {
        return;
    };
    let whole = responses(input, input.len().max(1));
    assert_eq!(whole, responses(input, piece));
}

/// What is said about requests, and how it ends.
type Said = (Vec<(RequestId, Response)>, Result<(), ResponseError>);

fn responses(body: &[u8], piece: usize) -> Said {
    let limits = client::Limits {
        payload_bytes: PAYLOAD_BYTES_MAX,
        whole_bytes: 50,
        cbor: CBOR_LIMITS,
        content_bytes: 100_000,
    };
    let mut reader = ResponseReader::new(limits, [RequestId(1), RequestId(3)]).tell_frames();
    let mut said = Vec::new();
    for piece in body.chunks(piece) {
        reader.push(piece);
        loop {
            match reader.next() {
                Err(error) => return (said, Err(error)),
                Ok(None) => break,
                Ok(Some(event)) => said.push((event.request_id, event.response)),
            }
        }
    }
    (said, reader.finish())
}

/// Decompressors: no input grows beyond what is asked for, the same comes out
/// in small parts as in large ones, and what was compressed comes back.
pub fn fuzz_decompressor(data: &[u8]) {
    let Some((control, piece, input)) = steered(data) else {
        return;
    };
    for encoding in ContentEncoding::ALL {
        let large = decompressed(encoding, &[input], 64 << 10);
        let small = decompressed(encoding, &[input], piece);
        if let (Some(large), Some(small)) = (large, small) {
            assert!(large.starts_with(&small) || small.starts_with(&large));
        }
        let mut compressor = Compressor::new(encoding, i32::from(control % 4))
            .expect("there is memory for a context");
        let mut stream = Vec::new();
        for part in input.chunks(piece * 20) {
            compressor.compress(part, &mut stream).expect("it goes on");
            if control & 0x80 != 0 {
                compressor.flush(&mut stream).expect("it goes on");
            }
        }
        compressor.flush(&mut stream).expect("it goes on");
        let parts: Vec<&[u8]> = stream.chunks(piece).collect();
        let back = decompressed(encoding, &parts, 1000);
        assert_eq!(back.as_deref(), Some(input));
    }
}

/// The first 100,000 bytes or so of a stream; `None` if it is none.
fn decompressed(encoding: ContentEncoding, parts: &[&[u8]], most: usize) -> Option<Vec<u8>> {
    let mut decompressor = Decompressor::new(encoding).expect("there is memory for a context");
    let mut all = Vec::new();
    for &part in parts {
        let mut rest = part;
        loop {
            let before = all.len();
            decompressor.decompress(&mut rest, &mut all, most).ok()?;
            assert!(all.len() - before <= most);
            if all.len() > 100_000 {
                return Some(all);
            }
            if all.len() - before < most {
                assert!(rest.is_empty());
                break;
            }
        }
    }
    Some(all)
}

/// Handshakes and what they say of redirects: what is read is written, and
/// read the same.
pub fn fuzz_handshake(data: &[u8]) {
    if let Ok(handshake) = Handshake::decode(data, &CBOR_LIMITS) {
        let mut body = Vec::new();
        handshake.encode(&mut body);
        let again = Handshake::decode(&body, &CBOR_LIMITS);
        assert_eq!(again.as_ref(), Ok(&handshake));
    }
    if let Ok(value) = cbor::decode(data, &CBOR_LIMITS)
        && let Some(offer) = RedirectOffer::from_value(&value)
    {
        assert_eq!(RedirectOffer::from_value(&offer.to_value()), Some(offer));
    }
}

#[cfg(test)]
mod tests;
