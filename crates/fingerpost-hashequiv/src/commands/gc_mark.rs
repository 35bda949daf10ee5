//! `gc-mark`: starts a collection and marks rows to be kept.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission,
};
use serde::Deserialize;

use super::answers::Count;
use super::arguments::{self, MARK_FIELD, WHERE_FIELD, Where};
use crate::HashEquiv;

/// The command `gc-mark`.
pub(super) struct GcMark;

/// The argument of `gc-mark`.
#[derive(Deserialize)]
pub(super) struct GcMarkArgs {
    mark: String,
    r#where: Where,
}

impl Argument for GcMarkArgs {
    const FIELDS: &'static [Field] = &[MARK_FIELD, WHERE_FIELD];
    const EXAMPLE: &'static str =
        "{\"mark\": \"2026-11-22\", \"where\": {\"method\": \"oe.sstatesig.OEOuthashBasic\"}}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }
}

impl Command<HashEquiv> for GcMark {
    type Args = GcMarkArgs;
    type Answer = Json<Count>;

    const DECLARATION: Declaration = Declaration {
        name: "gc-mark",
        summary: "Starts a collection, or goes on with it, and marks rows to be kept.",
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
        args: GcMarkArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let service = call.service;
        let count = service
            .store
            .gc_mark(service.at.own(), args.mark, args.r#where.0, service.now())
            .await?;
        Ok(Json(Count { count }).into())
    }
}
