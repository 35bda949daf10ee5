//! `get-stream`: look-ups one a line.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, Outcome, Permission,
};

use super::answers::Line;
use super::arguments::TASK_FIELDS;
use crate::HashEquiv;

/// The command `get-stream`. Doors answer its lines in batches through
/// [`HashEquiv::cached_unihash`] and [`HashEquiv::unihashes`]: the one stated
/// exception to "a command runs through its handler", because it is the hot
/// path. The handler answers the same for a single line.
pub(super) struct GetStream;

/// A line of `get-stream`: `METHOD TASKHASH`.
pub(super) struct GetLine {
    method: String,
    taskhash: String,
}

impl Argument for GetLine {
    const FIELDS: &'static [Field] = TASK_FIELDS;
    const EXAMPLE: &'static str = "oe.sstatesig.OEOuthashBasic 1111111111111111111111111111111111111111111111111111111111111111";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(method), Some(taskhash), None) => Ok(Self {
                method: method.to_owned(),
                taskhash: taskhash.to_owned(),
            }),
            _ => Err(BadArgument("a line has two words".to_owned())),
        }
    }
}

impl Command<HashEquiv> for GetStream {
    type Args = GetLine;
    type Answer = Line;

    const DECLARATION: Declaration = Declaration {
        name: "get-stream",
        summary: "Looks up unihashes, one a line; an empty line is a miss.",
        access: Access::needs(&[Permission::Read]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Stream,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[
                Dependency::Incarnation,
                Dependency::Namespace,
                Dependency::DeletionEpoch,
            ],
            why: "remembered in the service's typed cache of (method, taskhash), found answers only",
        },
        answer_example: "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        line: GetLine,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let mut found = call
            .service
            .unihashes(vec![(line.method, line.taskhash)])
            .await?;
        let unihash = found.pop().flatten();
        Ok(Line(unihash.map(|unihash| unihash.to_text()).unwrap_or_default()).into())
    }
}
