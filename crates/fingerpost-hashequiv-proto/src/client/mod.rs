//! The client's half: requests out, typed answers in. Pure, like the server's.
//!
//! A request is made by a function of [`request`], written with
//! [`Request::write`] and its answer, taken from an [`AnswerInbox`], is read by
//! [`Request::read`]. [`stream`] has the lines of the three streams.

mod answer;
mod inbox;
pub mod request;
pub mod stream;

pub use answer::{
    Alive, BearerToken, BearerTokens, Columns, Count, FullRow, GcStatus, Login, NewBearerToken,
    NewUser, PutOutcome, PutOutcomes, ReportedRow, RevokedToken, SignedRow, Stats, StatsAnswer,
    StreamOpened, TableUsage, Tasks, Token, UnihashRow, Usage, UserInfo, Username, Users,
};
pub use inbox::AnswerInbox;
pub use request::{Report, Request};

use serde::de::DeserializeOwned;

use crate::outbox;
use crate::wire::Framing;

/// The lines of the client's handshake; on a WebSocket each is a message.
/// Nothing is answered to it: requests may follow at once.
pub const HANDSHAKE: [&str; 3] = ["OEHASHEQUIV 1.1", "needs-headers: false", ""];

/// Writes the handshake for [`Framing::Lines`].
pub fn write_handshake(out: &mut Vec<u8>) {
    for line in HANDSHAKE {
        outbox::write_stream_line(out, Framing::Lines, line);
    }
}

/// Why an answer is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// The server refused with `invoke-error`; the text is for people. It
    /// closes the connection.
    #[error("{0}")]
    Told(String),
    /// The answer is not of the form that the request has. The connection is
    /// of no more use, since answers are matched by their order.
    #[error("the server's answer makes no sense: {0}")]
    Senseless(String),
}

/// Reads an answer, or a told error, from the text of a message.
pub fn read_answer<A: DeserializeOwned>(text: &str) -> Result<A, ServerError> {
    if let Some(told) = answer::told(text) {
        return Err(ServerError::Told(told));
    }
    serde_json::from_str(text).map_err(|error| ServerError::Senseless(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_the_reference_clients() {
        let mut out = Vec::new();
        write_handshake(&mut out);
        assert_eq!(out, b"OEHASHEQUIV 1.1\nneeds-headers: false\n\n");
    }

    #[test]
    fn told_errors_are_told_apart() {
        let error = read_answer::<Count>("{\"invoke-error\": {\"message\": \"Invalid unihash\"}}");
        assert_eq!(error, Err(ServerError::Told("Invalid unihash".to_owned())));
        assert_eq!(
            read_answer::<Count>("{\"count\": 3}"),
            Ok(Count { count: 3 })
        );
        for text in [
            "",
            "null",
            "{\"invoke-error\": 1}",
            "{\"count\": -1}",
            "{\"count\": 1} x",
            "[]",
        ] {
            assert!(
                matches!(read_answer::<Count>(text), Err(ServerError::Senseless(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn an_absent_row_is_no_error() {
        assert_eq!(read_answer::<Option<UnihashRow>>("null"), Ok(None));
    }
}
