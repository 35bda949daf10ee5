//! Many reports in one request.

use std::borrow::Cow;
use std::pin::pin;

use axum::http::StatusCode;
use fingerpost_core::Encoded;
use fingerpost_hashequiv_proto::types::Unihash;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::many::Many;
use super::problem::Problem;
use super::routes::REPORT;
use super::{Caller, JsonOptions, Shared, arguments};

/// `/v1/reports/batch`.
pub(super) struct Reports;

/// What the command answered, as it is.
pub(super) struct Answer(Encoded);

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0.bytes).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// The one field whose form the command looks at.
#[derive(Deserialize)]
struct Proposed<'a> {
    #[serde(borrow)]
    unihash: Cow<'a, str>,
}

/// So many are on their way to the disk at once, and share its commits.
pub(super) const BATCH: usize = 64;

impl Many for Reports {
    const COMMAND: &'static str = "report";
    const BATCH: usize = BATCH;
    /// The argument of the command.
    type Question = String;
    type Answer = Answer;

    /// A listing may be as long as a whole body.
    fn line_bytes_max(options: &JsonOptions) -> usize {
        options.body_bytes_max
    }

    fn read(shared: &Shared, json: &[u8]) -> Result<String, Problem> {
        read(shared, json)
    }

    async fn answer(
        shared: &Shared,
        caller: &Caller,
        arguments: Vec<String>,
    ) -> Result<Vec<Answer>, Problem> {
        run_all(Self::COMMAND, shared, caller, arguments).await
    }
}

/// Reads a report into the argument of the command.
pub(super) fn read(shared: &Shared, json: &[u8]) -> Result<String, Problem> {
    let entry = shared.entry(REPORT.command)?;
    let argument = arguments::argument(entry.fields, &REPORT, &[], Vec::new(), Some(json))?;
    // Before any of them is stored, and not by the command after some are.
    let proposed: Proposed<'_> =
        serde_json::from_str(&argument).map_err(|error| arguments::malformed(&error))?;
    if Unihash::parse(&proposed.unihash).is_valid() {
        return Ok(argument);
    }
    Err(
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-unihash")
            .detail("unihash must be 64 lower-case hex digits"),
    )
}

/// Runs a command with all arguments at once, or as soon as it is the turn of each: the
/// database takes them in groups. Each is durable when it is answered.
pub(super) async fn run_all(
    command: &'static str,
    shared: &Shared,
    caller: &Caller,
    arguments: Vec<String>,
) -> Result<Vec<Answer>, Problem> {
    let entry = shared.entry(command)?;
    let mut running = FuturesOrdered::new();
    let mut answered = Vec::with_capacity(arguments.len());
    let mut refused = None;
    for argument in &arguments {
        let mut turn = pin!(shared.turn(entry, caller));
        let turn = loop {
            tokio::select! {
                biased;
                turn = &mut turn => break turn,
                Some(one) = running.next() => answered.push(one),
            }
        };
        if let Err(problem) = turn {
            refused = Some(problem);
            break;
        }
        running.push_back(shared.run(entry, caller, argument));
    }
    // If one failed, the others have begun, and go on to their end.
    while let Some(one) = running.next().await {
        answered.push(one);
    }
    let answers: Result<Vec<_>, _> = answered.into_iter().collect();
    let answers = answers?.into_iter().map(Answer).collect();
    refused.map_or(Ok(answers), Err)
}
