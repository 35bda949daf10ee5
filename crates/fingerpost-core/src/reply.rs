//! What a command answers.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use crate::{Failure, Principal, SecretUrl, Timestamp};

/// The answer of a command. "A redirect must be first and only" cannot be
/// broken, because a redirect is a variant and not an object in a list.
pub enum Reply<A> {
    /// One object, not yet encoded.
    Object(A),
    /// Many objects, made while they are sent.
    Objects(Box<dyn Objects>),
    /// Bytes that are already in their wire form, from a cacher for example.
    Encoded(Encoded),
    /// The bytes lie elsewhere.
    Redirect(Redirect),
}

/// The objects of a long answer, made piece by piece as somebody takes them:
/// who stops taking stops the work, and nothing holds a thread in between.
pub trait Objects: Send {
    /// Appends the next objects in their wire form, some 100 KiB of them or one
    /// that is larger, and says whether there are more. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// After an error nothing more may be asked for; what was appended before
    /// it is a part of the answer and must not be taken for the whole.
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure>;

    /// Whether there are so few that to make them is less work than to look for
    /// them in a store.
    fn are_few(&self) -> bool {
        false
    }
}

/// Whether an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// There are more objects.
    Yes,
    /// That was all.
    No,
}

impl<A: fmt::Debug> fmt::Debug for Reply<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(answer) => f.debug_tuple("Object").field(answer).finish(),
            Self::Objects(_) => f.debug_tuple("Objects").finish_non_exhaustive(),
            Self::Encoded(encoded) => f.debug_tuple("Encoded").field(encoded).finish(),
            Self::Redirect(redirect) => f.debug_tuple("Redirect").field(redirect).finish(),
        }
    }
}

/// Bytes with the media type they are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// `application/json` and the like.
    pub media_type: &'static str,
    /// The encoded answer.
    pub bytes: Bytes,
}

/// Where a client can fetch the answer instead of getting it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Name of the [`RedirectTarget`] that `location` belongs to.
    pub target: String,
    /// Absolute URL of the answer, for the client alone.
    pub location: SecretUrl,
    /// What the client may hold the target's TLS against.
    pub certificates: Certificates,
}

/// Certificates of a [`RedirectTarget`] in DER; none: clients go by what they
/// trust anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Of its server.
    pub server: Vec<Vec<u8>>,
    /// Of authorities that signed the server's.
    pub authorities: Vec<Vec<u8>>,
}

/// A place that redirects may point to, as it is advertised to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectTarget {
    /// Unique name within the server.
    pub name: String,
    /// URL scheme, `https` for example.
    pub protocol: String,
    /// Base URLs.
    pub uris: Vec<String>,
    /// Whether a client without Server Name Indication cannot use it.
    pub snirequired: Option<bool>,
    /// Versions of TLS that it speaks, `1.2` for example; empty: nothing is said.
    pub tlsversions: Vec<String>,
}

/// Turns an answer into its branch's wire objects.
pub trait Encode {
    /// Media type of what [`Encode::encode`] writes.
    const MEDIA_TYPE: &'static str;

    /// Appends the wire form to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

/// An answer in JSON, spelled as Python's `json.dumps` spells it: blanks after
/// `,` and `:`, every character above ASCII escaped. Bytes equal characters,
/// which the chunked form of BitBake's protocol counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> Encode for Json<T> {
    const MEDIA_TYPE: &'static str = "application/json";

    fn encode(&self, out: &mut Vec<u8>) {
        let mut serializer = serde_json::Serializer::with_formatter(out, PythonStyle);
        self.0
            .serialize(&mut serializer)
            .expect("answers are structs of text, numbers and lists, which always serialize");
    }
}

/// The formatter behind [`Json`].
struct PythonStyle;

impl serde_json::ser::Formatter for PythonStyle {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        // Siginfo listings are long and nearly always ASCII: write whole runs.
        let mut rest = fragment;
        while let Some(at) = rest
            .bytes()
            .position(|byte| !byte.is_ascii() || byte == 0x7f)
        {
            writer.write_all(&rest.as_bytes()[..at])?;
            let character = rest[at..].chars().next().expect("`at` is before the end");
            if character == '\u{7f}' {
                writer.write_all(&[0x7f])?;
            } else {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = &rest[at + character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// What a handler hands back: the reply, and whom the connection belongs to
/// from now on when the command was a login.
#[derive(Debug)]
pub struct Outcome<A> {
    /// The answer.
    pub reply: Reply<A>,
    /// The new caller, after `auth` and `become-user`.
    pub login: Option<NewCaller>,
    /// Whether what the command stores was stored. A report that may not be is answered
    /// all the same.
    pub is_stored: bool,
}

/// Whom a connection belongs to from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCaller {
    /// The caller.
    pub principal: Principal,
    /// Until when.
    pub ends: Ends,
}

/// When a login ends on a connection that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// When the one before it would have ended: it was all that this one rests on.
    AsBefore,
    /// At this moment; never without one.
    At(Option<Timestamp>),
}

impl<A> From<A> for Outcome<A> {
    fn from(answer: A) -> Self {
        Self {
            reply: Reply::Object(answer),
            login: None,
            is_stored: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &serde_json::Value, expected: &str) {
        let mut out = Vec::new();
        Json(value).encode(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_is_spelled_as_python_spells_it() {
        check(
            &serde_json::json!({"a": [1, null, "x\n\t\"\u{1}\u{7f}"]}),
            "{\"a\": [1, null, \"x\\n\\t\\\"\\u0001\u{7f}\"]}",
        );
    }

    #[test]
    fn characters_above_ascii_are_escaped_as_utf16() {
        check(&serde_json::json!("é😀z"), "\"\\u00e9\\ud83d\\ude00z\"");
    }
}
