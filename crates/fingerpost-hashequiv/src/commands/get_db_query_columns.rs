//! `get-db-query-columns`: what `remove` can compare.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission, Take,
};
use serde::Serialize;

use crate::HashEquiv;
use crate::query::Column;

/// The command `get-db-query-columns`.
pub(super) struct GetDbQueryColumns;

/// The answer of `get-db-query-columns`.
#[derive(Serialize)]
pub(super) struct Columns {
    columns: Vec<&'static str>,
}

impl Command<HashEquiv> for GetDbQueryColumns {
    type Args = Take;
    type Answer = Json<Columns>;

    const DECLARATION: Declaration = Declaration {
        name: "get-db-query-columns",
        summary: "Lists the text columns that conditions may name.",
        access: Access::needs(&[Permission::DbAdmin]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "the answer is a constant of the program",
        },
        answer_example: "{\"columns\": [\"method\", \"taskhash\", \"unihash\"]}",
    };

    async fn run(_: Call<'_, HashEquiv>, _: Take) -> Result<Outcome<Self::Answer>, Failure> {
        let text = Column::ALL.into_iter().filter(|column| column.is_text());
        let columns = text.map(Column::as_str).collect();
        Ok(Json(Columns { columns }).into())
    }
}
