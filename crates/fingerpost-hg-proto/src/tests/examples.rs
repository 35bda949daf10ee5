//! Both ends against the recorded exchanges in `tests/fixtures/hg-v2-examples`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cbor::{self, Decoder, Value, Writer, decode};
use crate::client::{self, Event, RequestWriter, Response, ResponseReader};
use crate::encoding::ContentEncoding;
use crate::frame::{FrameKind, FrameReader, RequestId, StreamFlags};
use crate::handshake::{CBOR_MEDIA_TYPE, FRAMING_MEDIA_TYPE, Handshake, Upgrade};
use crate::redirect::RedirectOffer;
use crate::request::CommandRequest;
use crate::server::{self, HttpFailure, Inbox, Misbehaved, Received, Responder};

/// An HTTP message, its body without the framing of HTTP.
struct Message {
    head: String,
    body: Vec<u8>,
}

impl Message {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.unwrap() + 4);
        let head = String::from_utf8(head.to_ascii_lowercase()).unwrap();
        let body = match head.contains("transfer-encoding: chunked") {
            true => unchunked(body),
            false => body.to_vec(),
        };
        Self { head, body }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut fields = lines.filter_map(|line| line.split_once(": "));
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    fn is_framed(&self) -> bool {
        self.header("content-type") == Some(FRAMING_MEDIA_TYPE)
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let len = std::str::from_utf8(&rest[..end]).unwrap();
        let len = usize::from_str_radix(len, 16).unwrap();
        rest = &rest[end + 2..];
        body.extend_from_slice(&rest[..len]);
        if len == 0 {
            return body;
        }
        rest = &rest[len + 2..];
    }
}

struct Exchange {
    number: u32,
    request: Message,
    response: Message,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hg-v2-examples")
}

fn exchanges() -> Vec<Exchange> {
    let names = std::fs::read_dir(directory()).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    let requests = paths.filter(|path| path.extension().is_some_and(|end| end == "req"));
    let mut exchanges: Vec<_> = requests
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            Exchange {
                number: name.split('-').next().unwrap().parse().unwrap(),
                request: Message::read(&path),
                response: Message::read(&path.with_extension("resp")),
            }
        })
        .collect();
    exchanges.sort_by_key(|exchange| exchange.number);
    assert_eq!(exchanges.len(), 99);
    exchanges
}

fn exchange(number: u32) -> Exchange {
    let mut exchanges = exchanges().into_iter();
    exchanges
        .find(|exchange| exchange.number == number)
        .unwrap()
}

/// What the server's end makes of a body that comes in pieces.
fn received(
    body: &[u8],
    piece: usize,
) -> (Inbox, Result<Vec<(RequestId, CommandRequest)>, Misbehaved>) {
    let mut inbox = Inbox::new(server::Limits::default());
    let mut received = Vec::new();
    let pushed = body
        .chunks(piece)
        .try_for_each(|piece| inbox.push(piece, &mut received));
    let result = pushed.and_then(|()| inbox.finish()).map(|()| {
        let commands = received.into_iter();
        let commands = commands.map(
            |Received::Command {
                 request_id,
                 request,
             }| (request_id, request),
        );
        commands.collect()
    });
    (inbox, result)
}

/// What the client's end makes of a body that comes in pieces.
fn events(body: &[u8], requests: &[RequestId], piece: usize) -> Vec<Event> {
    let mut reader = ResponseReader::new(client::Limits::default(), requests.to_vec());
    let mut events = Vec::new();
    for piece in body.chunks(piece) {
        reader.push(piece);
        while let Some(event) = reader.next().unwrap() {
            events.push(event);
        }
    }
    reader.finish().unwrap();
    events
}

/// Payloads joined by request, in order, and by whether they are an error.
fn payloads(mut body: &[u8]) -> BTreeMap<(RequestId, bool), Vec<u8>> {
    let mut reader = FrameReader::new(1 << 20);
    let mut payloads = BTreeMap::<_, Vec<u8>>::new();
    while let Some(frame) = reader.next(&mut body).unwrap() {
        let header = frame.header;
        if header.kind != FrameKind::StreamSettings {
            let of = (header.request_id, header.kind == FrameKind::Error);
            payloads
                .entry(of)
                .or_default()
                .extend_from_slice(frame.payload);
        }
    }
    payloads
}

/// The encoding that the settings of an answer name.
fn encoding(mut body: &[u8]) -> Option<ContentEncoding> {
    let mut reader = FrameReader::new(1 << 20);
    let frame = reader.next(&mut body).unwrap().unwrap();
    let is_settings = frame.header.kind == FrameKind::StreamSettings;
    assert!(frame.header.stream_flags.contains(StreamFlags::BEGIN));
    is_settings.then(|| ContentEncoding::from_name(&frame.payload[1..]).unwrap())
}

