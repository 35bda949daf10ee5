//! Whether many unihashes are known.

use serde::{Deserialize, Serialize};

use super::many::Many;
use super::problem::Problem;
use super::{Caller, JsonOptions, Shared, arguments};

/// `/v1/existence`.
pub(super) struct Existence;

/// A question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with unihash")]
pub(super) struct Asked {
    unihash: String,
}

/// Its answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    unihash: String,
    /// Whether any task has it.
    exists: bool,
}

impl Many for Existence {
    const COMMAND: &'static str = "exists-stream";
    const BATCH: usize = 1000;
    type Question = Asked;
    type Answer = Answer;

    fn line_bytes_max(options: &JsonOptions) -> usize {
        options.line_bytes_max
    }

    fn read(_: &Shared, json: &[u8]) -> Result<Asked, Problem> {
        arguments::of_object(json)
    }

    async fn answer(
        _: &Shared,
        caller: &Caller,
        asked: Vec<Asked>,
    ) -> Result<Vec<Answer>, Problem> {
        let unihashes = asked.iter().map(|one| one.unihash.clone()).collect();
        let known = caller.service().exist(unihashes).await;
        let known = known.map_err(|failure| Problem::of(&failure, Self::COMMAND, caller))?;
        let answers = asked.into_iter().zip(known).map(|(one, exists)| Answer {
            unihash: one.unihash,
            exists,
        });
        Ok(answers.collect())
    }
}
