//! `get-stats`: the request statistics.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission, Take,
};

use super::answers::Requests;
use crate::HashEquiv;

/// The command `get-stats`.
pub(super) struct GetStats;

impl Command<HashEquiv> for GetStats {
    type Args = Take;
    type Answer = Json<Requests>;

    const DECLARATION: Declaration = Declaration {
        name: "get-stats",
        summary: "Answers how many requests ended and how long they took.",
        access: Access::needs(&[Permission::Read]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "the answer changes with every request",
        },
        answer_example: "{\"requests\": {\"num\": 2, \"total_time\": 0.003, \"max_time\": 0.002, \"average\": 0.0015, \"stdev\": 0.0005}}",
    };

    async fn run(call: Call<'_, HashEquiv>, _: Take) -> Result<Outcome<Self::Answer>, Failure> {
        Ok(Json(Requests {
            requests: call.service.requests().snapshot(),
        })
        .into())
    }
}
