//! A command with its types erased, how it is called, and the registry that doors read.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::{
    Argument, Availability, BadArgument, CacheKey, CachePolicy, Call, Command, Declaration,
    Dependency, Encode, Encoded, Failure, Field, KeyHasher, NewCaller, Principal, Reply, Service,
};

/// What came of a command.
pub struct Called {
    /// The answer. Objects have not begun to be made.
    pub reply: Reply<Encoded>,
    /// The new caller, after a login.
    pub login: Option<NewCaller>,
    /// Whether what the command stores was stored.
    pub is_stored: bool,
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
        is_stored: outcome.is_stored,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Access, Cost, Effect, Json, Kind, Outcome, Permission, PermissionSet};

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
            cost: Cost::Cheap,
            effect: Effect::Change,
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
            origin: crate::Origin::Unknown,
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
