//! Bodies that are no frames, or not those of a client.

use fingerpost_hg_proto::cbor::Value;

use super::SAMPLE;
use crate::client::{API, Answered, Frame, ask, body, encoded, map, post};
use crate::world::World;

const HEADS: &[u8] = b"\xa1\x44name\x45heads";

async fn of_heads(door: &axum::Router, frames: &[Frame<'_>]) -> Answered {
    let body: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes()).collect();
    ask(door, post(&format!("{API}/ro/heads"), body)).await
}

fn settings(encodings: &[&str]) -> Vec<u8> {
    let names = encodings.iter().map(|name| Value::bytes(*name)).collect();
    let pairs = [(&b"contentencodings"[..], Value::Array(names))];
    encoded(&Value::record(pairs))
}

#[track_caller]
fn check_internal(answered: &Answered) {
    assert_eq!(
        (answered.status, answered.text().as_str()),
        (500, "Internal Server Error")
    );
    assert_eq!(answered.media_type(), None);
}

#[tokio::test]
async fn a_body_that_is_cut_anywhere_is_an_internal_error() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let settings = settings(&["zlib", "identity"]);
    let later = Frame {
        stream_flags: 0,
        ..Frame::request(HEADS)
    };
    let whole = [Frame::settings(&settings).bytes(), later.bytes()].concat();
    let path = format!("{API}/ro/heads");
    for end in 0..whole.len() {
        check_internal(&ask(&door, post(&path, &whole[..end])).await);
    }
    assert!(ask(&door, post(&path, whole)).await.is_frames());
}

#[tokio::test]
async fn a_request_that_is_never_complete_is_an_internal_error() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let more = Frame {
        flags: 1 | 4,
        ..Frame::request(HEADS)
    };
    check_internal(&of_heads(&door, &[more]).await);
    let with_data = Frame {
        flags: 1 | 8,
        ..Frame::request(HEADS)
    };
    check_internal(&of_heads(&door, &[with_data]).await);
    let encoded = Frame {
        stream_flags: 1 | 4,
        ..Frame::request(HEADS)
    };
    check_internal(&of_heads(&door, &[encoded]).await);
}

