//! Requests: one function for every command of the protocol.

mod administration;
mod lookup;
mod signed;
mod tokens;
mod users;

use std::fmt;
use std::marker::PhantomData;

use fingerpost_core::{Encode, Json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::{ServerError, read_answer};
use crate::outbox;
use crate::wire::Framing;

pub(super) use administration::Mark;
pub use administration::{
    Where, backfill_wait, clean_unused, gc_mark, gc_mark_stream, gc_status, gc_sweep,
    get_db_query_columns, get_db_usage, get_stats, remove, reset_stats,
};
pub use lookup::{
    Report, exists_stream, get, get_all, get_outhash, get_stream, ping, report, report_equiv,
};
pub use signed::{SignedRowArgs, get_signed, put_signatures, report_signed};
pub use tokens::{NewToken, get_tokens, new_token, revoke_token};
pub use users::{
    auth, become_user, delete_user, get_all_users, get_user, new_user, refresh_token,
    set_user_perms,
};

/// A request that is answered by an `A`. Does not show its argument, which may
/// be a token.
#[derive(Clone)]
pub struct Request<A> {
    command: &'static str,
    json: Vec<u8>,
    answer: PhantomData<fn() -> A>,
}

impl<A> Request<A> {
    fn new(command: &'static str, argument: impl Serialize) -> Self {
        let mut json = Vec::with_capacity(256);
        Json(OneKey {
            key: command,
            value: argument,
        })
        .encode(&mut json);
        Self {
            command,
            json,
            answer: PhantomData,
        }
    }

    /// Name of the command.
    pub const fn command(&self) -> &'static str {
        self.command
    }

    /// The message's JSON text, which is ASCII.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Writes the message, in chunks when it is long.
    pub fn write(&self, out: &mut Vec<u8>, framing: Framing) {
        outbox::write_message(out, framing, &self.json);
    }
}

impl<A> fmt::Debug for Request<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({:?})", self.command)
    }
}

impl Request<Box<RawValue>> {
    /// A request as somebody else made it, to be passed on: `argument` is JSON, and so is
    /// the answer.
    pub fn verbatim(command: &'static str, argument: &str) -> Self {
        let mut json = format!("{{\"{command}\": ").into_bytes();
        for character in argument.chars() {
            match character {
                // Blanks between tokens; there are none within strings.
                '\n' | '\r' | '\t' => json.push(b' '),
                _ if character.is_ascii() => json.push(character as u8),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        json.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                    }
                }
            }
        }
        json.push(b'}');
        Self {
            command,
            json,
            answer: PhantomData,
        }
    }
}

impl<A: DeserializeOwned> Request<A> {
    /// Reads the answer.
    pub fn read(&self, text: &str) -> Result<A, ServerError> {
        read_answer(text)
    }
}

/// An object with one key.
struct OneKey<V> {
    key: &'static str,
    value: V,
}

impl<V: Serialize> Serialize for OneKey<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.key, &self.value)?;
        map.end()
    }
}

/// `{}`, which the reference client sends where the argument is ignored.
#[derive(Serialize)]
struct Empty {}

/// Compares the JSON of a request.
#[cfg(test)]
fn check<A>(request: Request<A>, expected: &str) {
    assert_eq!(std::str::from_utf8(request.json()), Ok(expected));
}
