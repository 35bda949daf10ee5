//! The declaration of a command, and the registry that doors read.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Access, CacheKey, CachePolicy, Dependency, Encode, Encoded, Failure, KeyHasher, Outcome,
    Principal, Reply,
};

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

    /// Runs the command. Permission was checked by [`Entry::call`] already.
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
}

impl<S> Clone for Call<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Call<'_, S> {}

/// What came of a command.
pub struct Called {
    /// The answer. Objects have not begun to be made.
    pub reply: Reply<Encoded>,
    /// The new caller, after a login.
    pub login: Option<Principal>,
    /// What the answer may be remembered under. Only long answers have a key:
    /// one object is made already, for less than it costs to look for it.
    pub key: Option<CacheKey>,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Called, Failure>> + Send + 'a>>;

/// A command with its types erased, as a registry holds it.
pub struct Entry<S: Service> {
    /// The facts.
    pub declaration: Declaration,
    /// Fields of the argument.
    pub fields: &'static [Field],
    /// A valid argument in JSON, or a line of the stream.
    pub example: &'static str,
    run: for<'a> fn(Call<'a, S>, &'a S::Wire) -> Running<'a>,
    parses: fn(&S::Wire) -> Result<(), BadArgument>,
}

impl<S: Service> Entry<S> {
    /// Erases the types of `C`.
    pub const fn of<C: Command<S>>() -> Self {
        Self {
            declaration: C::DECLARATION,
            fields: C::Args::FIELDS,
            example: C::Args::EXAMPLE,
            run: |call, wire| Box::pin(run::<S, C>(call, wire)),
            parses: |wire| C::Args::parse(wire).map(drop),
        }
    }

    /// Checks permission, reads the argument and runs the command. Order of
    /// checks: permission, then the argument's own check, then the handler.
    pub async fn call(&self, call: Call<'_, S>, argument: &S::Wire) -> Result<Called, Failure> {
        (self.run)(call, argument).await
    }

    /// Whether `argument` would be read; nothing is run.
    pub fn parses(&self, argument: &S::Wire) -> Result<(), BadArgument> {
        (self.parses)(argument)
    }

    /// Checks the permission alone, as entering a stream does.
    pub fn permit(&self, principal: &Principal) -> Result<(), Failure> {
        permit(&self.declaration, principal, None, false)
    }
}

async fn run<S: Service, C: Command<S>>(
    call: Call<'_, S>,
    wire: &S::Wire,
) -> Result<Called, Failure> {
    let access = C::DECLARATION.access;
    if !access.self_service {
        permit(&C::DECLARATION, call.principal, None, false)?;
    }
    let args = match C::Args::parse(wire) {
        Ok(args) => args,
        Err(bad) => {
            // Whoever may not use the command is told so before anything else.
            permit(&C::DECLARATION, call.principal, None, false)?;
            return Err(bad.into());
        }
    };
    if access.self_service {
        permit(&C::DECLARATION, call.principal, args.username(), true)?;
    }
    args.check()?;
    let dependencies = dependencies::<S, C>(&args);
    let outcome = C::run(call, args).await?;
    let key = match &outcome.reply {
        Reply::Objects(_) => dependencies.and_then(|all| key::<S, C>(call.service, all, wire)),
        _ => None,
    };
    let reply = match outcome.reply {
        Reply::Object(answer) => {
            let mut out = Vec::with_capacity(256);
            answer.encode(&mut out);
            Reply::Encoded(Encoded {
                media_type: C::Answer::MEDIA_TYPE,
                bytes: Bytes::from(out),
            })
        }
        Reply::Objects(objects) => Reply::Objects(objects),
        Reply::Encoded(encoded) => Reply::Encoded(encoded),
        Reply::Redirect(redirect) => Reply::Redirect(redirect),
    };
    Ok(Called {
        reply,
        login: outcome.login,
        key,
    })
}

/// The version of the key and the state that goes into it; `None` if there is
/// none.
fn dependencies<S: Service, C: Command<S>>(args: &C::Args) -> Option<(u32, Vec<Dependency>)> {
    match C::DECLARATION.cache {
        CachePolicy::Never { .. } => None,
        CachePolicy::Key {
            version,
            depends_on,
            ..
        } => {
            let depends_on = depends_on.iter().copied();
            let those = depends_on.filter(|one| args.depends_on(*one)).collect();
            Some((version, those))
        }
    }
}

/// The key of an answer: everything that it depends on.
fn key<S: Service, C: Command<S>>(
    service: &S,
    (version, depends_on): (u32, Vec<Dependency>),
    wire: &S::Wire,
) -> Option<CacheKey> {
    let mut key = KeyHasher::new(C::DECLARATION.name, version);
    key.part(C::Answer::MEDIA_TYPE.as_bytes());
    // Of which repository or database it is, goes without saying.
    for dependency in [Dependency::Incarnation].into_iter().chain(depends_on) {
        key.part(dependency.as_str().as_bytes());
        key.part(&service.dependency(dependency)?);
    }
    let mut argument = Vec::new();
    S::encode_argument(wire, C::Args::FIELDS, &mut argument).then(|| {
        key.part(&argument);
        key.finish()
    })
}

fn permit(
    declaration: &Declaration,
    principal: &Principal,
    username: Option<&str>,
    may_be_self: bool,
) -> Result<(), Failure> {
    let own = may_be_self && principal.is_self(username);
    if own || principal.allows(declaration.access.needs) {
        return Ok(());
    }
    Err(Failure::Denied {
        caller: principal.display_name().to_owned(),
        needs: declaration.access.needs.to_vec(),
    })
}

/// The commands of a branch, in the order in which a door looks for them.
pub struct Registry<S: Service> {
    entries: Vec<Entry<S>>,
}

impl<S: Service> Registry<S> {
    /// Collects commands; their order is the order of precedence.
    pub const fn new(entries: Vec<Entry<S>>) -> Self {
        Self { entries }
    }

