//! `report-signed`: a report whose answer can be verified.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission,
};
use serde::Serialize;

use super::answers::UnihashAnswer;
use super::report::{ReportArgs, answered};
use super::signed_row::Shown;
use crate::HashEquiv;

/// The command `report-signed`.
pub(super) struct ReportSigned;

/// What a report answers, and the row that it came from.
#[derive(Serialize)]
pub(super) struct Answer {
    #[serde(flatten)]
    answer: UnihashAnswer,
    /// Null if the unihash is the proposed one and of no other row, or of an upstream.
    evidence: Option<Shown>,
}

impl Command<HashEquiv> for ReportSigned {
    type Args = ReportArgs;
    type Answer = Json<Answer>;

    const DECLARATION: Declaration = Declaration {
        name: "report-signed",
        summary: "Reports as `report` does, and answers with the unihash the row that it came \
                  from and that row's signatures. The caller verifies it, and offers a \
                  signature of its own with `put-signatures`.",
        access: Access::needs(&[Permission::Read]),
        availability: Availability::Always,
        cost: Cost::Report,
        effect: Effect::Report,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"taskhash\": \"2222222222222222222222222222222222222222222222222222222222222222\", \"method\": \"oe.sstatesig.OEOuthashBasic\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\", \"evidence\": {\"namespace\": \"default\", \"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"outhash\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\", \"signatures\": [\"hmac-sha256:01532beb1c02694f:1795000000:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]}}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: ReportArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let (asked, report) = args.read()?;
        let Some(report) = report else {
            let answer = asked.answer(&asked.proposed);
            let evidence = None;
            return Ok(answered(Answer { answer, evidence }, false));
        };
        let (task, outhash) = (report.task.clone(), report.outhash.clone());
        let told = call.service.report(call.principal, report).await?;
        let evidence = match outhash {
            Some(outhash) => {
                let found = call.service.evidence(task, outhash, told.unihash.clone());
                found.await?.map(Shown::from)
            }
            None => None,
        };
        let answer = asked.answer(&told.unihash);
        Ok(answered(Answer { answer, evidence }, told.is_stored))
    }
}
