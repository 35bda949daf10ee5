//! `branchmap`: the heads of every branch.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, Outcome, Permission,
};
use fingerpost_hg_proto::Args;

use super::answer::Cbor;
use super::arguments::Arguments;
use super::failures::internal;
use crate::RepositoryView;

/// The command `branchmap`.
pub(super) struct Branchmap;

/// No argument at all.
pub(super) struct NoArgs;

impl Argument<Args> for NoArgs {
    const FIELDS: &'static [Field] = &[];
    const EXAMPLE: &'static str = "{}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        Arguments::of(args, Self::FIELDS).map(|_| Self)
    }
}

impl Command<RepositoryView> for Branchmap {
    type Args = NoArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "branchmap",
        summary: "Maps the name of each branch to its heads, the oldest first, closed ones included.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::State],
            why: "branches follow from the changesets and their phases, which the state token covers",
        },
        answer_example: "{\"default\": [\"hex:f01eb1639989329c659f6fae6edb3fdcc799ae06\"]}",
    };

    async fn run(call: Call<'_, RepositoryView>, _: NoArgs) -> Result<Outcome<Cbor>, Failure> {
        let branches = call.service.snapshot().branchmap().map_err(internal)?;
        Ok(Cbor::of(|writer| {
            writer.map(branches.len());
            for (name, heads) in branches.iter() {
                writer.bytes(name);
                writer.array(heads.len());
                for head in heads {
                    writer.bytes(head.as_bytes());
                }
            }
        }))
    }
}
