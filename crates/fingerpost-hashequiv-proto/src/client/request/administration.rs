//! What cleaning jobs and administrators ask for.

use serde::Serialize;
use serde::ser::Serializer;

use super::{Empty, Request};
use crate::client::{Columns, Count, GcStatus, StatsAnswer, StreamOpened, Tasks, Usage};

/// The conditions of `remove` and `gc-mark`: columns and the values they must have.
pub type Where = [(String, String)];

struct Conditions<'a>(&'a Where);

impl Serialize for Conditions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(column, value)| (column, value)))
    }
}

/// `{"mark": .., "where": ..}`, the argument of `gc-mark` and a line of
/// `gc-mark-stream`.
#[derive(Serialize)]
pub(in crate::client) struct Mark<'a> {
    mark: &'a str,
    r#where: Conditions<'a>,
}

impl<'a> Mark<'a> {
    pub(in crate::client) const fn new(mark: &'a str, conditions: &'a Where) -> Self {
        Self {
            mark,
            r#where: Conditions(conditions),
        }
    }
}

/// Opens a stream of conditions to mark by.
pub fn gc_mark_stream() -> Request<StreamOpened> {
    Request::new("gc-mark-stream", ())
}

/// Asks for request statistics.
pub fn get_stats() -> Request<StatsAnswer> {
    Request::new("get-stats", ())
}

/// Resets request statistics; answers them as they were.
pub fn reset_stats() -> Request<StatsAnswer> {
    Request::new("reset-stats", ())
}

/// Waits until the server has stored what it learned from its upstream. Not
/// bounded in time by the server.
pub fn backfill_wait() -> Request<Tasks> {
    Request::new("backfill-wait", ())
}

/// Removes rows.
pub fn remove(conditions: &Where) -> Request<Count> {
    #[derive(Serialize)]
    struct Remove<'a> {
        r#where: Conditions<'a>,
    }
    Request::new(
        "remove",
        Remove {
            r#where: Conditions(conditions),
        },
    )
}

/// Removes outputs that no mapping needs and that are older than this, in
/// seconds.
pub fn clean_unused(max_age_seconds: f64) -> Request<Count> {
    /// The reference client sends whole numbers as integers.
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Seconds {
        Whole(i64),
        Fraction(f64),
    }
    #[derive(Serialize)]
    struct CleanUnused {
        max_age_seconds: Seconds,
    }
    let whole = max_age_seconds.fract() == 0.0 && max_age_seconds.abs() < 1e15;
    let max_age_seconds = match whole {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        true => Seconds::Whole(max_age_seconds as i64),
        false => Seconds::Fraction(max_age_seconds),
    };
    Request::new("clean-unused", CleanUnused { max_age_seconds })
}

/// Starts or goes on with a collection, and marks mappings to keep.
pub fn gc_mark(mark: &str, conditions: &Where) -> Request<Count> {
    Request::new("gc-mark", Mark::new(mark, conditions))
}

/// Removes every mapping without the mark, which must be the current one.
pub fn gc_sweep(mark: &str) -> Request<Count> {
    #[derive(Serialize)]
    struct Sweep<'a> {
        mark: &'a str,
    }
    Request::new("gc-sweep", Sweep { mark })
}

/// Asks how the collection stands.
pub fn gc_status() -> Request<GcStatus> {
    Request::new("gc-status", Empty {})
}

/// Asks for the number of rows by table.
pub fn get_db_usage() -> Request<Usage> {
    Request::new("get-db-usage", Empty {})
}

/// Asks which columns conditions may name.
pub fn get_db_query_columns() -> Request<Columns> {
    Request::new("get-db-query-columns", Empty {})
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn conditions() -> Vec<(String, String)> {
        vec![
            ("method".to_owned(), "m".to_owned()),
            ("unihash".to_owned(), "é".to_owned()),
        ]
    }

    #[test]
    fn administration_is_spelled_as_the_reference_client_spells_it() {
        let both = "{\"method\": \"m\", \"unihash\": \"\\u00e9\"}";
        check(
            remove(&conditions()),
            &format!("{{\"remove\": {{\"where\": {both}}}}}"),
        );
        check(
            gc_mark("K", &conditions()),
            &format!("{{\"gc-mark\": {{\"mark\": \"K\", \"where\": {both}}}}}"),
        );
        check(
            gc_mark("K", &[]),
            "{\"gc-mark\": {\"mark\": \"K\", \"where\": {}}}",
        );
        check(gc_sweep("K"), "{\"gc-sweep\": {\"mark\": \"K\"}}");
        check(gc_mark_stream(), "{\"gc-mark-stream\": null}");
        check(gc_status(), "{\"gc-status\": {}}");
        check(
            clean_unused(3600.0),
            "{\"clean-unused\": {\"max_age_seconds\": 3600}}",
        );
        check(
            clean_unused(-0.5),
            "{\"clean-unused\": {\"max_age_seconds\": -0.5}}",
        );
        check(get_stats(), "{\"get-stats\": null}");
        check(reset_stats(), "{\"reset-stats\": null}");
        check(backfill_wait(), "{\"backfill-wait\": null}");
        check(get_db_usage(), "{\"get-db-usage\": {}}");
        check(get_db_query_columns(), "{\"get-db-query-columns\": {}}");
    }
}
