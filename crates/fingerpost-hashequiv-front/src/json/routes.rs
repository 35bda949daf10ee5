//! Which command is which resource.

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

const fn route(command: &'static str, verb: Verb, path: &'static str) -> Route {
    Route {
        command,
        verb,
        path,
        fixed: &[],
        defaults: &[],
        absent: "not-found",
        is_looked_up: false,
    }
}

/// Every resource that is a command.
pub(super) const ROUTES: &[Route] = &[
    route("ping", Verb::Get, "/v1/ping"),
    Route {
        fixed: &[("all", "false")],
        absent: "unknown-task",
        is_looked_up: true,
        ..route("get", Verb::Get, "/v1/unihashes/{method}/{taskhash}")
    },
    Route {
        fixed: &[("all", "true")],
        absent: "unknown-task",
        ..route("get", Verb::Get, "/v1/outputs/{method}/{taskhash}")
    },
    Route {
        // It has to be there, and is only handed to an upstream.
        defaults: &[("taskhash", "\"\"")],
        absent: "unknown-output",
        ..route("get-outhash", Verb::Get, "/v1/outhashes/{method}/{outhash}")
    },
    route("report", Verb::Post, "/v1/reports"),
    route("report-equiv", Verb::Post, "/v1/equivalences"),
    route("remove", Verb::Post, "/v1/removals"),
    route("get-stats", Verb::Get, "/v1/statistics"),
    route("reset-stats", Verb::Delete, "/v1/statistics"),
    route("get-db-usage", Verb::Get, "/v1/database/usage"),
    route("get-db-query-columns", Verb::Get, "/v1/database/columns"),
    route("gc-status", Verb::Get, "/v1/gc"),
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

/// Commands that are no resource, and why.
#[cfg(test)]
pub(super) const WITHOUT: &[(&str, &str)] = &[
    ("get-stream", "many look-ups are POST /v1/lookups"),
    ("exists-stream", "planned with many look-ups of unihashes"),
    (
        "gc-mark-stream",
        "POST /v1/gc/marks once for each condition",
    ),
    ("auth", "each request carries its own login"),
    ("become-user", "each request carries its own login"),
];
