//! Which command is which resource.

use fingerpost_core::{Entry, Permission, Registry};
use fingerpost_hashequiv::HashEquiv;
use fingerpost_hashequiv::progress::{Job, Running};
use serde_json::{Value, json};

/// A command as a resource.
#[derive(Debug)]
pub(super) struct Route {
    /// The command's name.
    pub(super) command: &'static str,
    pub(super) verb: Verb,
    /// Below the host; `{name}` stands for a field of the command's argument.
    pub(super) path: &'static str,
    /// Fields with a value of their own on this route.
    pub(super) fixed: &'static [(&'static str, &'static str)],
    /// Values of fields that a client does not give.
    pub(super) defaults: &'static [(&'static str, &'static str)],
    /// The code of the problem that there is nothing.
    pub(super) absent: &'static str,
    /// Whether the answer may be remembered by a client for a while.
    pub(super) is_looked_up: bool,
    /// The command whose answer it has, if it is another's.
    pub(super) answers_as: Option<&'static str>,
    /// Whether the answer tells of running jobs too, which the native one does not.
    pub(super) shows_progress: bool,
}

/// The methods of HTTP that are used. What is not in the path comes from the query
/// with the first and the last, else from the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

/// Many look-ups in one request, which stand for the native stream.
pub(super) const LOOKUPS: &str = "/v1/lookups";
/// Many questions whether a unihash is known.
pub(super) const EXISTENCE: &str = "/v1/existence";
/// Many reports in one request.
pub(super) const REPORTS: &str = "/v1/reports/batch";

/// Many look-ups of rows with their signatures.
pub(super) const SIGNED_LOOKUPS: &str = "/v1/lookups/signed";
/// Many reports that are answered with what they came from.
pub(super) const SIGNED_REPORTS: &str = "/v1/reports/signed/batch";
/// Many signatures.
pub(super) const SIGNATURES: &str = "/v1/signatures";
/// The look-up of one task.
pub(super) const LOOKED_UP: &str = "/v1/unihashes/{method}/{taskhash}";

/// The command of that.
pub(super) const LOOK_UP: &str = "get";

pub(super) const REPORT: Route = route("report", Verb::Post, "/v1/reports");

const fn route(command: &'static str, verb: Verb, path: &'static str) -> Route {
    Route {
        command,
        verb,
        path,
        fixed: &[],
        defaults: &[],
        absent: "not-found",
        is_looked_up: false,
        answers_as: None,
        shows_progress: false,
    }
}

impl Route {
    /// Whether the answer may be another one when something is deleted: what needs the
    /// right to read is about what the namespace has.
    pub(super) fn tells_epoch(&self, entry: &Entry<HashEquiv>) -> bool {
        entry.declaration.access.needs.contains(&Permission::Read)
    }
}