#[tokio::test]
async fn breaches_of_the_protocol_are_told_in_text() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let first = Frame::request(HEADS);
    let none = settings(&[]);
    let whole = Frame::settings(&none);
    let on = |frame: Frame<'static>| Frame {
        stream_flags: 0,
        ..frame
    };
    let next = on(first);
    let cases: Vec<(Vec<Frame<'_>>, &str)> = vec![
        (
            vec![Frame { stream: 2, ..first }],
            "received frame with even numbered stream ID: 2\n",
        ),
        (
            vec![Frame { stream: 0, ..first }],
            "received frame with even numbered stream ID: 0\n",
        ),
        (
            vec![next],
            "received frame on unknown inactive stream without beginning of stream flag set\n",
        ),
        (vec![Frame { kind: 0, ..first }], "unknown frame type: 0\n"),
        (
            vec![Frame { kind: 15, ..first }],
            "unknown frame type: 15\n",
        ),
        (vec![Frame { kind: 3, ..first }], "command-response"),
        (vec![Frame { kind: 5, ..first }], "error-response"),
        (vec![Frame { kind: 6, ..first }], "text-output"),
        (vec![Frame { kind: 7, ..first }], "progress"),
        (vec![Frame { kind: 9, ..first }], "stream-settings"),
        (
            vec![Frame { flags: 0, ..first }],
            "either be new or a continuation",
        ),
        (
            vec![Frame { flags: 3, ..first }],
            "either be new or a continuation",
        ),
        (
            vec![Frame { flags: 2, ..first }],
            "a request that was not begun: 1",
        ),
        (vec![Frame { flags: 5, ..first }, next], "being received: 1"),
        (vec![first, next], "a request that is complete: 1"),
        (
            vec![first, Frame { flags: 2, ..next }],
            "a request that is complete: 1",
        ),
        (
            vec![
                Frame { flags: 5, ..first },
                Frame {
                    flags: 2 | 8,
                    ..next
                },
            ],
            "differ in whether data follows",
        ),
        (
            vec![Frame {
                kind: 2,
                flags: 2,
                ..first
            }],
            "data that request 1 does not expect",
        ),
        (
            vec![
                Frame { flags: 9, ..first },
                Frame {
                    kind: 2,
                    flags: 3,
                    ..next
                },
            ],
            "either continue or end",
        ),
        (
            vec![
                first,
                Frame {
                    stream_flags: 0,
                    ..whole
                },
            ],
            "not at the beginning",
        ),
        (
            vec![
                whole,
                Frame {
                    stream_flags: 0,
                    ..whole
                },
            ],
            "not at the beginning",
        ),
        (
            vec![Frame { flags: 1, ..whole }, next],
            "not at the beginning",
        ),
        (
            vec![Frame { flags: 0, ..whole }, next],
            "either continue or end",
        ),
        (
            vec![
                Frame {
                    payload: b"\x80",
                    ..whole
                },
                next,
            ],
            "not a map with a list",
        ),
        (
            vec![
                Frame {
                    payload: b"\xa1\x50contentencodings\x01",
                    ..whole
                },
                next,
            ],
            "not a map with a list",
        ),
        (
            vec![Frame {
                payload: b"\xa0",
                ..first
            }],
            "missing \"name\" field",
        ),
        (
            vec![Frame {
                payload: b"\xa1\x44name\x01",
                ..first
            }],
            "missing \"name\" field",
        ),
        (
            vec![Frame {
                payload: b"\x80",
                ..first
            }],
            "not a map",
        ),
        (
            vec![Frame {
                payload: b"\xa2\x44args\x80\x44name\x45heads",
                ..first
            }],
            "not a map with names",
        ),
        (
            vec![Frame {
                payload: b"\xa2\x44args\xa1\x01\x02\x44name\x45heads",
                ..first
            }],
            "not a map with names",
        ),
        (
            vec![Frame {
                payload: b"\xa2\x44name\x45heads\x48redirect\x01",
                ..first
            }],
            "not a map of name lists",
        ),
    ];
    for (frames, text) in &cases {
        let answered = of_heads(&door, frames).await;
        let found = answered.text();
        assert!(found.contains(text), "{frames:?}: {found:?}");
        assert!(found.ends_with('\n'), "{found:?}");
        assert_eq!(
            (answered.status, answered.media_type()),
            (200, Some("text/plain"))
        );
    }
}

#[tokio::test]
async fn what_is_no_cbor_of_the_subset_is_an_internal_error() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let wrong: [&[u8]; 12] = [
        b"",
        b"\xff",
        b"\x64name",
        b"\xa1\x64name\x45heads",
        b"\xa1\x44name\x65heads",
        b"\xbf\x44name\x45heads\xff",
        b"\xa1\x44name\x5f\x45heads\xff",
        b"\xa2\x44name\x45heads\x44name\x45heads",
        b"\xa1\x44name\x45heads\x00",
        b"\xa1\x44name\xfb\x3f\xf0\0\0\0\0\0\0",
        b"\xa1\x44name\xc0\x45heads",
        b"\xa1\xa0\x45heads",
    ];
    for payload in wrong {
        check_internal(&of_heads(&door, &[Frame::request(payload)]).await);
    }
}

