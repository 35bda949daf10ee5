//! The client's receiving half.

use crate::wire::{Framing, Limits, Messages, Misbehaved};

/// Bytes in, the texts of answers out. The same for messages and for stream
/// lines, since none looks like the announcement of chunks.
#[derive(Debug)]
pub struct AnswerInbox(Messages);

impl AnswerInbox {
    /// An empty inbox. Of `limits` those of lines and of messages count.
    pub fn new(framing: Framing, limits: Limits) -> Self {
        Self(Messages::new(framing, &limits))
    }

    /// As [`Inbox::buffer`](crate::Inbox::buffer).
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.0.buffer()
    }

    /// As [`Inbox::push_message`](crate::Inbox::push_message).
    pub fn push_message(&mut self, message: &[u8]) -> Result<(), Misbehaved> {
        self.0.push_message(message)
    }

    /// Bytes that arrived and were not taken. More than none when no answer is
    /// awaited: the connection is out of step and of no more use.
    pub fn pending(&self) -> usize {
        self.0.pending()
    }

    /// As [`Inbox::release`](crate::Inbox::release).
    pub fn release(&mut self) {
        self.0.release();
    }

    /// Takes the next answer: a message with its chunks joined, or a stream
    /// line; stripped at its end, except on a WebSocket. `None`: more bytes are
    /// needed. After an error the connection is of no more use.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend from itself"
    )]
    pub fn next(&mut self) -> Result<Option<&str>, Misbehaved> {
        self.0.next_message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(wire: &str, piece: usize) -> Vec<String> {
        let mut inbox = AnswerInbox::new(Framing::Lines, Limits::default());
        let mut answers = Vec::new();
        for piece in wire.as_bytes().chunks(piece) {
            inbox.buffer().extend_from_slice(piece);
            while let Some(answer) = inbox.next().unwrap() {
                answers.push(answer.to_owned());
            }
        }
        answers
    }

    #[test]
    fn messages_and_stream_lines_come_in_order() {
        let wire = "null\n\"ok\"\nabc\n\nok\n{\"chunk-stream\": null}\n{\"count\"\n: 1 \n}\n\n";
        for piece in 1..wire.len() {
            assert_eq!(
                answers(wire, piece),
                ["null", "\"ok\"", "abc", "", "ok", "{\"count\": 1 }"]
            );
        }
    }

    #[test]
    fn an_empty_websocket_message_is_an_answer() {
        let mut inbox = AnswerInbox::new(Framing::Messages, Limits::default());
        assert_eq!(inbox.next(), Ok(None));
        inbox.push_message(b"").unwrap();
        inbox.push_message(b"{\"chunk-stream\": null}").unwrap();
        assert_eq!(inbox.next(), Ok(Some("")));
        assert_eq!(inbox.next(), Ok(Some("{\"chunk-stream\": null}")));
        assert_eq!(inbox.next(), Ok(None));
    }
}
