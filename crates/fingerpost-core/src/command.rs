//! The declaration of a command.

use std::future::Future;
use std::sync::Arc;

use crate::{Access, CachePolicy, Dependency, Encode, Failure, Origin, Outcome, Principal};

/// What the commands of a branch work on.
pub trait Service: Send + Sync + 'static {
    /// The form in which the branch's doors hand over an argument: JSON text
    /// for hash equivalence, a decoded map for Mercurial.
    type Wire: ?Sized + Sync;

    /// What a piece of state is at the moment, for keys of answers; `None` if
    /// nothing that depends on it may be remembered.
    fn dependency(&self, _: Dependency) -> Option<Vec<u8>> {
        None
    }

    /// Appends an argument of a command with these fields in a form that two
    /// arguments share only if they ask for the same; says whether there is one.
    fn encode_argument(_: &Self::Wire, _: &[Field], _: &mut Vec<u8>) -> bool {
        false
    }
}

/// One command of a branch: its facts, and its handler.
///
/// One command is one file. `S` is the service that the handler works on.
pub trait Command<S: Service>: Send + Sync + 'static {
    /// The argument; [`Argument::EXAMPLE`] shows it.
    type Args: Argument<S::Wire>;
    /// The answer of the handler.
    type Answer: Encode + Send;

    /// Everything about the command but its handler.
    const DECLARATION: Declaration;

    /// Runs the command. Permission was checked by [`Entry::call`](crate::Entry::call) already.
    fn run(
        call: Call<'_, S>,
        args: Self::Args,
    ) -> impl Future<Output = Result<Outcome<Self::Answer>, Failure>> + Send;
}

/// The facts of a command from which doors, permission table and
/// documentation are derived.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Name on the wire, `get-outhash`.
    pub name: &'static str,
    /// One sentence for the documentation.
    pub summary: &'static str,
    /// Who may use it.
    pub access: Access,
    /// Whether a read-only server has it.
    pub availability: Availability,
    /// What it costs, for limits.
    pub cost: Cost,
    /// What it changes, for the audit log.
    pub effect: Effect,
    /// One answer, or a mode with an answer for every line.
    pub kind: Kind,
    /// Whether the answer may be remembered.
    pub cache: CachePolicy,
    /// An answer, in JSON.
    pub answer_example: &'static str,
}

/// Where a command exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// On every server.
    Always,
    /// Not on a read-only server, where it is an unknown command.
    Writable,
}

/// What a command costs. There is no default: who writes one must choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cost {
    /// A look-up, answered at once.
    Cheap,
    /// A small durable write, which many at once share.
    Report,
    /// Work that others would have to stand behind: collections, listings, accounts,
    /// answers that take seconds.
    Dear,
}

/// What a command changes. There is no default: who writes one must choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing that outlives the connection.
    None,
    /// Adds what builds report, hundreds of thousands a day.
    Report,
    /// Changes or removes what is there, or who may do what; or makes somebody
    /// act as somebody else.
    Change,
}

/// The form of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One argument, one answer.
    Once,
    /// Enters a stream: every further line is an argument with an answer of
    /// its own. The handler gets one line.
    Stream,
}

/// One field of an argument.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name in JSON.
    pub name: &'static str,
    /// Its type.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// A phrase for the documentation.
    pub about: &'static str,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text; numbers and truth values are taken as their text.
    Text,
    /// 64 lower-case hex digits.
    Unihash,
    /// What somebody calls something of theirs: 1 to 64 bytes without control
    /// characters, and without blanks at the ends.
    Label,
    /// A password that is chosen: 8 to 512 bytes.
    Password,
    /// A truth value; anything is taken by its truth.
    Flag,
    /// A number of seconds, fractions allowed.
    Seconds,
    /// A list of names.
    Names,
    /// An object of column and value.
    Where,
    /// Any bytes.
    Bytes,
    /// A list; empty where it is left out.
    List,
    /// A set of these words; empty where it is left out.
    Set(&'static [&'static str]),
    /// A map; null where it is left out.
    Dict,
    /// True or false and nothing else; false where it is left out.
    Bool,
}

/// An argument that can be read from its wire form and can show itself.
pub trait Argument<W: ?Sized = str>: Sized + Send {
    /// The fields, for the documentation. Empty: any value is taken and ignored.
    const FIELDS: &'static [Field];
    /// A valid argument, in JSON; for a [`Kind::Stream`] command one line.
    const EXAMPLE: &'static str;

    /// Reads the argument: JSON text, the line of a stream, a map.
    fn parse(wire: &W) -> Result<Self, BadArgument>;

    /// Whether the answer depends on a piece of state that the answers of its
    /// command may depend on.
    fn depends_on(&self, _: Dependency) -> bool {
        true
    }

    /// The account that the argument names, for commands with self service.
    fn username(&self) -> Option<&str> {
        None
    }

    /// A check that comes before everything but permission (the form of a unihash).
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The argument is not of the command's form. The text is for the log and for
/// doors that explain, as Mercurial's does; BitBake's protocol closes without a word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad argument: {0}")]
pub struct BadArgument(pub String);

/// Who calls, and on what.
pub struct Call<'a, S> {
    /// The service.
    pub service: &'a Arc<S>,
    /// The caller.
    pub principal: &'a Principal,
    /// The peer's address, for the log.
    pub peer: &'a str,
    /// Where the peer comes from, for limits.
    pub origin: Origin,
}

impl<S> Clone for Call<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Call<'_, S> {}

/// An argument of any form that is not looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Take;

impl<W: ?Sized> Argument<W> for Take {
    const FIELDS: &'static [Field] = &[];
    const EXAMPLE: &'static str = "null";

    fn parse(_: &W) -> Result<Self, BadArgument> {
        Ok(Self)
    }
}
