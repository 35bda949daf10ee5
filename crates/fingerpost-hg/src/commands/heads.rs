//! `heads`: the changesets that have no children.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::{Args, Node};

use super::answer::Cbor;
use super::arguments::Arguments;
use crate::RepositoryView;

/// The command `heads`.
pub(super) struct Heads;

/// The argument of `heads`.
pub(super) struct HeadsArgs {
    public_only: bool,
}

impl Argument<Args> for HeadsArgs {
    const FIELDS: &'static [Field] = &[Field {
        name: "publiconly",
        shape: Shape::Bool,
        required: false,
        about: "only among public changesets",
    }];
    const EXAMPLE: &'static str = "{}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        Ok(Self {
            public_only: arguments.bool("publiconly")?,
        })
    }
}

impl Command<RepositoryView> for Heads {
    type Args = HeadsArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "heads",
        summary: "Lists the changesets without children, the newest first; an empty repository has the null node.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::State],
            why: "heads follow from the changesets and their phases, which the state token covers",
        },
        answer_example: "[\"hex:f01eb1639989329c659f6fae6edb3fdcc799ae06\"]",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: HeadsArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let snapshot = call.service.snapshot();
        let changelog = snapshot.changelog();
        let heads = snapshot.heads(args.public_only);
        Ok(Cbor::of(|writer| {
            writer.array(heads.len().max(1));
            if heads.is_empty() {
                writer.bytes(Node::NULL.as_bytes());
            }
            for rev in heads {
                writer.bytes(changelog.node(*rev).as_bytes());
            }
        }))
    }
}
