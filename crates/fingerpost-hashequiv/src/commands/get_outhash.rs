//! `get-outhash`: the oldest row of an output.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape,
};
use fingerpost_hashequiv_proto::field::{self, Truth};
use fingerpost_hashequiv_proto::types::Outhash;
use serde::Deserialize;

use super::answers::WireRow;
use super::arguments::{self, TASK_FIELDS, task};
use crate::HashEquiv;

/// The command `get-outhash`.
pub(super) struct GetOuthash;

/// The argument of `get-outhash`. The taskhash must be there, and is handed to
/// an upstream; the look-up does not use it.
#[derive(Deserialize)]
pub(super) struct GetOuthashArgs {
    #[serde(deserialize_with = "field::text")]
    method: Option<String>,
    #[serde(deserialize_with = "field::text")]
    outhash: Option<String>,
    #[serde(deserialize_with = "field::text")]
    taskhash: Option<String>,
    #[serde(default = "Truth::yes")]
    with_unihash: Truth,
}

impl Argument for GetOuthashArgs {
    const FIELDS: &'static [Field] = &[
        TASK_FIELDS[0],
        Field {
            name: "outhash",
            shape: Shape::Text,
            required: true,
            about: "hash of what the task produced",
        },
        TASK_FIELDS[1],
        Field {
            name: "with_unihash",
            shape: Shape::Flag,
            required: false,
            about: "only rows whose task has a unihash, which is answered too (the default)",
        },
    ];
    const EXAMPLE: &'static str = "{\"method\": \"oe.sstatesig.OEOuthashBasic\", \"outhash\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"with_unihash\": true}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }
}

impl Command<HashEquiv> for GetOuthash {
    type Args = GetOuthashArgs;
    type Answer = Json<Option<WireRow>>;

    const DECLARATION: Declaration = Declaration {
        name: "get-outhash",
        summary: "Looks up the oldest row of an output.",
        access: Access::needs(&[Permission::Read]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[
                Dependency::Incarnation,
                Dependency::Namespace,
                Dependency::DeletionEpoch,
            ],
            why: "the oldest row stays the oldest until rows are deleted; null is never remembered",
        },
        answer_example: super::answers::ROW_EXAMPLE,
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: GetOuthashArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let taskhash = Some(args.taskhash.unwrap_or_default());
        let (Some(task), Some(outhash)) = (task(args.method, taskhash), args.outhash) else {
            return Ok(Json(None).into());
        };
        let row = call
            .service
            .output(task, Outhash::parse(&outhash), args.with_unihash.0);
        Ok(Json(row.await?.map(WireRow::from)).into())
    }
}
