//! Whole sessions through an inbox.

use super::*;

const OPEN: &str = "OEHASHEQUIV 1.1\nneeds-headers: false\n\n";

/// What an inbox said, as words: requests and lines as they are, the rest in
/// angle brackets.
struct Server {
    inbox: Inbox,
    mode: Mode,
    said: Vec<String>,
}

impl Server {
    fn new(framing: Framing) -> Self {
        Self {
            inbox: Inbox::new(framing, Limits::default()),
            mode: Mode::Requests,
            said: Vec::new(),
        }
    }

    /// Takes what is complete, and follows `..-stream` into the stream.
    fn drain(&mut self) -> bool {
        loop {
            let word = match self.inbox.next(self.mode) {
                Ok(None) => return true,
                Ok(Some(Inbound::Opened { needs_headers })) => format!("<opened {needs_headers}>"),
                Ok(Some(Inbound::Request(text) | Inbound::Line(text))) => text.to_owned(),
                Ok(Some(Inbound::Goodbye)) => "<goodbye>".to_owned(),
                Ok(Some(Inbound::StreamEnd)) => "<end>".to_owned(),
                Err(misbehaved) => format!("<{}>", misbehaved.as_str()),
            };
            match word.as_str() {
                "{\"get-stream\": null}" => self.mode = Mode::Stream,
                "<end>" => self.mode = Mode::Requests,
                _ => {}
            }
            let closed = word == "<goodbye>"
                || Misbehaved::ALL
                    .iter()
                    .any(|it| word == format!("<{}>", it.as_str()));
            self.said.push(word);
            if closed {
                return false;
            }
        }
    }
}

fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut server = Server::new(Framing::Lines);
    for piece in pieces {
        server.inbox.push(piece);
        if !server.drain() {
            break;
        }
    }
    server.said
}

/// Whole, byte by byte, and cut in two at every place: all the same.
fn check_bytes(input: &[u8], expected: &[&str]) {
    assert_eq!(feed([input]), expected);
    assert_eq!(feed(input.chunks(1)), expected, "byte by byte");
    for at in 0..=input.len() {
        let (one, two) = input.split_at(at);
        assert_eq!(feed([one, two]), expected, "cut at {at}");
    }
}

fn check(input: &str, expected: &[&str]) {
    check_bytes(input.as_bytes(), expected);
}

/// After a handshake.
fn check_open(input: &str, expected: &[&str]) {
    let opened: Vec<&str> = [&["<opened false>"], expected].concat();
    check(&format!("{OPEN}{input}"), &opened);
}

fn check_messages(messages: &[&str], expected: &[&str]) {
    let mut server = Server::new(Framing::Messages);
    for message in messages {
        server.inbox.push_message(message.as_bytes()).unwrap();
        if !server.drain() {
            break;
        }
    }
    assert_eq!(server.said, expected);
}

#[test]
fn handshakes_open_a_session() {
    check("OEHASHEQUIV 1.1\n\n", &["<opened false>"]);
    check(
        "OEHASHEQUIV 1.1\nneeds-headers: true\n\n",
        &["<opened true>"],
    );
    check(
        "OEHASHEQUIV 1.1\r\nneeds-headers: true\r\n\r\n",
        &["<opened true>"],
    );
    check("  OEHASHEQUIV \t 1.1  \n \u{3000}\n", &["<opened false>"]);
    check("OEHASHEQUIV 1.1\nneeds-headers: true\n", &[]);
}

#[test]
fn bad_handshakes_close_at_once() {
    check("\n", &["<first-line>"]);
    check("OEHASHEQUIV 1.2\n", &["<version>"]);
    check("PRSERVICE 1.0\n\n", &["<protocol>"]);
    check("OEHASHEQUIV 1.1\nfoo\n", &["<header>"]);
    check_bytes(b"OE\xff\n", &["<not-utf8>"]);
    check_bytes(b"OEHASHEQUIV 1.1\nx: \xff\n", &["<not-utf8>"]);
}

