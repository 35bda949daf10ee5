use super::*;
use crate::cbor::{DecodeError, Value};
use crate::encoding::{Compressor, ContentEncoding};
use crate::frame::{FrameError, StreamId};

const LIMITS: Limits = Limits {
    payload_bytes: 100_000,
    whole_bytes: 50_000,
    cbor: cbor::Limits {
        depth: 8,
        bytes: 60_000,
        items: 1000,
    },
    content_bytes: 1 << 20,
};
const ONE: RequestId = RequestId(1);
const STATUS: &[u8] = b"\xa1\x46status\x42ok";
const MORE: u8 = flags::CONTINUATION;
const EOS: u8 = flags::EOS;

fn frame(stream_flags: u8, kind: FrameKind, flags: u8, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        payload_bytes: payload.len() as u32,
        request_id: ONE,
        stream_id: StreamId::SERVER,
        stream_flags: StreamFlags(stream_flags),
        kind,
        flags,
    };
    [&header.to_bytes()[..], payload].concat()
}

fn settings(name: &[u8]) -> Vec<u8> {
    frame(1, FrameKind::StreamSettings, EOS, name)
}

/// A response frame on a stream that it begins if it has to.
fn response(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(1, FrameKind::CommandResponse, flags, payload)
}

fn encoded(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(4, FrameKind::CommandResponse, flags, payload)
}

fn read(frames: &[Vec<u8>]) -> Result<Vec<Response>, ResponseError> {
    read_with(ResponseReader::new(LIMITS, [ONE]), frames)
}

fn read_with(
    mut reader: ResponseReader,
    frames: &[Vec<u8>],
) -> Result<Vec<Response>, ResponseError> {
    let mut responses = Vec::new();
    for frame in frames {
        reader.push(frame);
        while let Some(event) = reader.next()? {
            assert_eq!(event.request_id, ONE);
            responses.push(event.response);
        }
    }
    reader.finish()?;
    Ok(responses)
}

fn refused(frames: &[Vec<u8>], expected: ResponseError) {
    assert_eq!(read(frames), Err(expected));
}

fn compressed(encoding: ContentEncoding, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut compressor = Compressor::new(encoding, 3).unwrap();
    compressor.compress(content, &mut out).unwrap();
    compressor.flush(&mut out).unwrap();
    out
}

#[test]
fn values_may_span_frames() {
    let frames = [
        response(MORE, &STATUS[..4]),
        response(MORE, &[&STATUS[4..], b"\x82\x01"].concat()),
        response(MORE, b""),
        response(EOS, b"\x02\xf6"),
    ];
    let array = Value::Array(vec![Value::Int(1), Value::Int(2)]);
    assert_eq!(
        read(&frames),
        Ok(vec![
            Response::Ok,
            Response::Object(array),
            Response::Object(Value::Null),
            Response::End
        ])
    );
}

#[test]
fn frames_are_told_if_asked_for() {
    let reader = ResponseReader::new(LIMITS, [ONE]).tell_frames();
    let told = read_with(reader, &[settings(b"\x48identity"), encoded(EOS, STATUS)]).unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|response| match response {
            Response::FrameSeen(header) => header.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "len=9 request=1 stream=2 begin stream-settings flags=2",
            "len=11 request=1 stream=2 encoded command-response flags=2",
            "Ok",
            "End"
        ]
    );
}

#[test]
fn a_payload_without_the_flag_is_taken_as_it_is() {
    for encoding in ContentEncoding::ALL {
        let name = [
            &[0x40 | encoding.name().len() as u8],
            encoding.name().as_bytes(),
        ]
        .concat();
        let frames = [
            settings(&name),
            response(MORE, STATUS),
            encoded(MORE, &compressed(encoding, b"\x01")),
            response(MORE, b"\x02"),
            encoded(EOS, b""),
        ];
        let numbers = [1, 2].map(|number| Response::Object(Value::Int(number)));
        let [one, two] = numbers;
        assert_eq!(
            read(&frames),
            Ok(vec![Response::Ok, one, two, Response::End])
        );
    }
}

#[test]
fn long_byte_strings_come_in_chunks() {
    let mut content = STATUS.to_vec();
    content.extend_from_slice(b"\x5a\x00\x02\x00\x00");
    content.resize(STATUS.len() + 5 + 0x20000, 7);
    let frames = [
        settings(b"\x48zstd-8mb"),
        encoded(EOS, &compressed(ContentEncoding::Zstd8mb, &content)),
    ];
    let responses = read(&frames).unwrap();
    assert_eq!(responses[1], Response::BytesBegin { len: Some(0x20000) });
    let chunks = responses.iter().filter_map(|response| match response {
        Response::BytesChunk(chunk) => Some(chunk.len()),
        _ => None,
    });
    assert_eq!(chunks.sum::<usize>(), 0x20000);
    assert_eq!(
        responses[responses.len() - 2..],
        [Response::BytesEnd, Response::End]
    );
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let bomb = compressed(ContentEncoding::Zstd8mb, &vec![0; 3 << 20]);
    let frames = [
        settings(b"\x48zstd-8mb"),
        response(MORE, STATUS),
        encoded(EOS, &bomb),
    ];
    let mut reader = ResponseReader::new(LIMITS, [ONE]);
    reader.push(&frames.concat());
    let mut objects = 0;
    let error = loop {
        match reader.next() {
            Ok(Some(_)) => objects += 1,
            Ok(None) => panic!("the limit is below that"),
            Err(error) => break error,
        }
        assert!(reader.content.len() <= CONTENT_BYTES);
    };
    assert_eq!(error, ResponseError::TooLong);
    assert!(objects > 900_000);
}

