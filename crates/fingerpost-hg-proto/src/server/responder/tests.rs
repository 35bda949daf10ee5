use super::*;
use crate::cbor::Value;
use crate::client::{self, Event, Response, ResponseReader};
use crate::encoding::Compressor;
use crate::frame::{FrameHeader, FrameReader};

const ONE: RequestId = RequestId(1);
const OTHER: RequestId = RequestId(3);
const EVERY: [Option<ContentEncoding>; 4] = [
    None,
    Some(ContentEncoding::Identity),
    Some(ContentEncoding::Zlib),
    Some(ContentEncoding::Zstd8mb),
];

/// Byte strings of several lengths, one after the other.
fn objects(lengths: &[usize]) -> (Vec<Value>, Vec<u8>) {
    let values = lengths.iter().map(|&len| {
        let bytes = (0..len).map(|at| (at * at / 251) as u8);
        Value::Bytes(bytes.collect())
    });
    let values: Vec<_> = values.collect();
    let mut encoded = Vec::new();
    for value in &values {
        Writer::new(&mut encoded).value(value);
    }
    (values, encoded)
}

/// Headers as a debugging client prints them.
fn headers(mut body: &[u8]) -> Vec<String> {
    let mut reader = FrameReader::new(FrameHeader::PAYLOAD_BYTES_MAX);
    let mut headers = Vec::new();
    while let Some(frame) = reader.next(&mut body).unwrap() {
        headers.push(frame.header.to_string());
    }
    reader.finish().unwrap();
    headers
}

fn events(body: &[u8]) -> Vec<Event> {
    let mut reader = ResponseReader::new(client::Limits::default(), [ONE, OTHER]);
    reader.push(body);
    let mut events = Vec::new();
    while let Some(event) = reader.next().unwrap() {
        events.push(event);
    }
    events
}

/// What was said about a request.
fn responses(body: &[u8], request_id: RequestId) -> Vec<Response> {
    let events = events(body).into_iter();
    let events = events.filter(|event| event.request_id == request_id);
    events.map(|event| event.response).collect()
}

fn whole(values: &[Value]) -> Vec<Response> {
    let objects = values.iter().cloned().map(Response::Object);
    [Response::Ok]
        .into_iter()
        .chain(objects)
        .chain([Response::End])
        .collect()
}

#[test]
fn objects_arrive_whatever_their_lengths_and_cuts() {
    let (values, encoded) = objects(&[0, 10, 900, 32_750, 70_000, 1, 200_000, 5]);
    for encoding in EVERY {
        for piece in [1000, 32_768, 40_000, encoded.len()] {
            let mut out = Vec::new();
            let mut responder = Responder::new(encoding, 1);
            responder.ok(&mut out, ONE).unwrap();
            for part in encoded.chunks(piece) {
                responder.objects(&mut out, ONE, part).unwrap();
            }
            responder.end(&mut out, ONE).unwrap();
            assert!(
                responses(&out, ONE) == whole(&values),
                "{encoding:?} {piece}"
            );
        }
    }
}

#[test]
fn small_answers_travel_as_they_are() {
    let (values, encoded) = objects(&[20, 20]);
    for (encoding, settings, marked) in [
        (None, None, ""),
        (Some(ContentEncoding::Identity), Some(9), " encoded"),
        (Some(ContentEncoding::Zlib), Some(5), ""),
        (Some(ContentEncoding::Zstd8mb), Some(9), ""),
    ] {
        let mut out = Vec::new();
        let mut responder = Responder::new(encoding, 3);
        responder.ok(&mut out, ONE).unwrap();
        responder.objects(&mut out, ONE, &encoded).unwrap();
        assert!(out.is_empty());
        responder.end(&mut out, ONE).unwrap();
        let mut expected = Vec::new();
        let mut begin = " begin";
        if let Some(len) = settings {
            expected.push(format!(
                "len={len} request=1 stream=2 begin stream-settings flags=2"
            ));
            begin = "";
        }
        expected.push(format!(
            "len=53 request=1 stream=2{begin}{marked} command-response flags=2"
        ));
        assert_eq!(headers(&out), expected);
        assert_eq!(responses(&out, ONE), whole(&values));
        assert!(!responder.payloads.has_compressed());
    }
}

