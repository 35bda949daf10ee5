//! `new-token`: a bearer token for programs.

use fingerpost_accounts::Namespaces;
use fingerpost_accounts::tokens::{CreateError, NewToken as Wanted};
use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape, Timestamp,
};
use fingerpost_hashequiv_proto::field::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answers::no_such_user;
use super::arguments::{self, OWN_USERNAME_FIELD};
use super::token_answer::Shown;
use crate::HashEquiv;

/// The command `new-token`.
pub(super) struct NewToken;

/// What the token shall be.
#[derive(Deserialize)]
pub(super) struct NewTokenArgs {
    #[serde(default)]
    username: Option<Name>,
    name: Name,
    permissions: Value,
    #[serde(default)]
    namespaces: Option<Vec<String>>,
    /// Seconds since 1970.
    #[serde(default)]
    expires: Option<f64>,
}

const fn field(name: &'static str, shape: Shape, required: bool, about: &'static str) -> Field {
    Field {
        name,
        shape,
        required,
        about,
    }
}

impl Argument for NewTokenArgs {
    const FIELDS: &'static [Field] = &[
        OWN_USERNAME_FIELD,
        field("name", Shape::Label, true, "what its user calls it"),
        field(
            "permissions",
            Shape::Names,
            true,
            "what it allows, as far as its user may",
        ),
        field(
            "namespaces",
            Shape::Names,
            false,
            "where it allows that; everywhere when left out",
        ),
        field(
            "expires",
            Shape::Seconds,
            false,
            "when it ends, in seconds since 1970; never when left out",
        ),
    ];
    const EXAMPLE: &'static str =
        "{\"name\": \"nightly\", \"permissions\": [\"@read\"], \"expires\": 1800000000}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }

    fn username(&self) -> Option<&str> {
        self.username.as_ref().map(|name| name.0.as_str())
    }
}

/// The token with its text, which is told once.
#[derive(Serialize)]
pub(super) struct Made {
    #[serde(flatten)]
    info: Shown,
    token: String,
}

impl Command<HashEquiv> for NewToken {
    type Args = NewTokenArgs;
    type Answer = Json<Made>;

    const DECLARATION: Declaration = Declaration {
        name: "new-token",
        summary: "Makes a bearer token that acts for a user, by default oneself; its text is told once.",
        access: Access::needs_or_self(&[Permission::UserAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"id\": \"0123456789abcdef\", \"username\": \"ci\", \"name\": \"nightly\", \"permissions\": [\"@read\"], \"namespaces\": null, \"created\": 1795000000, \"expires\": 1800000000, \"revoked\": null, \"used\": null, \"token\": \"fp_0123...\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: NewTokenArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let permissions = arguments::permission_set(&args.permissions)?;
        let namespaces = Namespaces::of(args.namespaces).ok_or_else(|| {
            let message = "namespaces has 1 to 32 names of letters, digits, '-', '_' and '.'";
            Failure::refused("bad-namespaces", message)
        })?;
        let username = arguments::or_self(args.username, call.principal)?;
        let wanted = Wanted {
            user: username.clone(),
            name: args.name.0,
            permissions,
            namespaces,
            expires: args.expires.map(timestamp).transpose()?,
        };
        match call.service.logins.tokens.create(wanted).await {
            Ok((token, info)) => Ok(Json(Made {
                info: info.into(),
                token: token.reveal().to_owned(),
            })
            .into()),
            Err(error) => Err(refusal(error, &username)),
        }
    }
}

/// The moment so many seconds after 1970 began.
fn timestamp(seconds: f64) -> Result<Timestamp, BadArgument> {
    let micros = seconds * 1e6;
    // Beyond this floats leave whole numbers out.
    if !(0.0..=9e15).contains(&micros) {
        return Err(BadArgument("expires is out of range".to_owned()));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    Ok(Timestamp(micros as i64))
}

fn refusal(error: CreateError, username: &str) -> Failure {
    let code = match error {
        CreateError::User => return no_such_user(username),
        CreateError::Form | CreateError::Accounts(_) => return Failure::internal(error),
        CreateError::Name => "bad-name",
        CreateError::Expired => "expired",
        CreateError::Scope => "beyond-user",
        CreateError::NameTaken => "token-exists",
        CreateError::TooMany => "too-many-tokens",
    };
    Failure::refused(code, error.to_string())
}
