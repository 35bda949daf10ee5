//! BitBake's hash equivalence protocol, version 1.1, both ends, without I/O.
//!
//! Bytes come in, typed requests and answers go out; sockets, timers and tasks
//! live in the crates that use this one. A server feeds an [`Inbox`],
//! picks the command of a message with [`request::select`], reads loosely
//! typed arguments with [`field`] and answers through [`outbox`]; the lines of
//! a stream go through [`stream`]. A client uses [`client`].
//!
//! [`rules`] decides which tasks are equivalent. Nothing else here knows what a
//! command means, and nothing knows a database or a user; nothing that a peer sends
//! makes it panic or grow beyond its [`Limits`].

pub mod client;
pub mod field;
pub mod fuzz;
pub mod outbox;
pub mod request;
pub mod rules;
pub mod stream;
pub mod types;

mod python;
mod wire;

pub use wire::{Framing, Inbound, Inbox, LINE_BYTES, Limits, Misbehaved, Mode, StreamLines};
