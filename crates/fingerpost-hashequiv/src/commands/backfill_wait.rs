//! `backfill-wait`: until everything from the upstream is stored.

use std::time::Duration;

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission, Take,
};
use serde::Serialize;

use crate::HashEquiv;

/// The reference's client waits 30 s for an answer.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// The command `backfill-wait`.
pub(super) struct BackfillWait;

/// The answer of `backfill-wait`.
#[derive(Serialize)]
pub(super) struct Tasks {
    tasks: usize,
}

impl Command<HashEquiv> for BackfillWait {
    type Args = Take;
    type Answer = Json<Tasks>;

    const DECLARATION: Declaration = Declaration {
        name: "backfill-wait",
        summary: "Waits until what an upstream answered is stored; answers how many rows waited.",
        access: Access::needs(&[Permission::Read]),
        availability: Availability::Writable,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "the answer is about this moment",
        },
        answer_example: "{\"tasks\": 0}",
    };

    async fn run(call: Call<'_, HashEquiv>, _: Take) -> Result<Outcome<Self::Answer>, Failure> {
        let Some(backfill) = &call.service.backfill else {
            return Ok(Json(Tasks { tasks: 0 }).into());
        };
        let tasks = backfill.len();
        if !backfill.wait(WAIT_MAX).await {
            return Err(Failure::internal("the backfill was not done in time"));
        }
        Ok(Json(Tasks { tasks }).into())
    }
}
