//! `clean-unused`: outputs that nothing refers to.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Json, Kind, Outcome, Permission, Shape, Timestamp,
};
use serde::Deserialize;

use super::answers::Count;
use super::arguments;
use crate::HashEquiv;

/// The longest age, some 10,000 years: the reference's calendar ends there.
const AGE_SECONDS_MAX: f64 = 3_652_059.0 * 86_400.0;

/// The command `clean-unused`.
pub(super) struct CleanUnused;

/// The argument of `clean-unused`.
#[derive(Deserialize)]
pub(super) struct CleanUnusedArgs {
    max_age_seconds: f64,
}

impl Argument for CleanUnusedArgs {
    const FIELDS: &'static [Field] = &[Field {
        name: "max_age_seconds",
        shape: Shape::Seconds,
        required: true,
        about: "rows that are older go",
    }];
    const EXAMPLE: &'static str = "{\"max_age_seconds\": 604800}";

    fn parse(text: &str) -> Result<Self, BadArgument> {
        let args: Self = arguments::object(text)?;
        if args.max_age_seconds.abs() > AGE_SECONDS_MAX {
            return Err(BadArgument(
                "max_age_seconds is beyond the calendar".to_owned(),
            ));
        }
        Ok(args)
    }
}

impl CleanUnusedArgs {
    /// The moment before which a row is old. The reference adds the age to the
    /// clock, so that only a negative one protects anything; `ignores_age` does
    /// so too. Otherwise the sign means nothing, since jobs that were written
    /// for the reference negate the age.
    fn before(&self, now: Timestamp, ignores_age: bool) -> Timestamp {
        let micros = (self.max_age_seconds * 1e6) as i64;
        now.minus_micros(if ignores_age { -micros } else { micros.abs() })
    }
}

impl Command<HashEquiv> for CleanUnused {
    type Args = CleanUnusedArgs;
    type Answer = Json<Count>;

    const DECLARATION: Declaration = Declaration {
        name: "clean-unused",
        summary: "Removes output rows of a certain age whose task has no unihash.",
        access: Access::needs(&[Permission::DbAdmin]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "{\"count\": 1}",
    };

    async fn run(
        call: Call<'_, HashEquiv>,
        args: CleanUnusedArgs,
    ) -> Result<Outcome<Self::Answer>, Failure> {
        let service = call.service;
        let before = args.before(service.now(), service.config.clean_unused_ignores_age);
        let count = service.store.clean_unused(service.at.own(), before).await?;
        service.metrics.rows_removed.inc_by(count);
        Ok(Json(Count { count }).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_older_than_the_age_go() {
        let args = CleanUnusedArgs::parse("{\"max_age_seconds\": 1.5}").unwrap();
        let now = Timestamp(10_000_000);
        assert_eq!(args.before(now, false), Timestamp(8_500_000));
        assert_eq!(args.before(now, true), Timestamp(11_500_000));
        let negated = CleanUnusedArgs::parse("{\"max_age_seconds\": -1.5}").unwrap();
        assert_eq!(negated.before(now, false), Timestamp(8_500_000));
        assert_eq!(negated.before(now, true), Timestamp(8_500_000));
    }

    #[test]
    fn ages_that_are_no_numbers_are_refused() {
        for text in [
            "{\"max_age_seconds\": \"5\"}",
            "{}",
            "{\"max_age_seconds\": 1e20}",
            "null",
        ] {
            assert!(CleanUnusedArgs::parse(text).is_err(), "{text}");
        }
    }
}
