//! The program `fingerpost-agent`, for hosts that need nothing else of Fingerpost: the
//! same as `fingerpost agent`.

use std::process::ExitCode;

use clap::Parser;
use fingerpost_agent::cli;
use fingerpost_program::exit::Exit;

// Where the C library has none that is good.
#[cfg(not(target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets all threads share one arena of the C library's allocator. A build host wants its memory
/// for its builds: an arena for each thread, and mimalloc even more, keep what one build needed
/// at its height, and neither answers faster (`docs/performance.md` has the figures).
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "there is no other way to tell the allocator")]
fn share_one_arena() {
    // SAFETY: it sets a number that the allocator looks at when a thread asks for its arena.
    // Where that fails there are more arenas.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

#[derive(Debug, Parser)]
#[command(name = "fingerpost-agent", version)]
struct Cli {
    #[command(flatten)]
    args: cli::Args,
}

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    share_one_arena();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Failing to print leaves nothing to tell it to.
            let _ = error.print();
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return exit.into();
        }
    };
    match cli::run(&cli.args) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{error:#}");
            Exit::of(&error).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn status_is_a_command_beside_the_options() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' '));
        parse("fingerpost-agent --server h:1 --socket /x --strict-auth").unwrap();
        parse("fingerpost-agent status --socket /x --json").unwrap();
        assert!(parse("fingerpost-agent --server h:1 status").is_err());
        assert!(parse("fingerpost-agent --password secret").is_err());
    }
}
