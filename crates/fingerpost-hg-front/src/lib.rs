//! The door of Mercurial's wire protocol v2 over HTTP: the URL space, the
//! handshake, identity, and answers that stream.
//!
//! [`HgFront`] is the door; its router answers whatever paths the server has
//! no other use for. A request becomes [`work::Work`]: commands that run on
//! blocking threads, a piece of the answer at a time, and only as fast as the
//! client takes it. [`client::HgClient`] is the other side of the door.
//!
//! The crate knows no revlog and no file; what a command means is `fingerpost-hg`'s.

pub mod client;
pub mod fuzz;

mod answer;
mod answers;
mod body;
mod caller;
mod encoded;
mod front;
mod guards;
mod index;
mod lanes;
mod login;
mod metrics;
mod redirecting;
mod refusal;
mod request;
mod route;
mod sent;
mod shared;
mod work;

pub use answers::AnswerCache;
pub use front::{FrontOptions, HgFront};
