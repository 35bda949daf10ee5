//! `reset-stats`: the request statistics, which start over.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission, Take,
};

use super::answers::Requests;
use crate::HashEquiv;

/// The command `reset-stats`.
pub(super) struct ResetStats;

impl Command<HashEquiv> for ResetStats {
    type Args = Take;
    type Answer = Json<Requests>;

    const DECLARATION: Declaration = Declaration {
        name: "reset-stats",
        summary: "Answers the statistics and starts them over.",
        access: Access::needs(&[Permission::DbAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "the answer changes with every request",
        },
        answer_example: "{\"requests\": {\"num\": 2, \"total_time\": 0.003, \"max_time\": 0.002, \"average\": 0.0015, \"stdev\": 0.0005}}",
    };

    async fn run(call: Call<'_, HashEquiv>, _: Take) -> Result<Outcome<Self::Answer>, Failure> {
        Ok(Json(Requests {
            requests: call.service.requests().reset(),
        })
        .into())
    }
}
