//! `delete-user`: an account ends.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission,
};

use super::answers::{Username, no_such_user};
use super::arguments::UsernameArgs;
use crate::HashEquiv;

/// The command `delete-user`.
pub(super) struct DeleteUser;

impl Command<HashEquiv> for DeleteUser {
    type Args = UsernameArgs;
    type Answer = Json<Username>;

    const DECLARATION: Declaration = Declaration {
        name: "delete-user",
        summary: "Removes a user, by default oneself; the connection goes on.",
        access: Access::needs_or_self(&[Permission::UserAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"username\": \"ci\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: UsernameArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let username = args.or_self(call.principal)?;
        let known = call.service.accounts().delete(&username).await;
        call.service.users_changed();
        if !known.map_err(Failure::internal)? {
            return Err(no_such_user(&username));
        }
        Ok(Json(Username { username }).into())
    }
}
