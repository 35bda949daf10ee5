//! `gc-mark-stream`: `gc-mark` one a line.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answers::Count;
use super::arguments::{MARK_FIELD, WHERE_FIELD, Where};
use crate::HashEquiv;

/// The command `gc-mark-stream`.
pub(super) struct GcMarkStream;

/// A line of `gc-mark-stream`. What is wrong with it is told, so it is read
/// where that can be done.
pub(super) struct MarkLine(String);

impl Argument for MarkLine {
    const FIELDS: &'static [Field] = &[MARK_FIELD, WHERE_FIELD];
    const EXAMPLE: &'static str = "{\"mark\": \"2026-11-22\", \"where\": {\"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\"}}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        Ok(Self(text.to_owned()))
    }
}

impl MarkLine {
    fn read(&self) -> Result<(String, Where), Failure> {
        let bad = |error: serde_json::Error| BadArgument(error.to_string());
        let value: &RawValue = serde_json::from_str(&self.0).map_err(|_| {
            let message = format!("Could not decode JSONL input '{}'", self.0);
            Failure::refused("bad-jsonl", message)
        })?;
        let line: RawLine<'_> = serde_json::from_str(value.get()).map_err(bad)?;
        let mark = line.mark.ok_or_else(|| missing("mark"))?;
        let conditions = line.r#where.ok_or_else(|| missing("where"))?;
        Ok((
            serde_json::from_str(mark.get()).map_err(bad)?,
            serde_json::from_str(conditions.get()).map_err(bad)?,
        ))
    }
}

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow)]
    mark: Option<&'a RawValue>,
    #[serde(borrow)]
    r#where: Option<&'a RawValue>,
}

fn missing(key: &str) -> Failure {
    // The doubled quotes and the blank at the end are the reference's.
    Failure::refused(
        "missing-key",
        format!("Input line is missing key ''{key}'' "),
    )
}

impl Command<HashEquiv> for GcMarkStream {
    type Args = MarkLine;
    type Answer = Json<Count>;

    const DECLARATION: Declaration = Declaration {
        name: "gc-mark-stream",
        summary: "Marks rows to be kept, one condition a line.",
        access: Access::needs(&[Permission::DbAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Stream,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"count\": 1}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        line: MarkLine,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let (mark, conditions) = line.read()?;
        let service = call.service;
        let count = service
            .store
            .gc_mark(service.at.own(), mark, conditions.0, service.now())
            .await?;
        Ok(Json(Count { count }).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> String {
        MarkLine(line.to_owned())
            .read()
            .map(|_| ())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        assert_eq!(failure("x y"), "Could not decode JSONL input 'x y'");
        assert_eq!(
            failure("{\"mark\": \"K\"}"),
            "Input line is missing key ''where'' "
        );
        assert_eq!(
            failure("{\"where\": {}}"),
            "Input line is missing key ''mark'' "
        );
    }

    #[test]
    fn lines_of_another_form_are_bad_arguments() {
        for line in [
            "[]",
            "{\"mark\": 5, \"where\": {}}",
            "{\"mark\": \"K\", \"where\": 5}",
        ] {
            assert!(failure(line).starts_with("bad argument"), "{line}");
        }
    }
}
