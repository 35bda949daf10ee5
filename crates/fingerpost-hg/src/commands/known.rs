//! `known`: which of a client's changesets are here.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::{Args, Node};

use super::answer::Cbor;
use super::arguments::Arguments;
use crate::RepositoryView;

/// The command `known`.
pub(super) struct Known;

/// The argument of `known`.
pub(super) struct KnownArgs {
    nodes: Vec<Node>,
}

impl Argument<Args> for KnownArgs {
    const FIELDS: &'static [Field] = &[Field {
        name: "nodes",
        shape: Shape::List,
        required: false,
        about: "changesets that the client has",
    }];
    const EXAMPLE: &'static str = "{\"nodes\": [\"hex:ab6f6465b68b31ae30e4c3be9b7a36403a275cb3\"]}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        Ok(Self {
            nodes: arguments.nodes("nodes")?,
        })
    }
}

impl Command<RepositoryView> for Known {
    type Args = KnownArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "known",
        summary: "Says `1` or `0` for each node: whether the changeset is here. Secret and hidden ones are not.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::State],
            why: "what is here follows from the changesets and their phases, which the state token covers",
        },
        answer_example: "\"1\"",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: KnownArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let snapshot = call.service.snapshot();
        let digits = args
            .nodes
            .iter()
            .map(|node| b'0' + u8::from(snapshot.is_known(node)));
        let digits: Vec<u8> = digits.collect();
        Ok(Cbor::of(|writer| writer.bytes(&digits)))
    }
}
