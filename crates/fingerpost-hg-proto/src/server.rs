//! The server's end: an [`Inbox`] for the body of a request, a [`Responder`]
//! for the body of its answer.

mod inbox;
mod misbehaved;
mod responder;

pub use inbox::{Inbox, Limits, Received};
pub use misbehaved::{HttpFailure, Misbehaved};
pub use responder::{Responder, ResponderError};
