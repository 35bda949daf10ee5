//! `remove-password`: tokens alone again.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission,
};

use super::answers::Username;
use super::arguments::UsernameArgs;
use crate::HashEquiv;

/// The command `remove-password`.
pub(super) struct RemovePassword;

impl Command<HashEquiv> for RemovePassword {
    type Args = UsernameArgs;
    type Answer = Json<Username>;

    const DECLARATION: Declaration = Declaration {
        name: "remove-password",
        summary: "Takes the password of a user, by default of oneself, away; tokens stay.",
        access: Access::needs_or_self(&[Permission::UserAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"username\": \"ann\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: UsernameArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let username = args.or_self(call.principal)?;
        let removed = call.service.logins.passwords.remove(&username).await;
        match removed.map_err(Failure::internal)? {
            true => Ok(Json(Username { username }).into()),
            false => {
                let message = format!("{username} has no password");
                Err(Failure::refused("no-such-password", message))
            }
        }
    }
}
