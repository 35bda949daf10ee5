//! Signed rows of hash equivalence: what is signed, by which keys, and what a
//! reader makes of it. `docs/signatures.md` states the format.
//!
//! A [`Row`] is what a server answers; [`SignedRow`] adds who signs it when, and
//! has one encoding. A [`Document`] is signed bytes that are no row. A [`KeyRing`] holds the keys that somebody trusts, and
//! [`judge()`] says whether an answer is a hit under a [`Policy`].
//! [`sign_as_answered`] decides what a reporter signs when the server answered
//! another unihash than the proposed one. [`Trust`] is all of that for one reader or reporter.
//!
//! Nothing here knows a server, a socket or a clock; randomness and time are
//! arguments. The only I/O is [`KeyRing::load`] and [`KeyRing::save`].

pub mod fuzz;

mod base64url;
mod document;
mod judge;
mod key_id;
mod keys;
mod ring;
mod row;
mod signature;
mod time;
mod trust;
mod two_step;

pub use document::Document;
pub use judge::{Policy, Reason, UnknownPolicy, Verdict, judge, judge_all};
pub use key_id::KeyId;
pub use keys::{BadKey, SECRET_BYTES, SigningKey, VerifyingKey};
pub use ring::{
    FileError, KEYS_MAX, Key, KeyName, KeyRing, RING_BYTES_MAX, RingError, Sharing, State,
};
pub use row::{Row, SignedRow};
pub use signature::{Algorithm, Malformed, SIGNATURE_BYTES_MAX, Signature};
pub use time::UnixTime;
pub use trust::{Settled, Trust};
pub use two_step::{Answered, Decision, KeepReason, Proposal, sign_as_answered};
