//! `get`: the unihash of a task, or with `all` its oldest output.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape,
};
use fingerpost_hashequiv_proto::field::{self, Truth};
use serde::Deserialize;

use super::answers::{Got, UnihashRow, WireRow};
use super::arguments::{self, TASK_FIELDS, task};
use crate::HashEquiv;

/// The command `get`.
pub(super) struct Get;

/// The argument of `get`.
#[derive(Deserialize)]
pub(super) struct GetArgs {
    #[serde(deserialize_with = "field::text")]
    method: Option<String>,
    #[serde(deserialize_with = "field::text")]
    taskhash: Option<String>,
    #[serde(default)]
    all: Truth,
}

impl Argument for GetArgs {
    const FIELDS: &'static [Field] = &[
        TASK_FIELDS[0],
        TASK_FIELDS[1],
        Field {
            name: "all",
            shape: Shape::Flag,
            required: false,
            about: "answer the whole row of the oldest output",
        },
    ];
    const EXAMPLE: &'static str = "{\"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"all\": false}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }
}

impl Command<HashEquiv> for Get {
    type Args = GetArgs;
    type Answer = Json<Option<Got>>;

    const DECLARATION: Declaration = Declaration {
        name: "get",
        summary: "Looks up the unihash of a task, or with `all` its oldest output.",
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
            why: "a found row changes only when rows are deleted; null is never remembered",
        },
        answer_example: "{\"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"method\": \"oe.sstatesig.OEOuthashBasic\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: GetArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        // A null compares equal to nothing.
        let Some(task) = task(args.method, args.taskhash) else {
            return Ok(Json(None).into());
        };
        if args.all.0 {
            let row = call.service.output_of_task(task).await?;
            return Ok(Json(row.map(|row| Got::Row(Box::new(WireRow::from(row))))).into());
        }
        let unihash = call.service.unihash(&task).await?;
        Ok(Json(unihash.map(|unihash| Got::Unihash(UnihashRow::new(task, unihash)))).into())
    }
}