#[test]
fn an_answer_without_an_end_is_told() {
    let unanswered = ResponseError::Unanswered(ONE);
    refused(&[], unanswered.clone());
    refused(&[response(MORE, STATUS)], unanswered.clone());
    refused(&[settings(b"\x44zlib")], unanswered);
    let cut = response(EOS, STATUS)[..12].to_vec();
    refused(&[cut], FrameError::Truncated.into());
    refused(
        &[response(MORE, STATUS), response(EOS, b"\x42a")],
        ResponseError::Cbor(ONE, DecodeError::Truncated),
    );
    refused(&[response(EOS, b"")], ResponseError::Status(ONE));
}

#[test]
fn a_status_is_one_of_three() {
    let status = ResponseError::Status(ONE);
    for content in [
        &b"\x00"[..],
        b"\xa0",
        b"\xa1\x46status\x41x",
        b"\xa1\x46status\xf5",
        b"\xa1\x46status\x45error",
        b"\xa1\x46status\x48redirect",
        b"\x5f\xff",
    ] {
        refused(&[response(EOS, content)], status.clone());
    }
    let refusal = b"\xa2\x45error\xa1\x47message\x42no\x46status\x45error";
    let message = b"no".to_vec();
    let args = Vec::new();
    assert_eq!(
        read(&[response(EOS, refusal)]),
        Ok(vec![Response::Refused { message, args }, Response::End])
    );
    let more = [response(MORE, refusal), response(EOS, b"\x00")];
    refused(&more, ResponseError::AfterEnd(ONE));
}

#[test]
fn an_error_frame_is_the_end() {
    let error = b"\xa2\x47message\x82\xa2\x44args\x81\x41x\x43msg\x44%s: \xa1\x43msg\x43bad\x44type\x46server";
    let failed = Response::Failed {
        kind: b"server".to_vec(),
        message: b"x: bad".to_vec(),
    };
    let error = frame(1, FrameKind::Error, 0, error);
    assert_eq!(read(std::slice::from_ref(&error)), Ok(vec![failed.clone()]));
    let midway = [response(MORE, b"\xa1\x46sta"), error.clone()];
    assert_eq!(read(&midway), Ok(vec![failed]));
    refused(
        &[error, response(EOS, b"")],
        ResponseError::UnknownRequest(ONE),
    );
    for payload in [&b""[..], b"\xa0", b"\xa2\x47message\x80\x44type\x00"] {
        let wrong = frame(1, FrameKind::Error, 0, payload);
        refused(&[wrong], ResponseError::ErrorFrame(ONE));
    }
}

#[test]
fn streams_are_checked() {
    let unsettled = ResponseError::NoSettings(StreamId::SERVER);
    refused(
        &[response(MORE, STATUS), encoded(EOS, b"")],
        unsettled.clone(),
    );
    let halfway = frame(1, FrameKind::StreamSettings, MORE, b"\x44");
    refused(&[halfway.clone(), encoded(EOS, b"")], unsettled);
    let rest = frame(1, FrameKind::StreamSettings, EOS, b"zlib");
    let all = compressed(ContentEncoding::Zlib, STATUS);
    assert!(read(&[halfway, rest, encoded(EOS, &all)]).is_ok());
    refused(
        &[encoded(EOS, b"")],
        ResponseError::StreamNotBegun(StreamId::SERVER),
    );
    let wrong = ResponseError::StreamSettings(StreamId::SERVER);
    for name in [&b"\x44nope"[..], b"\x48identity\x00", b"", &[0x58; 2000]] {
        refused(&[settings(name)], wrong.clone());
    }
    refused(&[settings(b"\x44zlib"), settings(b"\x44zlib")], wrong);
    let mut odd = response(EOS, STATUS);
    odd[5] = 1;
    refused(&[odd], ResponseError::OddStream(StreamId(1)));
    let mut more = vec![response(MORE, STATUS); 5];
    for (frame, id) in more.iter_mut().zip([2, 4, 6, 8, 10]) {
        frame[5] = id;
        frame.truncate(8);
        frame[0] = 0;
    }
    refused(&more, ResponseError::TooManyStreams);
}

#[test]
fn frames_of_no_answer_are_refused() {
    let kinds = [
        FrameKind::CommandRequest,
        FrameKind::CommandData,
        FrameKind::TextOutput,
        FrameKind::Progress,
        FrameKind::SenderSettings,
    ];
    for kind in kinds {
        refused(
            &[frame(1, kind, 1, b"")],
            ResponseError::UnexpectedKind(kind),
        );
    }
    for flags in [0, 3] {
        refused(&[response(flags, STATUS)], ResponseError::Flags(flags));
    }
    let mut other = response(EOS, STATUS);
    other[3] = 5;
    refused(&[other], ResponseError::UnknownRequest(RequestId(5)));
    let ended = [response(EOS, STATUS), response(EOS, b"")];
    refused(&ended, ResponseError::UnknownRequest(ONE));
}
