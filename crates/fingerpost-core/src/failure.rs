//! The ways in which a command fails.

use crate::{BadArgument, Permission};

/// Why a command gave no answer. Each door translates it once: BitBake's
/// protocol tells [`Failure::Denied`] and [`Failure::Refused`] and closes
/// without a word on the others.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The caller lacks a permission. The text is the reference server's, since
    /// it reaches users' consoles.
    #[error("{caller} is not allowed to access permissions(s) {}", join(needs))]
    Denied {
        /// The login, or `Anonymous user`.
        caller: String,
        /// Everything that the command needs.
        needs: Vec<Permission>,
    },
    /// The request is understood and refused; the text is for the client.
    #[error("{}", filled(message, args))]
    Refused {
        /// A stable word for programs, `invalid-unihash` and the like.
        code: &'static str,
        /// A sentence for people; part of the protocol where the reference has it.
        /// Each `%s` in it stands for one of `args`.
        message: String,
        /// Bytes that the client puts into the sentence. Mostly none.
        args: Vec<Vec<u8>>,
    },
    /// The argument is not what the command takes.
    #[error(transparent)]
    BadArgument(#[from] BadArgument),
    /// No such command here (also: not on a read-only server).
    #[error("unknown command")]
    Unknown,
    /// Something of ours failed; the text goes to the log. A door shows a client
    /// none of it that it does not know to be fit for that.
    #[error("{0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something that we need does not answer, or has too much to do; the same
    /// request may succeed a little later. The text goes to the log.
    #[error("{0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    /// Wraps an error of ours.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// A refusal with its stable code and its public text.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::refused_with(code, message, Vec::new())
    }

    /// A refusal whose text has a `%s` for each of `args`.
    pub fn refused_with(
        code: &'static str,
        message: impl Into<String>,
        args: Vec<Vec<u8>>,
    ) -> Self {
        Self::Refused {
            code,
            message: message.into(),
            args,
        }
    }
}

/// The sentence with its arguments put in, as a client does it.
fn filled(message: &str, args: &[Vec<u8>]) -> String {
    let mut out = String::new();
    let mut args = args.iter();
    let mut pieces = message.split("%s");
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        match args.next() {
            Some(arg) => out.push_str(&String::from_utf8_lossy(arg)),
            None => out.push_str("%s"),
        }
        out.push_str(piece);
    }
    out
}

fn join(needs: &[Permission]) -> String {
    let names: Vec<_> = needs.iter().map(|permission| permission.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_put_into_the_sentence() {
        let failure = Failure::refused_with("x", "unknown file: %s", vec![b"a/b".to_vec()]);
        assert_eq!(failure.to_string(), "unknown file: a/b");
        assert_eq!(Failure::refused("x", "100 %s").to_string(), "100 %s");
    }
}
