//! `put-signature`: the signature of one row.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission,
};
use serde::Serialize;

use super::arguments;
use super::signed_row::{OFFERED_EXAMPLE, OFFERED_FIELDS, OfferedArgs};
use crate::HashEquiv;
use crate::signed::Put;

/// The command `put-signature`.
pub(super) struct PutSignature;

/// That it is kept.
#[derive(Serialize)]
pub(super) struct Kept {
    stored: bool,
}

impl Argument for OfferedArgs {
    const FIELDS: &'static [Field] = OFFERED_FIELDS;
    const EXAMPLE: &'static str = OFFERED_EXAMPLE;

    fn parse(text: &str) -> Result<Self, BadArgument> {
        arguments::object(text)
    }

    fn check(&self) -> Result<(), Failure> {
        Self::check(self)
    }
}

impl Command<HashEquiv> for PutSignature {
    type Args = OfferedArgs;
    type Answer = Json<Kept>;

    const DECLARATION: Declaration = Declaration {
        name: "put-signature",
        summary: "Keeps a signature of a row, which must be exactly the stored one. It is not \
                  verified here.",
        access: Access::needs(&[Permission::Read, Permission::Report]),
        availability: Availability::Writable,
        cost: Cost::Report,
        effect: Effect::Report,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"stored\": true}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: OfferedArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let put = call.service.put_signatures(vec![args.read()?]).await?;
        match put.first() {
            Some(Put::Stored) => Ok(Json(Kept { stored: true }).into()),
            Some(Put::Mismatch) => Err(Failure::refused(
                Put::Mismatch.code(),
                "the row has another unihash or lives in another namespace",
            )),
            _ => Err(Failure::refused(Put::NoRow.code(), "there is no such row")),
        }
    }
}
