//! `report`: what a task produced.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape,
};
use fingerpost_hashequiv_proto::types::Outhash;
use serde::Deserialize;

use super::answers::UnihashAnswer;
use super::arguments::{self, Loose, METADATA_FIELDS, Proposed, TASK_FIELDS, required, task};
use crate::HashEquiv;
use crate::reporting::Reported;
use crate::store::Metadata;

/// The command `report`.
pub(super) struct Report;

/// The argument of `report`. Whether a field is there is looked at only after
/// the unihash's form, as the reference does.
#[derive(Deserialize)]
pub(super) struct ReportArgs {
    #[serde(default)]
    method: Loose,
    #[serde(default)]
    taskhash: Loose,
    #[serde(default)]
    outhash: Loose,
    #[serde(default)]
    unihash: Proposed,
    #[serde(default)]
    owner: Loose,
    #[serde(default, rename = "PN")]
    pn: Loose,
    #[serde(default, rename = "PV")]
    pv: Loose,
    #[serde(default, rename = "PR")]
    pr: Loose,
    #[serde(default)]
    task: Loose,
    #[serde(default)]
    outhash_siginfo: Loose,
}

impl Argument for ReportArgs {
    const FIELDS: &'static [Field] = &[
        TASK_FIELDS[0],
        TASK_FIELDS[1],
        Field {
            name: "outhash",
            shape: Shape::Text,
            required: true,
            about: "hash of what the task produced",
        },
        Field {
            name: "unihash",
            shape: Shape::Unihash,
            required: true,
            about: "the unihash that the task takes when nothing equal is known",
        },
        METADATA_FIELDS[0],
        METADATA_FIELDS[1],
        METADATA_FIELDS[2],
        METADATA_FIELDS[3],
        METADATA_FIELDS[4],
        METADATA_FIELDS[5],
    ];
    const EXAMPLE: &'static str = "{\"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"outhash\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\", \"PN\": \"zlib\", \"task\": \"do_package\"}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }

    fn check(&self) -> Result<(), Failure> {
        self.unihash.check()
    }
}

impl Command<HashEquiv> for Report {
    type Args = ReportArgs;
    type Answer = Json<UnihashAnswer>;

    const DECLARATION: Declaration = Declaration {
        name: "report",
        summary: "Tells what a task produced and learns its unihash. Without `@report`, and on a \
                  read-only server, it is answered and nothing is stored.",
        access: Access::needs(&[Permission::Read]),
        availability: Availability::Always,
        cost: Cost::Report,
        effect: Effect::Report,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"method\": \"oe.sstatesig.OEOuthashBasic\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: ReportArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let proposed = args.unihash.valid()?;
        let method = required("method", args.method)?;
        let taskhash = required("taskhash", args.taskhash)?;
        let outhash = required("outhash", args.outhash)?;
        let Some(task) = task(method.clone(), taskhash.clone()) else {
            // Without both names there is nothing to store; the answer stands.
            return Ok(Json(UnihashAnswer::new(taskhash, method, &proposed)).into());
        };
        let report = Reported {
            task,
            outhash: outhash.map(|outhash| Outhash::parse(&outhash)),
            proposed,
            metadata: Metadata {
                owner: args.owner.text(),
                pn: args.pn.text(),
                pv: args.pv.text(),
                pr: args.pr.text(),
                task: args.task.text(),
            },
            siginfo: args.outhash_siginfo.text(),
        };
        let unihash = call.service.report(call.principal, report).await?;
        Ok(Json(UnihashAnswer::new(taskhash, method, &unihash)).into())
    }
}
