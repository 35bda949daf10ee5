//! The real program, tested from the outside.

mod program;
mod starting;
mod stopping;
