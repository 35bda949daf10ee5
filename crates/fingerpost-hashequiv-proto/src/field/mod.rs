//! Loosely typed fields of arguments.
//!
//! The reference server hands JSON values to SQLite and to Python as they come,
//! so a number serves where a text belongs and anything serves as a truth
//! value. Old clients rely on little of it, the recorded sessions on all of it.

mod number;
mod text;
mod truth;

pub(crate) use text::visit_text;
pub use text::{Name, Text, text};
pub use truth::Truth;