#[test]
fn a_flush_makes_everything_so_far_readable() {
    let (values, encoded) = objects(&[5000, 3, 60_000]);
    for encoding in EVERY {
        let mut out = Vec::new();
        let mut responder = Responder::new(encoding, 3);
        responder.ok(&mut out, ONE).unwrap();
        responder.flush(&mut out, ONE).unwrap();
        assert_eq!(responses(&out, ONE), [Response::Ok]);
        responder.objects(&mut out, ONE, &encoded).unwrap();
        responder.flush(&mut out, ONE).unwrap();
        let unended = whole(&values).len() - 1;
        assert!(responses(&out, ONE) == whole(&values)[..unended]);
        let len = out.len();
        responder.flush(&mut out, ONE).unwrap();
        assert_eq!(out.len(), len, "there is nothing more to put out");
        responder.end(&mut out, ONE).unwrap();
        assert!(responses(&out, ONE) == whole(&values));
    }
}

#[test]
fn answers_share_a_stream_and_its_context() {
    let (values, encoded) = objects(&[40_000]);
    for encoding in EVERY {
        let mut out = Vec::new();
        let mut responder = Responder::new(encoding, 3);
        for id in [ONE, OTHER] {
            responder.ok(&mut out, id).unwrap();
            responder.objects(&mut out, id, &encoded).unwrap();
            responder.end(&mut out, id).unwrap();
        }
        for id in [ONE, OTHER] {
            assert!(responses(&out, id) == whole(&values), "{encoding:?}");
        }
        let headers = headers(&out);
        let count = |word| {
            headers
                .iter()
                .filter(|header| header.contains(word))
                .count()
        };
        assert_eq!(count(" begin"), 1);
        assert_eq!(count("stream-settings"), usize::from(encoding.is_some()));
    }
}

#[test]
fn answers_may_take_turns() {
    let (values, encoded) = objects(&[30_000, 2_000, 9]);
    for encoding in EVERY {
        let mut out = Vec::new();
        let mut responder = Responder::new(encoding, 3);
        responder.ok(&mut out, ONE).unwrap();
        responder.ok(&mut out, OTHER).unwrap();
        for part in encoded.chunks(7_001) {
            responder.objects(&mut out, ONE, part).unwrap();
            responder.objects(&mut out, OTHER, part).unwrap();
        }
        responder.end(&mut out, ONE).unwrap();
        responder.end(&mut out, OTHER).unwrap();
        for id in [ONE, OTHER] {
            assert!(responses(&out, id) == whole(&values), "{encoding:?}");
        }
    }
}

#[test]
fn a_refusal_is_one_plain_frame() {
    for encoding in EVERY {
        let mut out = Vec::new();
        let mut responder = Responder::new(encoding, 3);
        let args = vec![b"nope".to_vec()];
        responder
            .refuse(&mut out, ONE, b"unknown file: %s", &args)
            .unwrap();
        assert_eq!(
            headers(&out),
            ["len=57 request=1 stream=2 begin command-response flags=2"]
        );
        let message = b"unknown file: %s".to_vec();
        assert_eq!(
            responses(&out, ONE),
            [Response::Refused { message, args }, Response::End]
        );
    }
}

#[test]
fn a_failure_comes_after_what_was_held_back() {
    let (values, encoded) = objects(&[50_000]);
    for encoding in EVERY {
        let mut out = Vec::new();
        let mut responder = Responder::new(encoding, 3);
        responder.ok(&mut out, ONE).unwrap();
        responder.objects(&mut out, ONE, &encoded).unwrap();
        responder.fail(&mut out, ONE, b"it broke").unwrap();
        responder.ok(&mut out, OTHER).unwrap();
        responder.objects(&mut out, OTHER, &encoded).unwrap();
        responder.end(&mut out, OTHER).unwrap();
        let mut expected = whole(&values);
        expected.pop();
        expected.push(Response::Failed {
            kind: b"server".to_vec(),
            message: b"it broke".to_vec(),
        });
        assert!(responses(&out, ONE) == expected);
        assert!(responses(&out, OTHER) == whole(&values));
    }
}