    /// All commands, in order of precedence.
    pub fn entries(&self) -> &[Entry<S>] {
        &self.entries
    }

    /// Finds a command by its name, as long as a server that is read-only
    /// (`read_only`) has it.
    pub fn find(&self, name: &str, read_only: bool) -> Option<(usize, &Entry<S>)> {
        self.entries.iter().enumerate().find(|(_, entry)| {
            entry.declaration.name == name
                && !(read_only && entry.declaration.availability == Availability::Writable)
        })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Json, Permission, PermissionSet};

    impl Service for () {
        type Wire = str;
    }

    struct Echo;
    struct Word(String);

    impl Argument for Word {
        const FIELDS: &'static [Field] = &[];
        const EXAMPLE: &'static str = "\"word\"";

        fn parse(text: &str) -> Result<Self, BadArgument> {
            serde_json::from_str(text)
                .map(Self)
                .map_err(|error| BadArgument(error.to_string()))
        }
    }

    impl Command<()> for Echo {
        type Args = Word;
        type Answer = Json<String>;

        const DECLARATION: Declaration = Declaration {
            name: "echo",
            summary: "Answers its argument.",
            access: Access::needs(&[Permission::Read]),
            availability: Availability::Writable,
            kind: Kind::Once,
            cache: CachePolicy::Never { why: "a test" },
            answer_example: "\"word\"",
        };

        async fn run(_: Call<'_, ()>, args: Word) -> Result<Outcome<Json<String>>, Failure> {
            Ok(Json(args.0).into())
        }
    }

    fn call(principal: &Principal, text: &str) -> Result<Called, Failure> {
        let entry = Entry::<()>::of::<Echo>();
        let service = Arc::new(());
        let call = Call {
            service: &service,
            principal,
            peer: "test",
        };
        let mut future = std::pin::pin!(entry.call(call, text));
        match future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => unreachable!("the handler never waits"),
        }
    }

    #[test]
    fn permission_comes_before_the_argument() {
        let nobody = Principal::anonymous(PermissionSet::NONE);
        assert!(matches!(
            call(&nobody, "not json"),
            Err(Failure::Denied { .. })
        ));
        let reader = Principal::anonymous(PermissionSet::of(&[Permission::Read]));
        assert!(matches!(
            call(&reader, "not json"),
            Err(Failure::BadArgument(_))
        ));
        let answer = call(&reader, "\"x\"").unwrap();
        assert!(matches!(answer.reply, Reply::Encoded(encoded) if encoded.bytes == "\"x\""));
    }

    #[test]
    fn a_read_only_server_does_not_know_writing_commands() {
        let registry = Registry::<()>::new(vec![Entry::of::<Echo>()]);
        assert!(registry.find("echo", false).is_some());
        assert!(registry.find("echo", true).is_none());
        assert!(
            registry
                .entries()
                .iter()
                .all(|entry| entry.parses(entry.example).is_ok())
        );
    }
}
