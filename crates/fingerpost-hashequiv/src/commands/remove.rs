//! `remove`: rows that fulfil conditions.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission,
};
use serde::Deserialize;

use super::answers::Count;
use super::arguments::{self, WHERE_FIELD, Where};
use crate::HashEquiv;

/// The command `remove`.
pub(super) struct Remove;

/// The argument of `remove`.
#[derive(Deserialize)]
pub(super) struct RemoveArgs {
    r#where: Where,
}

impl Argument for RemoveArgs {
    const FIELDS: &'static [Field] = &[WHERE_FIELD];
    const EXAMPLE: &'static str = "{\"where\": {\"PN\": \"zlib\"}}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }
}

impl Command<HashEquiv> for Remove {
    type Args = RemoveArgs;
    type Answer = Json<Count>;

    const DECLARATION: Declaration = Declaration {
        name: "remove",
        summary: "Removes the rows of both relations that fulfil the conditions each relation knows.",
        access: Access::needs(&[Permission::DbAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"count\": 2}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: RemoveArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let service = call.service;
        let removing = service.store.remove(service.at.own(), args.r#where.0);
        let count = removing.await?;
        service.metrics.rows_removed.inc_by(count);
        Ok(Json(Count { count }).into())
    }
}
