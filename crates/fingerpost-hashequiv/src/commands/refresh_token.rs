//! `refresh-token`: a new token.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission,
};

use super::answers::{TokenAnswer, no_such_user};
use super::arguments::UsernameArgs;
use crate::HashEquiv;

/// The command `refresh-token`.
pub(super) struct RefreshToken;

impl Command<HashEquiv> for RefreshToken {
    type Args = UsernameArgs;
    type Answer = Json<TokenAnswer>;

    const DECLARATION: Declaration = Declaration {
        name: "refresh-token",
        summary: "Gives a user, by default oneself, a new token; the old one is dead.",
        access: Access::needs_or_self(&[Permission::UserAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"username\": \"ci\", \"token\": \"XoB1...\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: UsernameArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let username = args.or_self(call.principal)?;
        let token = call.service.accounts().refresh(&username).await;
        call.service.users_changed();
        let Some(token) = token.map_err(Failure::internal)? else {
            return Err(no_such_user(&username));
        };
        let token = token.reveal().to_owned();
        Ok(Json(TokenAnswer { username, token }).into())
    }
}
