//! `report-equiv`: a task may be taken for another unihash.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape,
};
use serde::Deserialize;

use super::answers::UnihashAnswer;
use super::arguments::{self, Loose, Proposed, TASK_FIELDS, required, task};
use crate::HashEquiv;

/// The command `report-equiv`.
pub(super) struct ReportEquiv;

/// The argument of `report-equiv`.
#[derive(Deserialize)]
pub(super) struct ReportEquivArgs {
    #[serde(default)]
    method: Loose,
    #[serde(default)]
    taskhash: Loose,
    #[serde(default)]
    unihash: Proposed,
}

impl Argument for ReportEquivArgs {
    const FIELDS: &'static [Field] = &[
        TASK_FIELDS[0],
        TASK_FIELDS[1],
        Field {
            name: "unihash",
            shape: Shape::Unihash,
            required: true,
            about: "the unihash that the task takes unless it has one",
        },
    ];
    const EXAMPLE: &'static str = "{\"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\"}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }

    fn check(&self) -> Result<(), Failure> {
        self.unihash.check()
    }
}

impl Command<HashEquiv> for ReportEquiv {
    type Args = ReportEquivArgs;
    type Answer = Json<UnihashAnswer>;

    const DECLARATION: Declaration = Declaration {
        name: "report-equiv",
        summary: "Gives a task a unihash unless it has one, and answers the one it has now.",
        access: Access::needs(&[Permission::Read, Permission::Report]),
        availability: Availability::Writable,
        cost: Cost::Report,
        effect: Effect::Report,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"method\": \"oe.sstatesig.OEOuthashBasic\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: ReportEquivArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let proposed = args.unihash.valid()?;
        let method = required("method", args.method)?;
        let taskhash = required("taskhash", args.taskhash)?;
        let Some(task) = task(method.clone(), taskhash.clone()) else {
            return Err(BadArgument("method and taskhash must not be null".to_owned()).into());
        };
        let unihash = call.service.report_equiv(task, proposed).await?;
        Ok(Json(UnihashAnswer::new(taskhash, method, &unihash)).into())
    }
}
