//! `gc-sweep`: removes what is not marked.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission,
};
use serde::Deserialize;

use super::answers::Count;
use super::arguments::{self, MARK_FIELD};
use crate::HashEquiv;

/// The command `gc-sweep`.
pub(super) struct GcSweep;

/// The argument of `gc-sweep`.
#[derive(Deserialize)]
pub(super) struct GcSweepArgs {
    mark: String,
}

impl Argument for GcSweepArgs {
    const FIELDS: &'static [Field] = &[MARK_FIELD];
    const EXAMPLE: &'static str = "{\"mark\": \"2026-11-22\"}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }
}

impl Command<HashEquiv> for GcSweep {
    type Args = GcSweepArgs;
    type Answer = Json<Count>;

    const DECLARATION: Declaration = Declaration {
        name: "gc-sweep",
        summary: "Removes every unihash row that the running collection did not mark, and ends it. \
                  In batches: nobody else waits for it.",
        access: Access::needs(&[Permission::DbAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"count\": 1}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: GcSweepArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let service = call.service;
        let sweeping = service.store.gc_sweep(service.at.own(), args.mark);
        let count = sweeping.await?;
        service.metrics.rows_removed.inc_by(count);
        Ok(Json(Count { count }).into())
    }
}
