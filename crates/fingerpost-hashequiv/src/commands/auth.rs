//! `auth`: a login.

use fingerpost_accounts::{Door, Login, LoginError};
use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Ends, Failure, Field, Json, Kind, NewCaller, Outcome, Reply, Shape,
};
use fingerpost_hashequiv_proto::field::Name;
use serde::{Deserialize, Serialize};

use super::arguments::{self, USERNAME_FIELD};
use crate::HashEquiv;

/// The command `auth`.
pub(super) struct Auth;

/// The argument of `auth`. Does not print its token.
#[derive(Deserialize)]
pub(super) struct AuthArgs {
    username: Name,
    token: Name,
}

impl Argument for AuthArgs {
    const FIELDS: &'static [Field] = &[
        USERNAME_FIELD,
        Field {
            name: "token",
            shape: Shape::Text,
            required: true,
            about: "the token that `new-user` or `refresh-token` gave, or the user's password, or a bearer or workload token that acts for the user",
        },
    ];
    const EXAMPLE: &'static str = "{\"username\": \"ci\", \"token\": \"XoB1...\"}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }
}

/// The answer of `auth`; permissions as stored.
#[derive(Serialize)]
pub(super) struct LoggedIn {
    result: bool,
    username: String,
    permissions: Vec<&'static str>,
}

impl Command<HashEquiv> for Auth {
    type Args = AuthArgs;
    type Answer = Json<LoggedIn>;

    const DECLARATION: Declaration = Declaration {
        name: "auth",
        summary: "Logs the connection in; may be repeated.",
        access: Access::OPEN,
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "it changes who the connection belongs to",
        },
        answer_example: "{\"result\": true, \"username\": \"ci\", \"permissions\": [\"@read\", \"@report\"]}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: AuthArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let username = args.username.0;
        let login = login_of(call, &username, &args.token.0).await?;
        let answer = LoggedIn {
            result: true,
            username,
            permissions: login.permissions().stored(),
        };
        Ok(Outcome {
            reply: Reply::Object(Json(answer)),
            login: Some(NewCaller {
                principal: call.service.principal_of(&login),
                ends: Ends::At(login.until()),
            }),
            is_stored: true,
        })
    }
}

/// Who shows this; a wrong login is told after a rest.
async fn login_of(
    call: Call<'_, HashEquiv>,
    username: &str,
    token: &str,
) -> Result<Login, Failure> {
    let service = call.service;
    let found = service
        .logins
        .of_name((Door::Native, call.origin), username, token)
        .await;
    match found {
        Ok(login) => Ok(login),
        Err(LoginError::Wrong(reason)) => {
            let peer = call.peer;
            tracing::info!(user = username, peer, reason, "A login failed");
            tokio::time::sleep(service.config.failed_login_delay).await;
            let message = format!("Unable to authenticate as {username}");
            Err(Failure::refused("bad-login", message))
        }
        Err(LoginError::Throttled(wait)) => {
            Err(Failure::refused("too-many-failed-logins", wait.to_string()))
        }
        Err(LoginError::NotNow(why)) => {
            let message =
                format!("The login of {username} cannot be checked now ({why}); try again");
            Err(Failure::refused("not-now", message))
        }
        Err(error) => Err(Failure::internal(error)),
    }
}
