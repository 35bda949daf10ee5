//! What a running server counts, read from its page of metrics.

mod page;
mod place;

pub(crate) use page::{Sample, parse};
pub(crate) use place::Place;
