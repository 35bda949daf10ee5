//! What builds ask and tell.

use serde::Serialize;

use super::{Empty, Request};
use crate::client::{Alive, FullRow, StreamOpened, UnihashRow};

/// Asks for a sign of life.
pub fn ping() -> Request<Alive> {
    Request::new("ping", Empty {})
}

#[derive(Serialize)]
struct Get<'a> {
    taskhash: &'a str,
    method: &'a str,
    all: bool,
}

/// Looks a unihash up.
pub fn get(method: &str, taskhash: &str) -> Request<Option<UnihashRow>> {
    Request::new(
        "get",
        Get {
            taskhash,
            method,
            all: false,
        },
    )
}

/// Looks a unihash up with the oldest report of its task.
pub fn get_all(method: &str, taskhash: &str) -> Request<Option<FullRow>> {
    Request::new(
        "get",
        Get {
            taskhash,
            method,
            all: true,
        },
    )
}

/// Looks for the oldest report of an output. The server wants a taskhash and
/// does not use it. Without `with_unihash` the row needs no unihash and has none.
pub fn get_outhash(
    method: &str,
    outhash: &str,
    taskhash: &str,
    with_unihash: bool,
) -> Request<Option<FullRow>> {
    #[derive(Serialize)]
    struct GetOuthash<'a> {
        outhash: &'a str,
        taskhash: &'a str,
        method: &'a str,
        with_unihash: bool,
    }
    Request::new(
        "get-outhash",
        GetOuthash {
            outhash,
            taskhash,
            method,
            with_unihash,
        },
    )
}

/// What a client tells of a finished task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report<'a> {
    /// Hash of the task's inputs.
    pub taskhash: &'a str,
    /// How `outhash` was made.
    pub method: &'a str,
    /// Hash of the task's output.
    pub outhash: &'a str,
    /// The unihash that the client proposes; must be valid.
    pub unihash: &'a str,
    /// Who reports; a login replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a str>,
    /// Name of the recipe.
    #[serde(rename = "PN", skip_serializing_if = "Option::is_none")]
    pub pn: Option<&'a str>,
    /// Version of the recipe.
    #[serde(rename = "PV", skip_serializing_if = "Option::is_none")]
    pub pv: Option<&'a str>,
    /// Revision of the recipe.
    #[serde(rename = "PR", skip_serializing_if = "Option::is_none")]
    pub pr: Option<&'a str>,
    /// Name of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<&'a str>,
    /// The listing that `outhash` is the hash of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outhash_siginfo: Option<&'a str>,
}

/// Reports an output.
pub fn report(report: &Report<'_>) -> Request<UnihashRow> {
    Request::new("report", report)
}

/// Tells that a task may be taken for a unihash.
pub fn report_equiv(method: &str, taskhash: &str, unihash: &str) -> Request<UnihashRow> {
    #[derive(Serialize)]
    struct ReportEquiv<'a> {
        taskhash: &'a str,
        method: &'a str,
        unihash: &'a str,
    }
    Request::new(
        "report-equiv",
        ReportEquiv {
            taskhash,
            method,
            unihash,
        },
    )
}

/// Opens a stream of look-ups.
pub fn get_stream() -> Request<StreamOpened> {
    Request::new("get-stream", ())
}

/// Opens a stream of questions whether a unihash exists.
pub fn exists_stream() -> Request<StreamOpened> {
    Request::new("exists-stream", ())
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn look_ups_are_spelled_as_the_reference_client_spells_them() {
        check(ping(), "{\"ping\": {}}");
        check(
            get("m", "t"),
            "{\"get\": {\"taskhash\": \"t\", \"method\": \"m\", \"all\": false}}",
        );
        check(
            get_all("m", "t"),
            "{\"get\": {\"taskhash\": \"t\", \"method\": \"m\", \"all\": true}}",
        );
        check(
            get_outhash("m", "o", "t", true),
            "{\"get-outhash\": {\"outhash\": \"o\", \"taskhash\": \"t\", \"method\": \"m\", \"with_unihash\": true}}",
        );
        check(get_stream(), "{\"get-stream\": null}");
        check(exists_stream(), "{\"exists-stream\": null}");
    }

    #[test]
    fn absent_metadata_is_left_out() {
        let mut what = Report {
            taskhash: "t",
            method: "m",
            outhash: "o",
            unihash: "u",
            ..Report::default()
        };
        let plain = "{\"report\": {\"taskhash\": \"t\", \"method\": \"m\", \"outhash\": \"o\", \"unihash\": \"u\"}}";
        check(report(&what), plain);
        what.pn = Some("zlib");
        what.outhash_siginfo = Some("a\nb");
        check(
            report(&what),
            &plain.replace("}}", ", \"PN\": \"zlib\", \"outhash_siginfo\": \"a\\nb\"}}"),
        );
        check(
            report_equiv("m", "t", "u"),
            "{\"report-equiv\": {\"taskhash\": \"t\", \"method\": \"m\", \"unihash\": \"u\"}}",
        );
    }
}
