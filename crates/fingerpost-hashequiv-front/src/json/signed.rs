//! Many look-ups of signed rows, many signatures, and many reports that are answered
//! with what they came from.

use axum::http::StatusCode;
use fingerpost_core::Failure;
use fingerpost_hashequiv::signed::SignedRow;
use fingerpost_hashequiv::store;
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use fingerpost_signatures::Signature;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::many::Many;
use super::problem::Problem;
use super::reports::{self, Answer};
use super::{Caller, JsonOptions, Shared, arguments};

/// `/v1/lookups/signed`.
pub(super) struct SignedLookUps;

/// A question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with method and taskhash")]
pub(super) struct Task {
    method: String,
    taskhash: String,
}

/// Its answer. All but the task is null if nothing is known.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    method: String,
    taskhash: String,
    namespace: Option<String>,
    outhash: Option<Outhash>,
    unihash: Option<Unihash>,
    signatures: Vec<String>,
}

impl Found {
    fn new(task: Task, row: Option<SignedRow>) -> Self {
        let (mut namespace, mut outhash, mut unihash) = (None, None, None);
        let mut signatures = Vec::new();
        if let Some(row) = row {
            (namespace, outhash) = (Some(row.namespace), row.outhash);
            (unihash, signatures) = (Some(row.unihash), row.signatures);
        }
        Self {
            method: task.method,
            taskhash: task.taskhash,
            namespace,
            outhash,
            unihash,
            signatures,
        }
    }
}

impl Many for SignedLookUps {
    const COMMAND: &'static str = "get-signed";
    /// Each takes several looks into the database.
    const BATCH: usize = 250;
    type Question = Task;
    type Answer = Found;

    fn line_bytes_max(options: &JsonOptions) -> usize {
        options.line_bytes_max
    }

    fn read(_: &Shared, json: &[u8]) -> Result<Task, Problem> {
        arguments::of_object(json)
    }

    async fn answer(_: &Shared, caller: &Caller, tasks: Vec<Task>) -> Result<Vec<Found>, Problem> {
        let asked = tasks.iter().map(|task| store::Task {
            method: Method::new(&*task.method),
            taskhash: Taskhash::parse(&task.taskhash),
        });
        let found = caller.service().signed_rows(asked.collect()).await;
        let found = found.map_err(|failure| Problem::of(&failure, Self::COMMAND, caller))?;
        let answers = tasks.into_iter().zip(found);
        Ok(answers.map(|(task, row)| Found::new(task, row)).collect())
    }
}

/// `/v1/reports/signed/batch`.
pub(super) struct SignedReports;

impl Many for SignedReports {
    const COMMAND: &'static str = "report-signed";
    const BATCH: usize = reports::BATCH;
    type Question = String;
    type Answer = Answer;

    fn line_bytes_max(options: &JsonOptions) -> usize {
        options.body_bytes_max
    }

    fn read(shared: &Shared, json: &[u8]) -> Result<String, Problem> {
        reports::read(shared, json)
    }

    async fn answer(
        shared: &Shared,
        caller: &Caller,
        arguments: Vec<String>,
    ) -> Result<Vec<Answer>, Problem> {
        reports::run_all(Self::COMMAND, shared, caller, arguments).await
    }
}

/// `/v1/signatures`.
pub(super) struct Signatures;

/// A signature with the row that was signed.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offered {
    namespace: String,
    method: String,
    taskhash: String,
    outhash: String,
    unihash: String,
    signature: String,
}

/// What the command says of each.
#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<Value>,
}

impl Many for Signatures {
    const COMMAND: &'static str = "put-signatures";
    /// What the database takes in one transaction.
    const BATCH: usize = 200;
    type Question = Offered;
    type Answer = Value;

    fn line_bytes_max(options: &JsonOptions) -> usize {
        options.line_bytes_max
    }

    fn read(_: &Shared, json: &[u8]) -> Result<Offered, Problem> {
        let offered: Offered = arguments::of_object(json)?;
        // Before any of them is stored.
        match Signature::parse(&offered.signature) {
            Ok(_) => Ok(offered),
            Err(error) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Err(Problem::new(status, "malformed-signature").detail(error.to_string()))
            }
        }
    }

    async fn answer(
        shared: &Shared,
        caller: &Caller,
        offered: Vec<Offered>,
    ) -> Result<Vec<Value>, Problem> {
        let entry = shared.entry(Self::COMMAND)?;
        if caller.service().is_read_only() {
            return Err(shared.read_only(entry, caller).await);
        }
        for _ in &offered {
            shared.turn(entry, caller).await?;
        }
        let argument = json!({"rows": offered}).to_string();
        let encoded = shared.run(entry, caller, &argument).await?;
        let told: Outcomes = serde_json::from_slice(&encoded.bytes)
            .map_err(|error| Problem::of(&Failure::internal(error), Self::COMMAND, caller))?;
        Ok(told.outcomes)
    }
}
