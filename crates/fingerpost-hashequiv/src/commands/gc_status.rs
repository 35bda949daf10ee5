//! `gc-status`: what a sweep would do.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission, Take,
};

use crate::HashEquiv;
use crate::query;

/// The command `gc-status`.
pub(super) struct GcStatus;

impl Command<HashEquiv> for GcStatus {
    type Args = Take;
    type Answer = Json<query::GcStatus>;

    const DECLARATION: Declaration = Declaration {
        name: "gc-status",
        summary: "Counts what a sweep would keep and remove, and names the running collection.",
        access: Access::needs(&[Permission::DbAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "the answer changes with every report",
        },
        answer_example: "{\"keep\": 1, \"remove\": 1, \"mark\": \"2026-11-22\"}",
    };

    async fn run(call: Call<'_, HashEquiv>, _: Take) -> Result<Outcome<Self::Answer>, Failure> {
        let service = call.service;
        Ok(Json(service.store.gc_status(service.at.own()).await?).into())
    }
}
