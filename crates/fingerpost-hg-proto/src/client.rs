//! The client's end: a [`RequestWriter`] for the body of a request, a
//! [`ResponseReader`] for the body of its answer.

mod answer;
mod message;
mod reader;
mod response;
mod stream;
mod writer;

pub use message::format_message;
pub use reader::{Limits, ResponseReader};
pub use response::{Event, Response, ResponseError};
pub use writer::{RequestWriter, TooManyRequests};
