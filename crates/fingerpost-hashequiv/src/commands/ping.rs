//! `ping`: whether the server answers at all.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Take,
};
use serde::Serialize;

use crate::HashEquiv;

/// The command `ping`.
pub(super) struct Ping;

/// The answer of `ping`.
#[derive(Serialize)]
pub(super) struct Alive {
    alive: bool,
}

impl Command<HashEquiv> for Ping {
    type Args = Take;
    type Answer = Json<Alive>;

    const DECLARATION: Declaration = Declaration {
        name: "ping",
        summary: "Answers, to show that the server does.",
        access: Access::OPEN,
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "the answer is about this moment",
        },
        answer_example: "{\"alive\": true}",
    };

    async fn run(_: Call<'_, HashEquiv>, _: Take) -> Result<Outcome<Self::Answer>, Failure> {
        Ok(Json(Alive { alive: true }).into())
    }
}
