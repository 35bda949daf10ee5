//! `get-all-users`: every user.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission, Take,
};

use super::answers::{UserAnswer, Users};
use crate::HashEquiv;

/// The command `get-all-users`.
pub(super) struct GetAllUsers;

impl Command<HashEquiv> for GetAllUsers {
    type Args = Take;
    type Answer = Json<Users>;

    const DECLARATION: Declaration = Declaration {
        name: "get-all-users",
        summary: "Answers all users.",
        access: Access::needs(&[Permission::UserAdmin]),
        availability: Availability::Always,
        cost: Cost::Dear,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"users\": [{\"username\": \"ci\", \"permissions\": [\"@read\"]}]}",
    };

    async fn run(call: Call<'_, HashEquiv>, args: Take) -> Result<Outcome<Self::Answer>, Failure> {
        let Take = args;
        let users = call
            .service
            .accounts()
            .all()
            .await
            .map_err(Failure::internal)?;
        let users = users
            .into_iter()
            .map(|user| UserAnswer::new(user.username, user.permissions));
        Ok(Json(Users {
            users: users.collect(),
        })
        .into())
    }
}
