//! The client's end: a [`RequestWriter`] for the body of a request, a
//! [`ResponseReader`] for the body of its answer. One that follows content
//! redirects says so with [`Following`], and reads what lies there with an
//! [`ObjectReader`].

mod answer;
mod following;
mod message;
mod objects;
mod reader;
mod response;
mod stream;
mod writer;

pub use following::Following;
pub use message::format_message;
pub use objects::ObjectReader;
pub use reader::{Limits, ResponseReader};
pub use response::{Event, Response, ResponseError};
pub use writer::{RequestWriter, TooManyRequests};
