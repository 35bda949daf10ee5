//! `new-user`: a new user.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission,
};

use super::answers::NewUserAnswer;
use super::arguments::PermissionsArgs;
use crate::HashEquiv;

/// The command `new-user`.
pub(super) struct NewUser;

impl Command<HashEquiv> for NewUser {
    type Args = PermissionsArgs;
    type Answer = Json<NewUserAnswer>;

    const DECLARATION: Declaration = Declaration {
        name: "new-user",
        summary: "Makes a user; the token is told once.",
        access: Access::needs(&[Permission::UserAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"username\": \"ci\", \"permissions\": [\"@read\", \"@report\"], \"token\": \"XoB1...\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: PermissionsArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let permissions = args.set()?;
        let username = args.username.0;
        let token = call.service.accounts().create(&username, permissions).await;
        call.service.users_changed();
        let Some(token) = token.map_err(Failure::internal)? else {
            let message = format!("Cannot create new user '{username}'");
            return Err(Failure::refused("user-exists", message));
        };
        Ok(Json(NewUserAnswer {
            username,
            permissions: permissions.expanded(),
            token: token.reveal().to_owned(),
        })
        .into())
    }
}
