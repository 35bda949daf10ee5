//! A transcript said over another transport.
//!
//! Over TCP and Unix sockets the bytes are the same. Between lines and
//! messages one item is one item; what depends on the bytes around the items
//! cannot be carried over, and says why.

use super::{Expectation, Payload, Step, Transcript};
use crate::connection::Transport;

/// Why a transcript cannot be said over a transport.
pub type Inexpressible = &'static str;

/// The code with which the server closes websockets, errors included.
const NORMAL_CLOSE: u16 = 1000;
/// The longest line that both sides take.
const LINE_BYTES_MAX: usize = 65_536;
/// Lines of this length and above are sent in pieces.
const PIECE_BYTES: usize = 32 * 1024 - 1;
const CHUNK_STREAM: &str = "\"chunk-stream\"";

impl Transcript {
    /// Whether it was recorded over websocket.
    fn has_messages(&self) -> bool {
        self.servers
            .get("main")
            .is_some_and(|main| main.transport == "ws")
    }

    /// The same session over `transport`, which every server of it then uses.
    pub fn over(&self, transport: Transport) -> Result<Self, Inexpressible> {
        let mut other = self.clone();
        let word = match transport {
            Transport::Tcp => "tcp",
            Transport::Unix => "unix",
            Transport::WebSocket => "ws",
        };
        for setup in other.servers.values_mut() {
            word.clone_into(&mut setup.transport);
        }
        match (self.has_messages(), transport == Transport::WebSocket) {
            (false, true) => other.map(send_as_messages, expect_messages)?,
            (true, false) => other.map(send_as_lines, expect_lines)?,
            _ => {}
        }
        Ok(other)
    }

    /// The same session with everything sent as early as possible: what follows
    /// on the same connection does not wait for answers, unless it needs a
    /// token from one.
    #[must_use]
    pub fn pipelined(&self) -> Self {
        let mut other = self.clone();
        other.steps.clear();
        for (step, expectation) in &self.steps {
            let joined = other
                .steps
                .last_mut()
                .is_some_and(|last| join(last, step, expectation));
            if !joined {
                other.steps.push((step.clone(), expectation.clone()));
            }
        }
        other
    }

    fn map(
        &mut self,
        send: fn(&Payload) -> Result<Payload, Inexpressible>,
        expect: fn(&mut Expectation) -> Result<(), Inexpressible>,
    ) -> Result<(), Inexpressible> {
        for (step, expectation) in &mut self.steps {
            if let Step::Send {
                payload,
                half_close,
                ..
            } = step
            {
                if *half_close {
                    return Err("a websocket has no half-closed state");
                }
                *payload = send(payload)?;
            }
            expect(expectation)?;
        }
        Ok(())
    }
}

/// Appends a step to the one before it, if both send bytes on one connection.
fn join(last: &mut (Step, Expectation), step: &Step, expectation: &Expectation) -> bool {
    let (
        Step::Send {
            connection: earlier,
            payload: Payload::Bytes(sent),
            half_close: half_closed,
        },
        Step::Send {
            connection,
            payload: Payload::Bytes(bytes),
            half_close,
        },
    ) = (&mut last.0, step)
    else {
        return false;
    };
    let needs_answer = String::from_utf8_lossy(bytes).contains("<<token:");
    let (Some(Payload::Bytes(expected)), Some(Payload::Bytes(next))) =
        (&mut last.1.payload, &expectation.payload)
    else {
        return false;
    };
    if earlier != connection || last.1.eof || needs_answer || *half_closed {
        return false;
    }
    sent.extend_from_slice(bytes);
    expected.extend_from_slice(next);
    *half_closed = *half_close;
    last.1.eof = expectation.eof;
    last.1.unordered |= expectation.unordered;
    true
}

fn send_as_messages(payload: &Payload) -> Result<Payload, Inexpressible> {
    let Payload::Bytes(bytes) = payload else {
        return Err("recorded as messages already");
    };
    let text = std::str::from_utf8(bytes).map_err(|_| "a text message is UTF-8 by definition")?;
    let text = text
        .strip_suffix('\n')
        .ok_or("a message has no missing line end")?;
    let lines: Vec<&str> = text.split('\n').collect();
    for line in &lines {
        if line.trim_end() != *line {
            return Err("messages are not stripped at their end");
        }
        if line.contains(CHUNK_STREAM) {
            return Err("websocket has no pieces");
        }
        if line.len() > LINE_BYTES_MAX {
            return Err("the limit of a message is another");
        }
    }
    Ok(Payload::Messages(
        lines.into_iter().map(str::to_owned).collect(),
    ))
}

