//! Fuzz targets: plain functions over bytes that panic when something that
//! must hold does not. Each decoder has one. They are for tests and fuzzers,
//! never for a server.

use std::collections::BTreeMap;

use fingerpost_core::{Encode, Json};
use serde_json::Value;

use crate::client::{self, AnswerInbox};
use crate::field::{Name, Text, Truth};
use crate::stream::{Line, parse_get_line};
use crate::types::{Method, Unihash, decode_hex, encode_hex};
use crate::wire::{Framing, Inbound, Inbox, LINE_BYTES, Limits, Misbehaved, Mode};
use crate::{outbox, python, request};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 7] = [
    ("inbox", fuzz_inbox),
    ("messages", fuzz_messages),
    ("request", fuzz_request),
    ("stream_line", fuzz_stream_line),
    ("answer", fuzz_answer),
    ("outbox", fuzz_outbox),
    ("values", fuzz_values),
];

/// Small enough for short inputs to pass them.
const LIMITS: Limits = Limits {
    line_bytes: 160,
    message_bytes: 400,
    handshake_bytes: 200,
    header_lines: 4,
};

const HANDSHAKE: &[u8] = b"OEHASHEQUIV 1.1\n\n";

/// The server's inbox on a socket: the same comes out however the input is cut,
/// and whether lines are taken one by one or in batches. The first byte says
/// whether a handshake is put in front, and how long the cut pieces are.
pub fn fuzz_inbox(data: &[u8]) {
    let Some((&control, input)) = data.split_first() else {
        return;
    };
    let mut session = Vec::new();
    if control & 1 == 1 {
        session.extend_from_slice(HANDSHAKE);
    }
    session.extend_from_slice(input);
    let whole = events_of_bytes(&session, session.len().max(1), Taking::OneByOne);
    let piece = usize::from(control >> 1) % 13 + 1;
    assert_eq!(whole, events_of_bytes(&session, piece, Taking::OneByOne));
    assert_eq!(whole, events_of_bytes(&session, piece, Taking::Batches));
    assert_eq!(
        whole,
        events_of_bytes(&session, session.len().max(1), Taking::Batches)
    );
}

/// The server's inbox on a WebSocket: the same comes out whether messages are
/// taken in as they come or all at once. Messages end at `0xff` bytes.
pub fn fuzz_messages(data: &[u8]) {
    let messages: Vec<&[u8]> = data.split(|&byte| byte == 0xff).collect();
    let all = events_of_messages(&messages, messages.len().max(1));
    assert_eq!(all, events_of_messages(&messages, 1));
}

/// Choosing a command: what `serde_json` reads from the same text.
pub fn fuzz_request(data: &[u8]) {
    const COMMANDS: [&str; 4] = ["ping", "get", "get-stream", "a"];
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let selected = request::select(text, &|name| {
        COMMANDS.iter().position(|known| *known == name)
    });
    // Some JSON is beyond the tree parser: huge numbers, depth, lone surrogates.
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let Value::Object(object) = value else {
        assert_eq!(selected, Err(Misbehaved::NotAnObject));
        return;
    };
    let expected = COMMANDS
        .iter()
        .enumerate()
        .find_map(|(index, name)| Some((index, object.get(*name)?)));
    match (selected, expected) {
        (Ok(selected), Some((index, argument))) => {
            assert_eq!(selected.index, index);
            assert_eq!(
                serde_json::from_str::<Value>(selected.argument)
                    .ok()
                    .as_ref(),
                Some(argument)
            );
        }
        (selected, expected) => {
            assert_eq!(
                (selected, expected),
                (Err(Misbehaved::UnknownCommand), None)
            );
        }
    }
}

/// Stream lines: the fast way and the plain definition agree, and what a
/// client writes the server reads.
pub fn fuzz_stream_line(data: &[u8]) {
    let expected = match std::str::from_utf8(data) {
        Err(_) => Err(Misbehaved::NotUtf8),
        Ok(text) => match text
            .split(python::is_blank)
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()[..]
        {
            [method, taskhash] => Ok((method, taskhash)),
            _ => Err(Misbehaved::StreamLine),
        },
    };
    let parsed = parse_get_line(data).map(|key| (key.method, key.taskhash));
    assert_eq!(parsed, expected);
    let Ok((method, taskhash)) = parsed else {
        return;
    };
    let mut line = Vec::new();
    if client::stream::write_get(&mut line, Framing::Messages, method, taskhash).is_ok() {
        let again = parse_get_line(&line).expect("clients write what servers read");
        assert_eq!((again.method, again.taskhash), (method, taskhash));
    }
}

