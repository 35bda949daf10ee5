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
