//! The agent as a program: its command line, from the first word to the exit code.

use fingerpost_program::exit::Exit;

pub use crate::args::Args;
use crate::args::Command;
pub use crate::asking::status_on;
use crate::{asking, serving};

/// Does what the command line says.
///
/// # Errors
///
/// Sentences for the operator, with an exit code.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        Some(Command::Status(args)) => asking::run(args),
        None => serving::run(args),
    }
}
