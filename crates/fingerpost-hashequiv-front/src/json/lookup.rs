//! Many look-ups: the unihashes of tasks.

use fingerpost_hashequiv_proto::types::Unihash;
use serde::{Deserialize, Serialize};

use super::many::Many;
use super::problem::Problem;
use super::{Caller, JsonOptions, Shared, arguments};

/// `/v1/lookups`.
pub(super) struct LookUps;

/// A question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with method and taskhash")]
pub(super) struct Task {
    method: String,
    taskhash: String,
}

/// Its answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    method: String,
    taskhash: String,
    /// Null if nothing is known.
    unihash: Option<Unihash>,
}

impl Many for LookUps {
    const COMMAND: &'static str = "get-stream";
    const BATCH: usize = 1000;
    type Question = Task;
    type Answer = Answer;

    fn line_bytes_max(options: &JsonOptions) -> usize {
        options.line_bytes_max
    }

    fn read(_: &Shared, json: &[u8]) -> Result<Task, Problem> {
        arguments::of_object(json)
    }

    /// What memory knows, then the rest together.
    async fn answer(_: &Shared, caller: &Caller, tasks: Vec<Task>) -> Result<Vec<Answer>, Problem> {
        let keys = tasks.iter().map(|task| (&*task.method, &*task.taskhash));
        let found = caller.service().remembered_unihashes(keys).await;
        let found = found.map_err(|failure| Problem::of(&failure, Self::COMMAND, caller))?;
        let answers = tasks.into_iter().zip(found).map(|(task, unihash)| Answer {
            method: task.method,
            taskhash: task.taskhash,
            unihash,
        });
        Ok(answers.collect())
    }
}