/// Every resource that is a command.
pub(super) const ROUTES: &[Route] = &[
    route("ping", Verb::Get, "/v1/ping"),
    Route {
        fixed: &[("all", "false")],
        absent: "unknown-task",
        is_looked_up: true,
        ..route(LOOK_UP, Verb::Get, LOOKED_UP)
    },
    Route {
        fixed: &[("all", "true")],
        answers_as: Some("get-outhash"),
        absent: "unknown-task",
        ..route(LOOK_UP, Verb::Get, "/v1/outputs/{method}/{taskhash}")
    },
    Route {
        // It has to be there, and is only handed to an upstream.
        defaults: &[("taskhash", "\"\"")],
        absent: "unknown-output",
        ..route("get-outhash", Verb::Get, "/v1/outhashes/{method}/{outhash}")
    },
    REPORT,
    Route {
        absent: "unknown-task",
        ..route(
            "get-signed",
            Verb::Get,
            "/v1/unihashes/{method}/{taskhash}/signed",
        )
    },
    route("report-signed", Verb::Post, "/v1/reports/signed"),
    route(
        "put-signature",
        Verb::Post,
        "/v1/unihashes/{method}/{taskhash}/signatures",
    ),
    route("report-equiv", Verb::Post, "/v1/equivalences"),
    route("remove", Verb::Post, "/v1/removals"),
    route("get-stats", Verb::Get, "/v1/statistics"),
    route("reset-stats", Verb::Delete, "/v1/statistics"),
    route("get-db-usage", Verb::Get, "/v1/database/usage"),
    route("get-db-query-columns", Verb::Get, "/v1/database/columns"),
    Route {
        shows_progress: true,
        ..route("gc-status", Verb::Get, "/v1/gc")
    },
    route("gc-mark", Verb::Post, "/v1/gc/marks"),
    route("gc-sweep", Verb::Post, "/v1/gc/sweeps"),
    route("clean-unused", Verb::Post, "/v1/gc/unused"),
    route("backfill-wait", Verb::Get, "/v1/backfill"),
    route("get-all-users", Verb::Get, "/v1/users"),
    route("new-user", Verb::Post, "/v1/users"),
    Route {
        absent: "no-such-user",
        ..route("get-user", Verb::Get, "/v1/users/{username}")
    },
    route("delete-user", Verb::Delete, "/v1/users/{username}"),
    route(
        "set-user-perms",
        Verb::Put,
        "/v1/users/{username}/permissions",
    ),
    route("refresh-token", Verb::Post, "/v1/users/{username}/token"),
    route("get-tokens", Verb::Get, "/v1/users/{username}/tokens"),
    route("new-token", Verb::Post, "/v1/users/{username}/tokens"),
    route(
        "revoke-token",
        Verb::Delete,
        "/v1/users/{username}/tokens/{id}",
    ),
    route("set-password", Verb::Put, "/v1/users/{username}/password"),
    route(
        "remove-password",
        Verb::Delete,
        "/v1/users/{username}/password",
    ),
];

/// An example of what a route answers.
pub(super) fn answer_example(commands: &Registry<HashEquiv>, route: &Route) -> Value {
    let command = route.answers_as.unwrap_or(route.command);
    let found = commands.find(command, false);
    let example = found.map_or("null", |(_, entry)| entry.declaration.answer_example);
    let mut example = serde_json::from_str(example).unwrap_or(Value::Null);
    if route.shows_progress {
        let sweep = Running {
            job: Job::Sweep,
            count: 1,
            rows: 400,
        };
        example[RUNNING] = progress(&[sweep], example["remove"].as_u64());
    }
    example
}

/// The field that tells of running jobs.
const RUNNING: &str = "running";

/// Adds the running jobs to the answer of `gc-status`.
pub(super) fn with_progress(answer: &[u8], jobs: &[Running]) -> Option<Vec<u8>> {
    let mut answer: Value = serde_json::from_slice(answer).ok()?;
    let jobs = progress(jobs, answer["remove"].as_u64());
    answer.as_object_mut()?.insert(RUNNING.to_owned(), jobs);
    serde_json::to_vec(&answer).ok()
}

/// How far jobs are. Of a sweep it is known what it has to do, but for a batch: what went,
/// and `left`.
fn progress(jobs: &[Running], left: Option<u64>) -> Value {
    let told = jobs.iter().map(|running| {
        let left = left.filter(|_| running.job == Job::Sweep);
        json!({
            "job": running.job.as_str(),
            "count": running.count,
            "rows": running.rows,
            "total": left.map(|left| running.rows.saturating_add(left)),
        })
    });
    told.collect()
}

/// The fields that a client can choose from.
pub(super) fn answer_fields(commands: &Registry<HashEquiv>, route: &Route) -> Vec<String> {
    match answer_example(commands, route) {
        Value::Object(fields) => fields.into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    }
}

/// Commands that are no resource, and why.
#[cfg(test)]
pub(super) const WITHOUT: &[(&str, &str)] = &[
    ("get-stream", "many look-ups are POST /v1/lookups"),
    ("put-signatures", "many signatures are POST /v1/signatures"),
    ("exists-stream", "many unihashes are POST /v1/existence"),
    (
        "gc-mark-stream",
        "POST /v1/gc/marks once for each condition",
    ),
    ("auth", "each request carries its own login"),
    ("become-user", "each request carries its own login"),
];
