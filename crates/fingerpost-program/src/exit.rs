//! Exit codes, after `sysexits.h`, and errors that carry one.

use std::fmt;
use std::process::ExitCode;

/// How a program ends. The commands of `fingerpost client` use only
/// [`Exit::Ok`] and [`Exit::Found`], as the reference client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Ok = 0,
    /// The check found something (for client commands: any failure).
    Found = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The input is not what it should be.
    BadData = 65,
    /// A server cannot be reached, or an address is in use.
    Unavailable = 69,
    /// Reading or writing failed.
    Io = 74,
    /// Permission denied, by a server or by the operating system.
    Denied = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

impl Exit {
    /// The code that `error` carries, or the one that fits its cause.
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(coded) = error.downcast_ref::<Coded>() {
            return coded.exit;
        }
        let denied = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied);
        if denied { Self::Denied } else { Self::Io }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A sentence for the operator together with the code to exit with.
#[derive(Debug)]
struct Coded {
    exit: Exit,
    sentence: String,
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Coded {}

/// An error that says `sentence` and ends the program with `exit`.
pub fn failure(exit: Exit, sentence: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(Coded {
        exit,
        sentence: sentence.to_string(),
    })
}

/// Gives results an exit code.
pub trait OrExit<T> {
    /// Adds `sentence` in front of the error, which then ends the program
    /// with `exit`.
    fn or_exit(self, exit: Exit, sentence: impl fmt::Display) -> anyhow::Result<T>;
}

impl<T, E> OrExit<T> for Result<T, E>
where
    Self: anyhow::Context<T, E>,
{
    fn or_exit(self, exit: Exit, sentence: impl fmt::Display) -> anyhow::Result<T> {
        anyhow::Context::with_context(self, || Coded {
            exit,
            sentence: sentence.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_under_more_context() {
        let error = failure(Exit::Configuration, "bad key").context("while starting");
        assert_eq!(Exit::of(&error), Exit::Configuration);
        assert_eq!(format!("{error:#}"), "while starting: bad key");
    }

    #[test]
    fn an_error_without_a_code_is_judged_by_its_cause() {
        let denied = anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        assert_eq!(Exit::of(&denied.context("cannot open x")), Exit::Denied);
        assert_eq!(Exit::of(&anyhow::anyhow!("disk on fire")), Exit::Io);
    }

    #[test]
    fn a_cause_is_kept_behind_its_sentence() {
        let result: Result<(), std::io::Error> = Err(std::io::ErrorKind::NotFound.into());
        let error = result.or_exit(Exit::BadData, "cannot read x").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::BadData);
        assert!(format!("{error:#}").starts_with("cannot read x: "));
    }
}
