//! The program `fingerpost`: the server, and everything an operator needs
//! around it.
//!
//! This crate names all the others and decides nothing of its own: it reads
//! the configuration, puts database, service, door and listeners together, and
//! turns what went wrong into a sentence and an exit code.

mod background;
mod backup;
mod bench;
mod cache;
mod certificates;
mod check_config;
mod cli;
mod client;
mod config;
mod copy;
mod demo;
mod docs;
mod doctor;
mod hg;
mod key;
mod moving;
mod notice;
mod progress;
mod retention;
mod scrape;
mod serve;
mod snapshot;
mod top;
mod traces;

use std::process::ExitCode;

use fingerpost_program::{exit, log, out, signals};

// Its feature `override` makes it the allocator of SQLite and zstd as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{error:#}");
            exit::Exit::of(&error).into()
        }
    }
}
