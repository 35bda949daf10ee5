//! `listkeys`: bookmarks, phases, and what else has keys.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::Args;

use super::answer::Cbor;
use super::arguments::Arguments;
use crate::RepositoryView;

/// The command `listkeys`.
pub(super) struct Listkeys;

/// The argument of `listkeys`.
pub(super) struct ListkeysArgs {
    namespace: Vec<u8>,
}

impl Argument<Args> for ListkeysArgs {
    const FIELDS: &'static [Field] = &[Field {
        name: "namespace",
        shape: Shape::Bytes,
        required: true,
        about: "`bookmarks`, `phases` or `namespaces`; any other is empty",
    }];
    const EXAMPLE: &'static str = "{\"namespace\": \"bookmarks\"}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        Ok(Self {
            namespace: arguments.bytes("namespace")?.to_vec(),
        })
    }
}

impl Command<RepositoryView> for Listkeys {
    type Args = ListkeysArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "listkeys",
        summary: "Maps the keys of a namespace to their values.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::State],
            why: "bookmarks and phases are part of the state token",
        },
        answer_example: "{\"@\": \"f01eb1639989329c659f6fae6edb3fdcc799ae06\"}",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: ListkeysArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let snapshot = call.service.snapshot();
        let keys = snapshot.listkeys(&args.namespace);
        Ok(Cbor::of(|writer| {
            writer.map(keys.len());
            for (key, value) in &keys {
                writer.bytes(key);
                writer.bytes(value);
            }
        }))
    }
}