/// The client's inbox and its answers: the same comes out however the input
/// is cut, and a row that was read is written and read again unchanged.
pub fn fuzz_answer(data: &[u8]) {
    let Some((&control, input)) = data.split_first() else {
        return;
    };
    let whole = answers_of_bytes(input, input.len().max(1));
    assert_eq!(
        whole,
        answers_of_bytes(input, usize::from(control) % 13 + 1)
    );
    for text in whole.0 {
        let _ = client::read_answer::<client::UnihashRow>(&text);
        let _ = client::read_answer::<client::Usage>(&text);
        let _ = client::stream::read_unihash(&text);
        let _ = client::stream::read_exists(&text);
        if let Ok(Some(row)) = client::read_answer::<Option<client::FullRow>>(&text) {
            let json = serde_json::to_string(&row).expect("rows are texts and numbers");
            assert_eq!(client::read_answer(&json), Ok(row));
        }
    }
}

/// Long messages: what is written as chunks arrives whole, at our end and at
/// one that strips every line. The input is a list of runs: a character, and
/// how often it comes (two bytes, little end first).
pub fn fuzz_outbox(data: &[u8]) {
    const CHARACTERS: [char; 8] = [
        'x',
        ' ',
        '"',
        '\n',
        '\u{2003}',
        '\u{e9}',
        '\u{1f600}',
        '\u{1c}',
    ];
    let mut text = String::new();
    for run in data.chunks_exact(3).take(5) {
        let times = usize::from(u16::from_le_bytes([run[1], run[2]]));
        let character = CHARACTERS[usize::from(run[0]) % CHARACTERS.len()];
        text.extend(std::iter::repeat_n(character, times));
    }
    let mut json = Vec::new();
    match data.len() % 2 {
        0 => Json(&text).encode(&mut json),
        _ => json = serde_json::to_vec(&text).expect("texts serialize"),
    }
    let mut wire = Vec::new();
    outbox::write_message(&mut wire, Framing::Lines, &json);
    let mut inbox = AnswerInbox::new(Framing::Lines, Limits::default());
    inbox.buffer().extend_from_slice(&wire);
    let received = inbox
        .next()
        .expect("we keep to the limits")
        .expect("the message is complete");
    assert!(serde_json::from_str::<String>(received).is_ok_and(|received| received == text));
    assert_eq!(inbox.pending(), 0);
    let stripped = joined_by_the_reference(std::str::from_utf8(&wire).expect("JSON is UTF-8"));
    assert!(serde_json::from_str::<String>(&stripped).is_ok_and(|received| received == text));
}

/// Values: hashes keep their text, loose fields never lose a text.
pub fn fuzz_values(data: &[u8]) {
    if let Ok(bytes) = <&[u8; 32]>::try_from(data) {
        assert_eq!(decode_hex(&encode_hex(bytes)).as_ref(), Some(bytes));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let unihash = Unihash::parse(text);
    assert_eq!(unihash.to_text(), text);
    assert_eq!(Unihash::parse_valid(text).is_ok(), unihash.is_valid());
    assert_eq!(Method::from(text).as_str(), text);
    let json = serde_json::to_string(text).expect("texts serialize");
    let loose: Text<'_> = serde_json::from_str(&json).expect("a text is a text");
    assert_eq!(loose.as_deref(), Some(text));
    let _ = serde_json::from_str::<Text<'_>>(text);
    let _ = serde_json::from_str::<Name>(text);
    let _ = serde_json::from_str::<BTreeMap<String, Truth>>(text);
}

/// [`Inbound`], owned.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Opened(bool),
    Request(String),
    Goodbye,
    Line(String),
    StreamEnd,
    Closed(Misbehaved),
}

