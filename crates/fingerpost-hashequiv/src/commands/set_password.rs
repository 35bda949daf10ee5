//! `set-password`: a password that a person chose.

use fingerpost_accounts::passwords::PasswordError;
use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape,
};
use fingerpost_hashequiv_proto::field::Name;
use serde::Deserialize;

use super::answers::{Username, no_such_user};
use super::arguments::{self, OWN_USERNAME_FIELD};
use crate::HashEquiv;

/// The command `set-password`.
pub(super) struct SetPassword;

/// The password of whom. Does not print it.
#[derive(Deserialize)]
pub(super) struct SetPasswordArgs {
    #[serde(default)]
    username: Option<Name>,
    password: Name,
}

impl Argument for SetPasswordArgs {
    const FIELDS: &'static [Field] = &[
        OWN_USERNAME_FIELD,
        Field {
            name: "password",
            shape: Shape::Password,
            required: true,
            about: "8 to 512 bytes that do not look like a token",
        },
    ];
    const EXAMPLE: &'static str = "{\"password\": \"...\"}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }

    fn username(&self) -> Option<&str> {
        self.username.as_ref().map(|name| name.0.as_str())
    }
}

impl Command<HashEquiv> for SetPassword {
    type Args = SetPasswordArgs;
    type Answer = Json<Username>;

    const DECLARATION: Declaration = Declaration {
        name: "set-password",
        summary: "Gives a user, by default oneself, a password beside their tokens.",
        access: Access::needs_or_self(&[Permission::UserAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never {
            why: "accounts are never remembered",
        },
        answer_example: "{\"username\": \"ann\"}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: SetPasswordArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let username = arguments::or_self(args.username, call.principal)?;
        let passwords = &call.service.logins.passwords;
        match passwords.set(&username, &args.password.0).await {
            Ok(true) => Ok(Json(Username { username }).into()),
            Ok(false) => Err(no_such_user(&username)),
            Err(error @ PasswordError::Unfit) => {
                Err(Failure::refused("unfit-password", error.to_string()))
            }
            Err(error @ PasswordError::Busy) => Err(Failure::refused("not-now", error.to_string())),
            Err(error) => Err(Failure::internal(error)),
        }
    }
}
