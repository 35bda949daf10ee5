//! `lookup`: the node behind a name.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::Args;

use super::answer::Cbor;
use super::arguments::Arguments;
use super::failures::internal;
use crate::{LookupError, RepositoryView};

/// The command `lookup`.
pub(super) struct Lookup;

/// The argument of `lookup`.
pub(super) struct LookupArgs {
    key: Vec<u8>,
}

impl Argument<Args> for LookupArgs {
    const FIELDS: &'static [Field] = &[Field {
        name: "key",
        shape: Shape::Bytes,
        required: true,
        about: "node in hex or its beginning, number, `tip`, `null`, bookmark, tag or branch",
    }];
    const EXAMPLE: &'static str = "{\"key\": \"tip\"}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        Ok(Self {
            key: arguments.bytes("key")?.to_vec(),
        })
    }
}

impl Command<RepositoryView> for Lookup {
    type Args = LookupArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "lookup",
        summary: "Answers the node that a name stands for.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::State],
            why: "names follow from changesets and bookmarks, which the state token covers",
        },
        answer_example: "\"hex:f01eb1639989329c659f6fae6edb3fdcc799ae06\"",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: LookupArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        match call.service.snapshot().lookup(&args.key) {
            Ok(node) => Ok(Cbor::of(|writer| writer.bytes(node.as_bytes()))),
            Err(LookupError::Store(error)) => Err(internal(error)),
            // The name goes into the text by the client, as it came.
            Err(unknown) => {
                let text = vec![unknown.to_string().into_bytes()];
                Err(Failure::refused_with("unknown-revision", "%s", text))
            }
        }
    }
}