fn expect_messages(expectation: &mut Expectation) -> Result<(), Inexpressible> {
    if expectation.eof {
        expectation.close_code = Some(NORMAL_CLOSE);
    }
    let Some(Payload::Bytes(bytes)) = &expectation.payload else {
        return Ok(());
    };
    let text = std::str::from_utf8(bytes).map_err(|_| "a text message is UTF-8 by definition")?;
    let mut messages = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.contains(CHUNK_STREAM) {
            messages.push(
                lines
                    .by_ref()
                    .take_while(|piece| !piece.is_empty())
                    .collect(),
            );
        } else {
            messages.push(line.to_owned());
        }
    }
    expectation.payload = Some(Payload::Messages(messages));
    Ok(())
}

fn send_as_lines(payload: &Payload) -> Result<Payload, Inexpressible> {
    let Payload::Messages(messages) = payload else {
        return Err("recorded as lines already");
    };
    lines_of(messages).map(Payload::Bytes)
}

fn expect_lines(expectation: &mut Expectation) -> Result<(), Inexpressible> {
    if let Some(code) = expectation.close_code.take()
        && code != NORMAL_CLOSE
    {
        return Err("lines have no close code");
    }
    if let Some(Payload::Messages(messages)) = &expectation.payload {
        expectation.payload = Some(Payload::Bytes(lines_of(messages)?));
    }
    Ok(())
}

fn lines_of(messages: &[String]) -> Result<Vec<u8>, Inexpressible> {
    let mut bytes = Vec::new();
    for message in messages {
        if message.contains('\n') {
            return Err("a line holds no line end");
        }
        if message.trim_end() != message {
            return Err("lines are stripped at their end");
        }
        if message.contains(CHUNK_STREAM) {
            return Err("lines have pieces");
        }
        if message.len() >= PIECE_BYTES {
            return Err("so long a message is sent in pieces");
        }
        bytes.extend_from_slice(message.as_bytes());
        bytes.push(b'\n');
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(send: &str, expect: &str) -> Transcript {
        let line = format!(
            r#"{{"name": "t", "about": "", "setup": {{"servers": {{"main": {{}}}}}}, "send": [{send}], "expect": [{expect}]}}"#
        );
        Transcript::read_all(&line).unwrap().remove(0)
    }

    #[test]
    fn lines_become_messages_and_pieces_are_joined() {
        let original = transcript(
            r#"{"conn": "a", "data": "OEHASHEQUIV 1.1\n\n"}"#,
            r#"{"data": "\n{\"chunk-stream\": null}\nab\nc\n\nx\n", "eof": true}"#,
        );
        let other = original.over(Transport::WebSocket).unwrap();
        let (step, expectation) = &other.steps[0];
        let texts = |texts: &[&str]| {
            Payload::Messages(texts.iter().map(|text| (*text).to_owned()).collect())
        };
        assert!(
            matches!(step, Step::Send { payload, .. } if *payload == texts(&["OEHASHEQUIV 1.1", ""]))
        );
        assert_eq!(expectation.payload, Some(texts(&["", "abc", "x"])));
        assert_eq!(expectation.close_code, Some(1000));
    }

    #[test]
    fn pipelining_joins_what_one_connection_sends() {
        let send = |connection: &str, data: &str| {
            format!(r#"{{"conn": "{connection}", "data": "{data}\n"}}"#)
        };
        let sends = [
            send("a", "1"),
            send("a", "2"),
            send("b", "3"),
            send("b", "<<token:x>>"),
        ];
        let transcript = transcript(
            &sends.join(", "),
            r#"{"data": "one\n"}, {"data": "two\n", "eof": true}, {"data": "three\n"}, {"data": "four\n"}"#,
        );
        let steps = transcript.pipelined().steps;
        assert_eq!(steps.len(), 3);
        assert!(
            matches!(&steps[0].0, Step::Send { payload: Payload::Bytes(sent), .. } if sent == b"1\n2\n")
        );
        assert_eq!(
            steps[0].1.payload,
            Some(Payload::Bytes(b"one\ntwo\n".to_vec()))
        );
        assert!(steps[0].1.eof);
    }

    #[test]
    fn what_depends_on_line_ends_stays_with_lines() {
        for send in [
            r#"{"conn": "a", "data": "x"}"#,
            r#"{"conn": "a", "data": "x \n"}"#,
        ] {
            assert!(transcript(send, "{}").over(Transport::WebSocket).is_err());
            assert!(transcript(send, "{}").over(Transport::Unix).is_ok());
        }
    }
}
