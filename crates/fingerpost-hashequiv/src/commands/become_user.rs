//! `become-user`: the rights of another user.

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Effect, Ends, Failure,
    Json, Kind, NewCaller, Outcome, Permission, Reply,
};

use super::answers::UserAnswer;
use super::arguments::UsernameArgs;
use crate::HashEquiv;

/// The command `become-user`.
pub(super) struct BecomeUser;

impl Command<HashEquiv> for BecomeUser {
    type Args = UsernameArgs;
    type Answer = Json<UserAnswer>;

    const DECLARATION: Declaration = Declaration {
        name: "become-user",
        summary: "Makes the connection that of another user; no token is needed.",
        access: Access::needs(&[Permission::UserAdmin]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::Change,
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
        let username = args.named()?;
        let user = call.service.accounts().get(&username).await;
        let Some(user) = user.map_err(Failure::internal)? else {
            let message = format!("User {username} doesn't exist");
            return Err(Failure::refused("no-such-user", message));
        };
        let principal = call.principal.login(&user.username, user.permissions);
        Ok(Outcome {
            reply: Reply::Object(Json(UserAnswer::new(user.username, user.permissions))),
            login: Some(NewCaller {
                principal,
                ends: Ends::AsBefore,
            }),
            is_stored: true,
        })
    }
}