#[test]
fn requests_may_follow_the_handshake_at_once() {
    check_open(
        "{\"ping\": {}}\n{\"get-stream\": null}\nm t\nEND\n{\"ping\": 1}\nnull\n",
        &[
            "{\"ping\": {}}",
            "{\"get-stream\": null}",
            "m t",
            "<end>",
            "{\"ping\": 1}",
            "<goodbye>",
        ],
    );
}

#[test]
fn lines_are_stripped_at_their_end_only() {
    check_open("  {\"ping\": {}}\u{2003}\x1c \r\n", &["  {\"ping\": {}}"]);
    check_open("\n", &[""]);
    check_open(" null \r\n", &["<goodbye>"]);
    check_open("\u{a0}null\n", &["\u{a0}null"]);
}

#[test]
fn half_lines_are_no_requests() {
    check_open("{\"ping\": {}}", &[]);
}

#[test]
fn streams_end_with_end_or_nothing() {
    let stream = "{\"get-stream\": null}";
    check_open(
        &format!("{stream}\nm t \nEND \t\r\nx\n"),
        &[stream, "m t", "<end>", "x"],
    );
    check_open(&format!("{stream}\n\nx\n"), &[stream, "<end>", "x"]);
    check_open(
        &format!("{stream}\n \u{3000}\nx\n"),
        &[stream, "<end>", "x"],
    );
    check_open(
        &format!("{stream}\n END\nEND x\nend\n"),
        &[stream, " END", "END x", "end"],
    );
}

#[test]
fn chunks_are_joined() {
    let chunks = "{\"chunk-stream\": null}\n";
    check_open(
        &format!("{chunks}{{\"pi\nng\": {{}}}}\n\nx\n"),
        &["{\"ping\": {}}", "x"],
    );
    check_open("{\"get\": 1, \"chunk-stream\": [7]}\n{}\n\n", &["{}"]);
    check_open(&format!("{chunks}null\n\n"), &["<goodbye>"]);
    check_open(&format!("{chunks}\nx\n"), &["", "x"]);
    check_open(
        &format!("{chunks}{chunks}\n"),
        &["{\"chunk-stream\": null}"],
    );
    check_open(&format!("{chunks}a\nb\n"), &[]);
}

#[test]
fn pieces_lose_nothing_but_their_line_end() {
    let chunks = "{\"chunk-stream\": null}\n";
    check_open(
        &format!("{chunks}\"one   \ntwo\t\u{2003}\n  \nthree\"\r\n\r\n"),
        &["\"one   two\t\u{2003}  three\""],
    );
    check_open(&format!("{chunks}a\r\r\nb\n\n"), &["a\rb"]);
}

#[test]
fn a_broken_announcement_of_chunks_is_a_broken_request() {
    let broken = "{\"chunk-stream\": null} x";
    check_open(&format!("{broken}\n"), &[broken]);
    assert_eq!(
        request::select(broken, &|_| Some(0)),
        Err(Misbehaved::NotJson)
    );
}

#[test]
fn bytes_that_are_no_utf8_close() {
    let input = |tail: &[u8]| [OPEN.as_bytes(), tail].concat();
    check_bytes(
        &input(b"{\"ping\": \"\xff\"}\n"),
        &["<opened false>", "<not-utf8>"],
    );
    // A character must not be cut between pieces.
    let cut = b"{\"chunk-stream\": null}\n\"\xc3\n\xa9\"\n\n";
    check_bytes(&input(cut), &["<opened false>", "<not-utf8>"]);
    let stream = b"{\"get-stream\": null}\nm t\xff\n";
    check_bytes(
        &input(stream),
        &["<opened false>", "{\"get-stream\": null}", "<not-utf8>"],
    );
}

