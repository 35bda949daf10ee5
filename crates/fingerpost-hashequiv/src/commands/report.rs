//! `report`: what a task produced.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape,
};
use fingerpost_hashequiv_proto::types::{Outhash, Unihash};
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
        let (asked, report) = args.read()?;
        let Some(report) = report else {
            // Without both names there is nothing to store; the answer stands.
            let answer = asked.answer(&asked.proposed);
            return Ok(answered(answer, false));
        };
        let told = call.service.report(call.principal, report).await?;
        Ok(answered(asked.answer(&told.unihash), told.is_stored))
    }
}

/// The answer, and whether the report was stored.
pub(super) fn answered<T>(answer: T, is_stored: bool) -> Outcome<Json<T>> {
    Outcome {
        is_stored,
        ..Json(answer).into()
    }
}

/// What a report's answer repeats.
pub(super) struct Asked {
    taskhash: Option<String>,
    method: Option<String>,
    pub(super) proposed: Unihash,
}

impl Asked {
    pub(super) fn answer(&self, unihash: &Unihash) -> UnihashAnswer {
        UnihashAnswer::new(self.taskhash.clone(), self.method.clone(), unihash)
    }
}

impl ReportArgs {
    /// The report; `None` if method or taskhash is null.
    pub(super) fn read(self) -> Result<(Asked, Option<Reported>), Failure> {
        let proposed = self.unihash.valid()?;
        let method = required("method", self.method)?;
        let taskhash = required("taskhash", self.taskhash)?;
        let outhash = required("outhash", self.outhash)?;
        let task = task(method.clone(), taskhash.clone());
        let report = task.map(|task| Reported {
            task,
            outhash: outhash.map(|outhash| Outhash::parse(&outhash)),
            proposed: proposed.clone(),
            metadata: Metadata {
                owner: self.owner.text(),
                pn: self.pn.text(),
                pv: self.pv.text(),
                pr: self.pr.text(),
                task: self.task.text(),
            },
            siginfo: self.outhash_siginfo.text(),
        });
        let asked = Asked {
            taskhash,
            method,
            proposed,
        };
        Ok((asked, report))
    }
}
