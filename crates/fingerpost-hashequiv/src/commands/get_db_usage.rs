//! `get-db-usage`: rows by table.

use std::collections::BTreeMap;

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission, Take,
};
use serde::Serialize;

use crate::HashEquiv;

/// The command `get-db-usage`.
pub(super) struct GetDbUsage;

/// The answer of `get-db-usage`, under the reference's names of the tables.
#[derive(Serialize)]
pub(super) struct DbUsage {
    usage: BTreeMap<&'static str, Rows>,
}

#[derive(Serialize)]
struct Rows {
    rows: u64,
}

impl Command<HashEquiv> for GetDbUsage {
    type Args = Take;
    type Answer = Json<DbUsage>;

    const DECLARATION: Declaration = Declaration {
        name: "get-db-usage",
        summary: "Counts the rows of each relation.",
        access: Access::needs(&[Permission::DbAdmin]),
        availability: Availability::Always,
        cost: Cost::Dear,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "the answer changes with every report",
        },
        answer_example: "{\"usage\": {\"unihashes_v3\": {\"rows\": 1}, \"outhashes_v2\": {\"rows\": 2}, \"users\": {\"rows\": 0}, \"config\": {\"rows\": 1}}}",
    };

    async fn run(call: Call<'_, HashEquiv>, _: Take) -> Result<Outcome<Self::Answer>, Failure> {
        let usage = call.service.store.usage().await?;
        let tables = [
            ("unihashes_v3", usage.unihashes),
            ("outhashes_v2", usage.outputs),
            ("users", usage.users),
            ("config", usage.config),
        ];
        let usage = tables.map(|(table, rows)| (table, Rows { rows })).into();
        Ok(Json(DbUsage { usage }).into())
    }
}
