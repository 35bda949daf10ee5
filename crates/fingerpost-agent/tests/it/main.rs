//! The real program, tested from the outside.

mod profiles;
mod program;
mod starting;
mod stopping;
