//! `set-user-perms`: what a user may do.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission,
};

use super::answers::{UserAnswer, no_such_user};
use super::arguments::PermissionsArgs;
use crate::HashEquiv;

/// The command `set-user-perms`.
pub(super) struct SetUserPerms;

impl Command<HashEquiv> for SetUserPerms {
    type Args = PermissionsArgs;
    type Answer = Json<UserAnswer>;

    const DECLARATION: Declaration = Declaration {
        name: "set-user-perms",
        summary: "Replaces the permissions of a user; effective from the next login.",
        access: Access::needs(&[Permission::UserAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"username\": \"ci\", \"permissions\": [\"@read\", \"@report\"]}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: PermissionsArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let permissions = args.set()?;
        let username = args.username.0;
        let accounts = call.service.accounts();
        let known = accounts.set_permissions(&username, permissions).await;
        call.service.users_changed();
        if !known.map_err(Failure::internal)? {
            return Err(no_such_user(&username));
        }
        Ok(Json(UserAnswer::new(username, permissions)).into())
    }
}
