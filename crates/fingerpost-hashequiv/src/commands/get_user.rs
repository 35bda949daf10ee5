//! `get-user`: a user.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Failure, Json,
    Kind, Outcome, Permission,
};

use super::answers::UserAnswer;
use super::arguments::UsernameArgs;
use crate::HashEquiv;

/// The command `get-user`.
pub(super) struct GetUser;

impl Command<HashEquiv> for GetUser {
    type Args = UsernameArgs;
    type Answer = Json<Option<UserAnswer>>;

    const DECLARATION: Declaration = Declaration {
        name: "get-user",
        summary: "Answers a user, by default oneself; null when there is none.",
        access: Access::needs_or_self(&[Permission::UserAdmin]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"username\": \"ci\", \"permissions\": [\"@read\", \"@report\"]}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: UsernameArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let username = args.or_self(call.principal)?;
        let user = call.service.accounts().get(&username).await;
        let user = user.map_err(Failure::internal)?;
        Ok(Json(user.map(|user| UserAnswer::new(user.username, user.permissions))).into())
    }
}
