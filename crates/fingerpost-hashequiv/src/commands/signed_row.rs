//! Signed rows on the wire.

use fingerpost_core::{BadArgument, Failure, Field, Shape};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use fingerpost_signatures::Signature;
use serde::{Deserialize, Serialize};

use super::arguments::TASK_FIELDS;
use crate::signed::{Offered, SignedRow};
use crate::store::Task;

/// A row with its signatures, as it is told.
#[derive(Serialize)]
pub(super) struct Shown {
    method: Method,
    taskhash: Taskhash,
    namespace: String,
    /// Null if the unihash was told without an output.
    outhash: Option<Outhash>,
    unihash: Unihash,
    signatures: Vec<String>,
}

impl From<SignedRow> for Shown {
    fn from(row: SignedRow) -> Self {
        Self {
            method: row.task.method,
            taskhash: row.task.taskhash,
            namespace: row.namespace,
            outhash: row.outhash,
            unihash: row.unihash,
            signatures: row.signatures,
        }
    }
}

/// A signature with the row that was signed, as it is offered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferedArgs {
    namespace: String,
    method: String,
    taskhash: String,
    outhash: String,
    unihash: String,
    signature: String,
}

const fn text(name: &'static str, about: &'static str) -> Field {
    Field {
        name,
        shape: Shape::Text,
        required: true,
        about,
    }
}

/// The fields of [`OfferedArgs`].
pub(super) const OFFERED_FIELDS: &[Field] = &[
    text("namespace", "name of the namespace that was signed"),
    TASK_FIELDS[0],
    TASK_FIELDS[1],
    text("outhash", "hash of what the task produced"),
    text(
        "unihash",
        "the unihash that was signed: what a report answered",
    ),
    text(
        "signature",
        "`ALGORITHM:KEYID:SECONDS:PROOF`, see docs/signatures.md",
    ),
];

/// An object of [`OFFERED_FIELDS`].
pub(super) const OFFERED_EXAMPLE: &str = "{\"namespace\": \"default\", \"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"outhash\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\", \"signature\": \"hmac-sha256:01532beb1c02694f:1795000000:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";

/// An answer of [`Shown`]'s form, for the documentation.
pub(super) const SHOWN_EXAMPLE: &str = "{\"namespace\": \"default\", \"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"outhash\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\", \"signatures\": [\"hmac-sha256:01532beb1c02694f:1795000000:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]}";

impl OfferedArgs {
    /// Whether the signature has the form of one.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.signature().map(drop)
    }

    fn signature(&self) -> Result<Signature, Failure> {
        let malformed = |error: fingerpost_signatures::Malformed| {
            Failure::refused("malformed-signature", error.to_string())
        };
        Signature::parse(&self.signature).map_err(malformed)
    }

    pub(super) fn read(self) -> Result<Offered, Failure> {
        Ok(Offered {
            signature: self.signature()?,
            namespace: self.namespace,
            task: Task {
                method: Method::new(self.method),
                taskhash: Taskhash::parse(&self.taskhash),
            },
            outhash: Outhash::parse(&self.outhash),
            unihash: Unihash::parse(&self.unihash),
        })
    }
}

/// The refusal of what comes in too large a number.
pub(super) fn too_many(max: usize) -> BadArgument {
    BadArgument(format!("at most {max} rows at once"))
}
