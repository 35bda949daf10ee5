//! `get-signed`: the row of a task with its signatures.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission,
};
use fingerpost_hashequiv_proto::field;
use serde::Deserialize;

use super::arguments::{self, TASK_FIELDS, task};
use super::signed_row::{SHOWN_EXAMPLE, Shown};
use crate::HashEquiv;

/// The command `get-signed`.
pub(super) struct GetSigned;

/// The argument of `get-signed`.
#[derive(Deserialize)]
pub(super) struct GetSignedArgs {
    #[serde(deserialize_with = "field::text")]
    method: Option<String>,
    #[serde(deserialize_with = "field::text")]
    taskhash: Option<String>,
}

impl Argument for GetSignedArgs {
    const FIELDS: &'static [Field] = TASK_FIELDS;
    const EXAMPLE: &'static str = "{\"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\"}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }
}

impl Command<HashEquiv> for GetSigned {
    type Args = GetSignedArgs;
    type Answer = Json<Option<Shown>>;

    const DECLARATION: Declaration = Declaration {
        name: "get-signed",
        summary: "Looks up the row of a task with its signatures, which the caller verifies.",
        access: Access::needs(&[Permission::Read]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "a signature may be added at any time",
        },
        answer_example: SHOWN_EXAMPLE,
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: GetSignedArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let Some(task) = task(args.method, args.taskhash) else {
            return Ok(Json(None).into());
        };
        let found = call.service.signed_rows(vec![task]).await?.pop().flatten();
        Ok(Json(found.map(Shown::from)).into())
    }
}
