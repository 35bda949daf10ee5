//! `revoke-token`: a bearer token ends.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape,
};
use fingerpost_hashequiv_proto::field::Name;
use serde::{Deserialize, Serialize};

use super::arguments::{self, OWN_USERNAME_FIELD};
use crate::HashEquiv;

/// The command `revoke-token`.
pub(super) struct RevokeToken;

/// Which token of whom.
#[derive(Deserialize)]
pub(super) struct RevokeTokenArgs {
    #[serde(default)]
    username: Option<Name>,
    id: Name,
}

impl Argument for RevokeTokenArgs {
    const FIELDS: &'static [Field] = &[
        OWN_USERNAME_FIELD,
        Field {
            name: "id",
            shape: Shape::Text,
            required: true,
            about: "the token's id, the first 16 digits of its text",
        },
    ];
    const EXAMPLE: &'static str = "{\"id\": \"0123456789abcdef\"}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }

    fn username(&self) -> Option<&str> {
        self.username.as_ref().map(|name| name.0.as_str())
    }
}

/// The token that ended.
#[derive(Serialize)]
pub(super) struct Revoked {
    id: String,
}

impl Command<HashEquiv> for RevokeToken {
    type Args = RevokeTokenArgs;
    type Answer = Json<Revoked>;

    const DECLARATION: Declaration = Declaration {
        name: "revoke-token",
        summary: "Ends a bearer token of a user, by default of oneself, for good.",
        access: Access::needs_or_self(&[Permission::UserAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"id\": \"0123456789abcdef\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: RevokeTokenArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let username = arguments::or_self(args.username, call.principal)?;
        let id = args.id.0;
        let revoked = call.service.logins.tokens.revoke(&username, &id).await;
        match revoked.map_err(Failure::internal)? {
            true => Ok(Json(Revoked { id }).into()),
            false => {
                let message = format!("{username} has no token {id} that was not revoked before");
                Err(Failure::refused("no-such-token", message))
            }
        }
    }
}