impl From<Inbound<'_>> for Event {
    fn from(inbound: Inbound<'_>) -> Self {
        match inbound {
            Inbound::Opened { needs_headers } => Self::Opened(needs_headers),
            Inbound::Request(text) => Self::Request(text.to_owned()),
            Inbound::Goodbye => Self::Goodbye,
            Inbound::Line(line) => Self::Line(line.to_owned()),
            Inbound::StreamEnd => Self::StreamEnd,
        }
    }
}

/// How a session takes its stream lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    OneByOne,
    Batches,
}

/// A connection's life: a message that names a stream opens one.
struct Session {
    inbox: Inbox,
    mode: Mode,
    taking: Taking,
    events: Vec<Event>,
}

impl Session {
    fn new(framing: Framing, taking: Taking) -> Self {
        let inbox = Inbox::new(framing, LIMITS);
        Self {
            inbox,
            mode: Mode::Requests,
            taking,
            events: Vec::new(),
        }
    }

    /// Takes all that is complete. False: the connection is closed.
    fn drain(&mut self) -> bool {
        loop {
            let taken = match (self.taking, self.mode) {
                (Taking::Batches, Mode::Stream) => self.take_batch(),
                _ => self
                    .inbox
                    .next(self.mode)
                    .map(|inbound| inbound.map(Event::from)),
            };
            let event = match taken {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(misbehaved) => Event::Closed(misbehaved),
            };
            match &event {
                Event::Request(text) if text.contains("stream") => self.mode = Mode::Stream,
                Event::StreamEnd => self.mode = Mode::Requests,
                _ => {}
            }
            let closed = matches!(event, Event::Goodbye | Event::Closed(_));
            self.events.push(event);
            if closed {
                return false;
            }
        }
        assert!(self.inbox.pending() <= LIMITS.line_bytes + LIMITS.message_bytes);
        true
    }

    /// Takes lines in a loop, up to the one that is not a mere line.
    fn take_batch(&mut self) -> Result<Option<Event>, Misbehaved> {
        for line in self.inbox.stream_lines() {
            match line? {
                Line::End => return Ok(Some(Event::StreamEnd)),
                Line::Text(line) => {
                    let line = std::str::from_utf8(line).map_err(|_| Misbehaved::NotUtf8)?;
                    self.events.push(Event::Line(line.to_owned()));
                }
            }
        }
        Ok(None)
    }
}

fn events_of_bytes(session: &[u8], piece: usize, taking: Taking) -> Vec<Event> {
    let mut server = Session::new(Framing::Lines, taking);
    for piece in session.chunks(piece) {
        server.inbox.push(piece);
        if !server.drain() {
            break;
        }
    }
    server.events
}

fn events_of_messages(messages: &[&[u8]], at_once: usize) -> Vec<Event> {
    let mut server = Session::new(Framing::Messages, Taking::OneByOne);
    for messages in messages.chunks(at_once) {
        let mut refused = None;
        for message in messages {
            refused = server.inbox.push_message(message).err();
            if refused.is_some() {
                break;
            }
        }
        if !server.drain() {
            break;
        }
        if let Some(misbehaved) = refused {
            server.events.push(Event::Closed(misbehaved));
            break;
        }
    }
    server.events
}

fn answers_of_bytes(input: &[u8], piece: usize) -> (Vec<String>, Option<Misbehaved>) {
    let mut inbox = AnswerInbox::new(Framing::Lines, LIMITS);
    let mut answers = Vec::new();
    for piece in input.chunks(piece) {
        inbox.buffer().extend_from_slice(piece);
        loop {
            match inbox.next() {
                Ok(Some(answer)) => answers.push(answer.to_owned()),
                Ok(None) => break,
                Err(misbehaved) => return (answers, Some(misbehaved)),
            }
        }
    }
    (answers, None)
}

/// What a receiver makes of a message that strips every line at its end and
/// takes no line of more than [`LINE_BYTES`].
fn joined_by_the_reference(wire: &str) -> String {
    let mut lines = wire.split('\n').map(|line| {
        assert!(line.len() <= LINE_BYTES);
        python::strip_end(line)
    });
    match lines.next() {
        Some("{\"chunk-stream\": null}") => lines.take_while(|line| !line.is_empty()).collect(),
        line => line.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests;