#[test]
fn lines_of_65536_bytes_are_the_longest() {
    for (before, inside) in [("", false), ("{\"chunk-stream\": null}\n", true)] {
        let longest = "x".repeat(65_536);
        let end = if inside { "\n\n" } else { "\n" };
        let said = feed([format!("{OPEN}{before}{longest}{end}").as_bytes()]);
        assert_eq!(said[1], longest);
        for tail in ["", "\n"] {
            let said = feed([format!("{OPEN}{before}{longest}x{tail}").as_bytes()]);
            assert_eq!(said[1..], ["<line-too-long>"], "{tail:?}");
        }
    }
    // A carriage return and blanks count although they are stripped.
    let said = feed([format!("{OPEN}{}\r\n", "x".repeat(65_536)).as_bytes()]);
    assert_eq!(said[1..], ["<line-too-long>"]);
}

#[test]
fn over_long_lines_close_before_their_end_arrives() {
    let mut server = Server::new(Framing::Lines);
    server.inbox.push(OPEN.as_bytes());
    server.inbox.push(&[b'x'; 65_536]);
    assert!(server.drain());
    server.inbox.push(b"x");
    assert!(!server.drain());
    assert_eq!(server.said, ["<opened false>", "<line-too-long>"]);
}

#[test]
fn the_handshake_is_limited_as_lines_are() {
    assert_eq!(feed([&[b'x'; 65_537][..]]), ["<line-too-long>"]);
    let header = format!("x:{}\n", "y".repeat(60_000));
    let said = feed([format!("OEHASHEQUIV 1.1\n{}", header.repeat(3)).as_bytes()]);
    assert_eq!(said, ["<handshake-too-long>"]);
    let said = feed([format!("OEHASHEQUIV 1.1\n{}", "x:\n".repeat(257)).as_bytes()]);
    assert_eq!(said, ["<handshake-too-long>"]);
    let said = feed([format!("OEHASHEQUIV 1.1\n{}\n", "x:\n".repeat(256)).as_bytes()]);
    assert_eq!(said, ["<opened false>"]);
}

#[test]
fn chunked_messages_are_limited() {
    let limits = Limits {
        message_bytes: 10,
        ..Limits::default()
    };
    let mut inbox = Inbox::new(Framing::Lines, limits);
    inbox.push(format!("{OPEN}{{\"chunk-stream\": null}}\n1234567890\n").as_bytes());
    assert!(matches!(
        inbox.next(Mode::Requests),
        Ok(Some(Inbound::Opened { .. }))
    ));
    assert_eq!(inbox.next(Mode::Requests), Ok(None));
    assert_eq!(inbox.pending(), 10);
    inbox.push(b"1\n");
    assert_eq!(inbox.next(Mode::Requests), Err(Misbehaved::MessageTooLong));
}

#[test]
fn websocket_messages_are_taken_as_they_are() {
    let open = ["OEHASHEQUIV 1.1", "needs-headers: true", ""];
    check_messages(&open, &["<opened true>"]);
    check_messages(
        &[
            &open[..],
            &["{\"ping\":\n {}}\n", "{\"chunk-stream\": null}", " null\n"],
        ]
        .concat(),
        &[
            "<opened true>",
            "{\"ping\":\n {}}\n",
            "{\"chunk-stream\": null}",
            "<goodbye>",
        ],
    );
    check_messages(
        &[
            &open[..],
            &["{\"get-stream\": null}", "m t\n", "END ", " ", "END", "x"],
        ]
        .concat(),
        &[
            "<opened true>",
            "{\"get-stream\": null}",
            "m t\n",
            "END ",
            " ",
            "<end>",
            "x",
        ],
    );
    check_messages(&["OEHASHEQUIV 2.0"], &["<version>"]);
    check_messages(&["OEHASHEQUIV 1.1", " "], &["<header>"]);
    check_messages(&["OEHASHEQUIV 1.1 "], &[]);
}