#[test]
fn a_failure_without_objects_needs_no_settings() {
    let mut out = Vec::new();
    let mut responder = Responder::new(Some(ContentEncoding::Zlib), 3);
    responder.fail(&mut out, ONE, &[b'x'; 100_000]).unwrap();
    assert_eq!(
        headers(&out),
        ["len=16414 request=1 stream=2 begin error-response flags=0"]
    );
}

#[test]
fn a_broken_stream_ends_no_answer_as_if_it_were_whole() {
    let (_, encoded) = objects(&[50_000]);
    let broken = EncodingError::NoMemory(ContentEncoding::Zlib);
    let mut out = Vec::new();
    let mut responder = Responder::new(Some(ContentEncoding::Zlib), 3);
    responder.ok(&mut out, ONE).unwrap();
    responder.objects(&mut out, ONE, &encoded).unwrap();
    responder.payloads.broken = Some(broken);
    let refused = Err(ResponderError::Encoding(broken));
    assert_eq!(responder.objects(&mut out, ONE, b"\0"), refused);
    assert_eq!(responder.flush(&mut out, ONE), refused);
    assert_eq!(responder.end(&mut out, ONE), refused);
    assert_eq!(responder.ok(&mut out, OTHER), refused);
    for id in [ONE, OTHER] {
        responder.fail(&mut out, id, b"no memory").unwrap();
        let last = responses(&out, id).pop();
        assert!(matches!(last, Some(Response::Failed { .. })));
    }
}

#[test]
fn a_redirect_is_first_and_only() {
    let location = Location::new("http://cdn/x");
    let mut out = Vec::new();
    let mut responder = Responder::new(Some(ContentEncoding::Zstd8mb), 3);
    responder.ok(&mut out, ONE).unwrap();
    let again = Err(ResponderError::AlreadyAnswered(ONE));
    assert_eq!(responder.redirect(&mut out, ONE, &location), again);
    assert_eq!(responder.ok(&mut out, ONE), again);
    assert_eq!(responder.refuse(&mut out, ONE, b"x", &[]), again);
    let not_open = Err(ResponderError::NotOpen(OTHER));
    assert_eq!(responder.objects(&mut out, OTHER, b"\0"), not_open);
    assert_eq!(responder.flush(&mut out, OTHER), not_open);
    assert_eq!(responder.end(&mut out, OTHER), not_open);
    responder.redirect(&mut out, OTHER, &location).unwrap();
    assert_eq!(responder.objects(&mut out, OTHER, b"\0"), not_open);
    let fail = responder.fail(&mut out, OTHER, b"x");
    assert_eq!(fail, Err(ResponderError::AlreadyAnswered(OTHER)));
    responder.end(&mut out, ONE).unwrap();
    assert_eq!(
        responses(&out, OTHER),
        [Response::Redirect(location), Response::End]
    );
    assert_eq!(responses(&out, ONE), whole(&[]));
}

/// Encoded as a store holds it: whole.
fn encoded(encoding: ContentEncoding, objects: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut compressor = Compressor::new(encoding, 1).unwrap();
    compressor.compress(objects, &mut out).unwrap();
    compressor.finish(&mut out).unwrap();
    out
}

#[test]
fn stored_answers_and_others_may_follow_each_other() {
    let (values, objects) = objects(&[10, 70_000, 0, 900]);
    for encoding in EVERY {
        let stored = encoded(encoding.unwrap_or(ContentEncoding::Identity), &objects);
        for (first, second) in [(true, true), (true, false), (false, true)] {
            let mut responder = Responder::new(encoding, 1);
            let mut out = Vec::new();
            for (id, is_stored) in [(ONE, first), (OTHER, second)] {
                if is_stored {
                    responder.ok_stored(&mut out, id).unwrap();
                    for piece in stored.chunks(40_000) {
                        responder.stored(&mut out, id, piece).unwrap();
                    }
                    responder.end_stored(&mut out, id).unwrap();
                } else {
                    responder.ok(&mut out, id).unwrap();
                    responder.objects(&mut out, id, &objects).unwrap();
                    responder.end(&mut out, id).unwrap();
                }
                assert!(responder.ok_stored(&mut out, id).is_err());
            }
            for id in [ONE, OTHER] {
                assert_eq!(responses(&out, id), whole(&values), "{encoding:?}");
            }
        }
    }
}
