//! `get-tokens`: the bearer tokens of a user.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission,
};
use serde::Serialize;

use super::answers::no_such_user;
use super::arguments::UsernameArgs;
use super::token_answer::Shown;
use crate::HashEquiv;

/// The command `get-tokens`.
pub(super) struct GetTokens;

/// Every token that was not purged yet, the oldest first.
#[derive(Serialize)]
pub(super) struct Tokens {
    tokens: Vec<Shown>,
}

impl Command<HashEquiv> for GetTokens {
    type Args = UsernameArgs;
    type Answer = Json<Tokens>;

    const DECLARATION: Declaration = Declaration {
        name: "get-tokens",
        summary: "Answers the bearer tokens of a user, by default oneself, those included that ended lately; the secrets are nowhere.",
        access: Access::needs_or_self(&[Permission::UserAdmin]),
        availability: Availability::Always,
        cost: Cost::Dear,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"tokens\": [{\"id\": \"0123456789abcdef\", \"username\": \"ci\", \"name\": \"nightly\", \"permissions\": [\"@read\"], \"namespaces\": null, \"created\": 1795000000, \"expires\": 1800000000, \"revoked\": null, \"used\": 1795000600}]}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: UsernameArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let username = args.or_self(call.principal)?;
        let tokens = call.service.logins.tokens.list(&username).await;
        let tokens = tokens.map_err(Failure::internal)?;
        if tokens.is_empty() {
            let user = call.service.accounts().get(&username).await;
            user.map_err(Failure::internal)?
                .ok_or_else(|| no_such_user(&username))?;
        }
        let tokens = tokens.into_iter().map(Shown::from).collect();
        Ok(Json(Tokens { tokens }).into())
    }
}
