//! `exists-stream`: whether unihashes are known, one a line.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Kind, Outcome, Permission, Shape,
};

use super::answers::Line;
use crate::HashEquiv;

/// The command `exists-stream`. Doors answer its lines in batches through
/// [`HashEquiv::exist`].
pub(super) struct ExistsStream;

/// A line of `exists-stream`: the unihash is the whole line.
pub(super) struct ExistsLine(String);

impl Argument for ExistsLine {
    const FIELDS: &'static [Field] = &[Field {
        name: "unihash",
        shape: Shape::Text,
        required: true,
        about: "the unihash to look for, in any method",
    }];
    const EXAMPLE: &'static str =
        "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        Ok(Self(text.to_owned()))
    }
}

impl Command<HashEquiv> for ExistsStream {
    type Args = ExistsLine;
    type Answer = Line;

    const DECLARATION: Declaration = Declaration {
        name: "exists-stream",
        summary: "Tells whether any task has a unihash, one a line.",
        access: Access::needs(&[Permission::Read]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Stream,
        cache: CachePolicy::Never {
            why: "asked once for each sstate object, and clients remember the positive answers",
        },
        answer_example: "true",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        line: ExistsLine,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let known = call.service.exist(vec![line.0]).await?;
        let known = known.first().copied().unwrap_or(false);
        Ok(Line(if known { "true" } else { "false" }.to_owned()).into())
    }
}
