//! `put-signatures`: signatures of many rows.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape,
};
use serde::{Deserialize, Serialize};

use super::arguments;
use super::signed_row::{OfferedArgs, too_many};
use crate::HashEquiv;
use crate::signed::{PUT_MAX, Put};

/// The command `put-signatures`.
pub(super) struct PutSignatures;

/// The argument of `put-signatures`.
#[derive(Deserialize)]
pub(super) struct PutSignaturesArgs {
    rows: Vec<OfferedArgs>,
}

impl Argument for PutSignaturesArgs {
    const FIELDS: &'static [Field] = &[Field {
        name: "rows",
        shape: Shape::List,
        required: true,
        about: "objects of the fields of `put-signature`, at most 1,000",
    }];
    const EXAMPLE: &'static str = "{\"rows\": [{\"namespace\": \"default\", \"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"outhash\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\", \"signature\": \"hmac-sha256:01532beb1c02694f:1795000000:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        let args: Self = arguments::object(text)?;
        match args.rows.len() {
            0..=PUT_MAX => Ok(args),
            _ => Err(too_many(PUT_MAX)),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        self.rows.iter().try_for_each(OfferedArgs::check)
    }
}

/// What became of each, in order.
#[derive(Serialize)]
pub(super) struct Outcomes {
    outcomes: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    status: u16,
    code: &'static str,
}

impl Command<HashEquiv> for PutSignatures {
    type Args = PutSignaturesArgs;
    type Answer = Json<Outcomes>;

    const DECLARATION: Declaration = Declaration {
        name: "put-signatures",
        summary: "Keeps signatures of many rows, and says of each what became of it: `stored`, \
                  `signature-mismatch` if the row is another one, `no-such-row`. One that is \
                  malformed refuses all.",
        access: Access::needs(&[Permission::Read, Permission::Report]),
        availability: Availability::Writable,
        cost: Cost::Report,
        effect: Effect::Report,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"outcomes\": [{\"status\": 200, \"code\": \"stored\"}]}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: PutSignaturesArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let offered: Result<_, _> = args.rows.into_iter().map(OfferedArgs::read).collect();
        let put = call.service.put_signatures(offered?).await?;
        let told = |put: Put| Told {
            status: put.status(),
            code: put.code(),
        };
        let outcomes = put.into_iter().map(told).collect();
        Ok(Json(Outcomes { outcomes }).into())
    }
}