/// Exchanges whose answer is made of frames and decodes, with the ids of their
/// requests. The answer of 22 is broken: plain text after the first frame.
fn framed() -> Vec<(Exchange, Vec<RequestId>)> {
    let exchanges = exchanges().into_iter();
    let framed =
        exchanges.filter(|exchange| exchange.response.is_framed() && exchange.number != 22);
    framed
        .map(|exchange| {
            let (_, commands) = received(&exchange.request.body, usize::MAX);
            let ids = commands.unwrap().iter().map(|(id, _)| *id).collect();
            (exchange, ids)
        })
        .collect()
}

#[test]
fn recorded_requests_are_read_and_written_again() {
    let mut seen = 0;
    for exchange in exchanges()
        .iter()
        .filter(|exchange| exchange.request.is_framed())
    {
        let body = &exchange.request.body;
        let (inbox, commands) = received(body, usize::MAX);
        for piece in [1, 3, 8, 50] {
            assert_eq!(received(body, piece).1, commands, "{}", exchange.number);
        }
        let Ok(commands) = commands else {
            assert!((69..=73).contains(&exchange.number));
            continue;
        };
        let mut writer = match inbox.content_encodings() {
            Some(names) => RequestWriter::new(names),
            None => RequestWriter::without_settings(),
        };
        let mut written = Vec::new();
        for (request_id, request) in &commands {
            assert_eq!(writer.write(&mut written, request), Ok(*request_id));
        }
        match exchange.number {
            // Split earlier than a stock client does.
            68 => assert_eq!(received(&written, usize::MAX).1, Ok(commands)),
            // A redirect map without its hashes, which we write.
            100 => assert_eq!(received(&written, usize::MAX).1, Ok(commands)),
            number => assert!(written == *body, "{number}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 79);
}

#[test]
fn bad_requests_are_answered_in_the_references_words() {
    for number in 69..=73 {
        let Exchange {
            request, response, ..
        } = exchange(number);
        let misbehaved = received(&request.body, usize::MAX).1.unwrap_err();
        match misbehaved.http() {
            HttpFailure::PlainText => {
                assert!(response.head.starts_with("http/1.1 200 ok"));
                assert_eq!(misbehaved.body().as_bytes(), response.body);
            }
            HttpFailure::Internal => assert!(response.head.starts_with("http/1.1 500")),
            HttpFailure::TooLarge => panic!("{number}: nothing is large"),
        }
    }
}

#[test]
fn recorded_answers_are_read_however_they_are_cut() {
    for (exchange, ids) in framed() {
        let body = &exchange.response.body;
        let whole = events(body, &ids, usize::MAX);
        assert!(!whole.is_empty());
        for piece in [1, 7, 100] {
            assert!(events(body, &ids, piece) == whole, "{}", exchange.number);
        }
    }
}

#[test]
fn the_encoding_is_the_one_that_the_reference_chose() {
    for (exchange, _) in framed() {
        if let Some(recorded) = encoding(&exchange.response.body) {
            let (inbox, _) = received(&exchange.request.body, usize::MAX);
            assert_eq!(
                inbox.content_encoding(),
                Some(recorded),
                "{}",
                exchange.number
            );
        }
    }
}

/// Answers again what was answered.
fn answered_again(encoding: Option<ContentEncoding>, events: &[Event]) -> Vec<u8> {
    let mut responder = Responder::new(encoding, 3);
    let mut out = Vec::new();
    for Event {
        request_id,
        response,
    } in events
    {
        let id = *request_id;
        let mut object = Vec::new();
        let mut writer = Writer::new(&mut object);
        match response {
            Response::Ok => responder.ok(&mut out, id).unwrap(),
            Response::Object(value) => writer.value(value),
            Response::BytesBegin { .. } => writer.begin_indefinite_bytes(),
            Response::BytesChunk(chunk) => writer.bytes(chunk),
            Response::BytesEnd => writer.end_indefinite_bytes(),
            Response::Redirect(location) => responder.redirect(&mut out, id, location).unwrap(),
            Response::Refused { message, args } => {
                responder.refuse(&mut out, id, message, args).unwrap();
            }
            Response::Failed { message, .. } => responder.fail(&mut out, id, message).unwrap(),
            Response::End => match responder.end(&mut out, id) {
                Ok(()) => {}
                // A redirect and a refusal have ended themselves.
                Err(error) => assert_eq!(error, server::ResponderError::NotOpen(id)),
            },
            Response::FrameSeen(_) => panic!("nobody asked for frames"),
        }
        if !object.is_empty() {
            responder.objects(&mut out, id, &object).unwrap();
        }
    }
    out
}

#[test]
fn recorded_answers_are_written_again() {
    let mut seen = BTreeMap::new();
    for (exchange, ids) in framed() {
        let recorded = &exchange.response.body;
        let events = events(recorded, &ids, usize::MAX);
        let encoding = encoding(recorded);
        let written = answered_again(encoding, &events);
        assert!(
            self::events(&written, &ids, usize::MAX) == events,
            "{}",
            exchange.number
        );
        if encoding.is_none_or(|encoding| encoding == ContentEncoding::Identity) {
            assert!(
                payloads(&written) == payloads(recorded),
                "{}",
                exchange.number
            );
        }
        assert_eq!(self::encoding(&written), encoding);
        *seen.entry(encoding.map(ContentEncoding::name)).or_insert(0) += 1;
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [
            (None, 16),
            (Some("identity"), 46),
            (Some("zlib"), 2),
            (Some("zstd-8mb"), 2)
        ]
    );
}

#[test]
fn errors_are_read_with_their_arguments() {
    let last = |number| {
        let Exchange { response, .. } = exchange(number);
        let events = events(&response.body, &[RequestId(1)], usize::MAX);
        let mut responses = events.into_iter().map(|event| event.response);
        responses
            .find(|response| !matches!(response, Response::Ok))
            .unwrap()
    };
    assert_eq!(
        last(54),
        Response::Refused {
            message: b"unknown file: %s".to_vec(),
            args: vec![b"nope".to_vec()],
        }
    );
    assert_eq!(
        last(30),
        Response::Failed {
            kind: b"server".to_vec(),
            message: b"unknown revision 'nope'".to_vec(),
        }
    );
    let Response::Redirect(location) = last(95) else {
        panic!("95 is a redirect")
    };
    assert_eq!(location.mediatype, CBOR_MEDIA_TYPE.as_bytes());
    assert!(
        location
            .url
            .starts_with(b"http://127.0.0.1:8123/api/simplecache/")
    );
}

#[test]
fn a_broken_answer_is_an_error() {
    let Exchange { response, .. } = exchange(22);
    let mut reader = ResponseReader::new(client::Limits::default(), [RequestId(1)]);
    reader.push(&response.body);
    let mut result = reader.next();
    while let Ok(Some(_)) = result {
        result = reader.next();
    }
    assert!(result.is_err() || reader.finish().is_err());
}

#[test]
fn handshakes_are_read_and_written_again() {
    for number in [1, 4, 83, 88, 93] {
        let Exchange {
            request, response, ..
        } = exchange(number);
        let header = |name| request.header(name).into_iter();
        let upgrade = Upgrade::parse(header("x-hgupgrade-1"), header("x-hgproto-1")).unwrap();
        assert_eq!(upgrade.wants_v2(), number != 4);
        assert_eq!(response.header("content-type"), Some(CBOR_MEDIA_TYPE));
        let handshake = Handshake::decode(&response.body, &cbor::Limits::RESPONSE).unwrap();
        assert_eq!(
            handshake.descriptor().is_some(),
            number != 4 && number != 83
        );
        let mut written = Vec::new();
        handshake.encode(&mut written);
        assert!(written == response.body, "{number}");
        let descriptor = handshake.descriptor().cloned();
        assert_eq!(
            Handshake::new(descriptor, handshake.v1capabilities.clone()),
            handshake
        );
    }
    for number in [2, 3] {
        let Exchange { request, .. } = exchange(number);
        let header = |name| request.header(name).into_iter();
        assert_eq!(
            Upgrade::parse(header("x-hgupgrade-1"), header("x-hgproto-1")),
            None
        );
    }
}

#[test]
fn an_offer_of_redirects_is_read_and_written_again() {
    let Exchange { response, .. } = exchange(93);
    let handshake = Handshake::decode(&response.body, &cbor::Limits::RESPONSE).unwrap();
    let recorded = handshake
        .descriptor()
        .and_then(|found| found.get(b"redirect"))
        .unwrap();
    let offer = RedirectOffer::from_value(recorded).unwrap();
    assert_eq!(offer.targets.len(), 2);
    assert_eq!(&offer.to_value(), recorded);
}

#[test]
fn redirected_content_is_read_and_written_again() {
    let Exchange { response, .. } = exchange(96);
    let mut decoder = Decoder::new(cbor::Limits::RESPONSE);
    let mut input = &response.body[..];
    let mut written = Vec::new();
    while let Some(event) = decoder.next(&mut input).unwrap() {
        let cbor::Event::Value(value) = event else {
            panic!("values only")
        };
        Writer::new(&mut written).value(&value);
    }
    decoder.finish().unwrap();
    assert!(written == response.body);
    let inline = payloads(&exchange(94).response.body);
    let objects = &inline[&(RequestId(1), false)];
    assert!(objects.strip_prefix(b"\xa1\x46status\x42ok") == Some(&written));
}

#[test]
fn the_input_of_a_cache_key_is_canonical() {
    let recorded = std::fs::read(directory().join("cache-key.cbor")).unwrap();
    let value = decode(&recorded, &cbor::Limits::REQUEST).unwrap();
    let mut written = Vec::new();
    Writer::new(&mut written).value(&value);
    assert_eq!(written, recorded);
    let (_, commands) = received(&exchange(95).request.body, usize::MAX);
    let mut args = Vec::new();
    commands.unwrap()[0].1.args.encode(&mut args);
    let keyed = value.get(b"args").unwrap();
    assert_eq!(decode(&args, &cbor::Limits::REQUEST).as_ref(), Ok(keyed));
    assert_eq!(value.get(b"localversion").and_then(Value::as_u64), Some(1));
}
