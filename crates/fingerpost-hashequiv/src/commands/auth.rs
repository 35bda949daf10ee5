//! `auth`: a login.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Reply, Shape,
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
            about: "the token that `new-user` or `refresh-token` gave",
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
        let service = call.service;
        let username = args.username.0;
        let permissions = service
            .accounts
            .authenticate(&username, &args.token.0)
            .await
            .map_err(Failure::internal)?;
        let Some(permissions) = permissions else {
            service.metrics.shared.logins_failed.inc();
            tracing::info!(user = %username, peer = call.peer, "A login failed");
            tokio::time::sleep(service.config.failed_login_delay).await;
            let message = format!("Unable to authenticate as {username}");
            return Err(Failure::refused("bad-login", message));
        };
        let principal = call.principal.login(&username, permissions);
        let answer = LoggedIn {
            result: true,
            username,
            permissions: permissions.stored(),
        };
        Ok(Outcome {
            reply: Reply::Object(Json(answer)),
            login: Some(principal),
        })
    }
}