#[test]
fn websocket_messages_are_limited() {
    let limits = Limits {
        message_bytes: 10,
        ..Limits::default()
    };
    let mut inbox = Inbox::new(Framing::Messages, limits);
    assert_eq!(inbox.push_message(&[b'x'; 10]), Ok(()));
    assert_eq!(
        inbox.push_message(&[b'x'; 11]),
        Err(Misbehaved::MessageTooLong)
    );
}

#[test]
fn lines_can_be_taken_in_batches_and_left() {
    let mut inbox = Inbox::new(Framing::Lines, Limits::default());
    inbox.push(b"OEHASHEQUIV 1.1\n\na 1\nb 2\r\nEND\nlater\nhalf");
    assert!(matches!(
        inbox.next(Mode::Stream),
        Ok(Some(Inbound::Opened { .. }))
    ));
    assert_eq!(inbox.stream_lines().next(), Some(Ok(Line::Text(b"a 1"))));
    let rest: Vec<_> = inbox.stream_lines().take(2).map(Result::unwrap).collect();
    assert_eq!(rest, [Line::Text(b"b 2"), Line::End]);
    assert_eq!(
        inbox.next(Mode::Requests),
        Ok(Some(Inbound::Request("later")))
    );
    assert_eq!(inbox.stream_lines().count(), 0);
    assert_eq!(inbox.pending(), 4);
    inbox.push(b" line\n");
    assert_eq!(
        inbox.next(Mode::Stream),
        Ok(Some(Inbound::Line("half line")))
    );
}

#[test]
fn over_long_lines_close_batches_too() {
    let mut inbox = Inbox::new(Framing::Lines, Limits::default());
    inbox.push(b"OEHASHEQUIV 1.1\n\na 1\n");
    assert!(matches!(
        inbox.next(Mode::Stream),
        Ok(Some(Inbound::Opened { .. }))
    ));
    inbox.push(&[b'x'; 65_537]);
    let lines: Vec<_> = inbox.stream_lines().take(2).collect();
    assert_eq!(
        lines,
        [Ok(Line::Text(b"a 1")), Err(Misbehaved::LineTooLong)]
    );
}

#[test]
fn the_buffer_grows_with_full_reads_and_is_given_back() {
    let mut inbox = Inbox::new(Framing::Lines, Limits::default());
    inbox.push(b"OEHASHEQUIV 1.1\n\n");
    assert!(matches!(
        inbox.next(Mode::Stream),
        Ok(Some(Inbound::Opened { .. }))
    ));
    let mut rooms = Vec::new();
    for _ in 0..8 {
        let buffer = inbox.buffer();
        let room = buffer.capacity() - buffer.len();
        rooms.push(room);
        // A read that fills all the room with short lines.
        buffer.extend(b"m t\n".iter().cycle().take(room));
        assert!(inbox.stream_lines().all(|line| line.is_ok()));
    }
    assert!(rooms[0] < 8 << 10, "{rooms:?}");
    assert!(rooms[7] >= 64 << 10, "{rooms:?}");
    assert!(inbox.buffer().capacity() <= 256 << 10);
    while inbox.pending() > 0 {
        inbox.push(b"\n");
        assert!(inbox.stream_lines().all(|line| line.is_ok()));
    }
    inbox.release();
    assert!(inbox.buffer().capacity() <= 8 << 10);
}

#[test]
fn a_line_that_arrives_slowly_is_moved_once() {
    let mut inbox = Inbox::new(Framing::Lines, Limits::default());
    inbox.push(OPEN.as_bytes());
    assert!(inbox.next(Mode::Requests).is_ok());
    for _ in 0..60_000 {
        inbox.push(b"x");
        assert_eq!(inbox.next(Mode::Requests), Ok(None));
    }
    assert!(inbox.buffer().capacity() <= 256 << 10);
    inbox.push(b"\n");
    assert!(
        matches!(inbox.next(Mode::Requests), Ok(Some(Inbound::Request(text))) if text.len() == 60_000)
    );
}