#[tokio::test]
async fn what_is_too_large_is_said_to_be() {
    let mut world = World::recorded("sample-dothg", SAMPLE);
    world.front.body_bytes_max = 2 << 20;
    let door = world.door();
    let deep = [
        &b"\xa2\x44args\xa1\x41x"[..],
        &[0x81; 1000],
        b"\x00\x44name\x45heads",
    ]
    .concat();
    let huge = b"\xa2\x44args\xa1\x41x\x5b\xff\xff\xff\xff\xff\xff\xff\xff";
    let many = b"\xa2\x44args\xa1\x41x\x9a\xff\xff\xff\xff";
    let long = vec![0; (1 << 20) + 1];
    for payload in [&deep[..], huge, many, &long] {
        assert_eq!(
            of_heads(&door, &[Frame::request(payload)]).await.status,
            413
        );
    }
    let path = format!("{API}/ro/multirequest");
    let commands: Vec<_> = (0..65).map(|_| ("heads", Vec::new())).collect();
    assert!(
        ask(&door, post(&path, body(&commands[..64])))
            .await
            .is_frames()
    );
    let open: Vec<u8> = (0..17_u16)
        .flat_map(|at| {
            let frame = Frame {
                id: 2 * at + 1,
                flags: 5,
                ..Frame::request(HEADS)
            };
            frame.bytes()
        })
        .collect();
    let frames = Frame {
        flags: 5,
        ..Frame::request(b"")
    };
    let more = Frame { flags: 6, ..frames };
    let many_frames = [frames.bytes(), more.bytes().repeat(16_384)].concat();
    for body in [
        body(&commands),
        vec![0x11; (2 << 20) + 1],
        open,
        many_frames,
    ] {
        let answered = ask(&door, post(&path, body)).await;
        assert_eq!(
            (answered.status, answered.media_type()),
            (413, Some("text/plain"))
        );
        assert_eq!(answered.text(), "the request is too large\n");
    }
}

#[tokio::test]
async fn requests_may_interleave_and_are_answered_as_they_complete() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let known = map("known", &[("nodes", Value::Array(Vec::new()))]);
    let (a, b) = known.split_at(7);
    let (c, d) = HEADS.split_at(3);
    let part = |id, stream_flags, flags, payload| Frame {
        id,
        stream: 1,
        stream_flags,
        kind: 1,
        flags,
        payload,
    };
    let frames = [
        part(1, 1, 5, a),
        part(3, 0, 5, c),
        part(1, 0, 6, b""),
        part(3, 0, 2, d),
        part(1, 0, 2, b),
    ];
    let body: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes()).collect();
    let answered = ask(&door, post(&format!("{API}/ro/multirequest"), body)).await;
    let told = answered.told(2);
    assert_eq!(told[0].objects, [Value::bytes(*b"")]);
    assert_eq!(told[1].objects.len(), 1);
    // The second request was complete first.
    assert_eq!(answered.body[3], 3);
}

#[tokio::test]
async fn a_url_has_its_own_command_and_only_once() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let other = map("known", &[]);
    let second = Frame {
        id: 3,
        stream_flags: 0,
        ..Frame::request(HEADS)
    };
    for (frames, text) in [
        (
            vec![Frame::request(&other)],
            "command in frame must match command in URL",
        ),
        (
            vec![Frame::request(HEADS), second],
            "multiple commands cannot be issued to this URL",
        ),
    ] {
        let answered = of_heads(&door, &frames).await;
        assert_eq!((answered.status, answered.text().as_str()), (200, text));
        assert_eq!(answered.media_type(), Some("text/plain"));
    }
    let path = format!("{API}/ro/multirequest");
    for (name, status, text) in [
        ("nope", 200, "wire protocol command not available: nope"),
        (
            "multirequest",
            200,
            "wire protocol command not available: multirequest",
        ),
        ("", 200, "wire protocol command not available: "),
        (
            "pushkey",
            403,
            "insufficient permissions to execute command: pushkey",
        ),
    ] {
        let both = body(&[("heads", Vec::new()), (name, Vec::new())]);
        let answered = ask(&door, post(&path, both)).await;
        assert_eq!((answered.status, answered.text().as_str()), (status, text));
    }
}

#[tokio::test]
async fn encodings_that_nobody_knows_are_passed_over() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let next = Frame {
        stream_flags: 0,
        ..Frame::request(HEADS)
    };
    let plain = of_heads(&door, &[Frame::request(HEADS)]).await.told(1);
    let long = "x".repeat(10_000);
    for names in [
        &["nope"][..],
        &[],
        &["", "zlib"],
        &["zlib", "zlib"],
        &[&long, "zstd-8mb"],
        &["ZLIB"],
    ] {
        let settings = settings(names);
        let answered = of_heads(&door, &[Frame::settings(&settings), next]).await;
        assert_eq!(answered.told(1), plain, "{names:?}");
    }
    let too_long = "x".repeat(70_000);
    let settings = settings(&[&too_long]);
    assert_eq!(
        of_heads(&door, &[Frame::settings(&settings), next])
            .await
            .status,
        413
    );
}
