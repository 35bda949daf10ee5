//! What a path below a repository asks for, and what is said of paths that ask
//! for nothing. Order and texts are the reference server's.

use axum::http::StatusCode;
use fingerpost_hg_proto::API_NAME;

use crate::refusal::Refusal;

/// What is asked for below a repository's own path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'path> {
    /// The repository itself; a `cmd` in the query says more.
    Repository,
    /// The list of APIs.
    Apis,
    /// The root of the v2 API.
    ApiRoot,
    /// A command of the v2 API.
    Command(CommandPath<'path>),
    /// Anything else; protocol v1 has no paths below a repository.
    Nothing,
}

/// `{permission}/{command}` below the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandPath<'path> {
    /// Whether it is below `rw`.
    pub(crate) writes: bool,
    /// The command, or [`MULTIREQUEST`].
    pub(crate) command: &'path str,
}

/// The pseudo command that stands for whatever the frames name.
pub(crate) const MULTIREQUEST: &str = "multirequest";
/// A debugging aid of the reference server that is not here.
pub(crate) const DEBUG_REFLECT: &str = "debugreflect";

/// Reads `rest`, the decoded path behind the repository's own. What follows
/// the command is ignored.
pub(crate) fn route(rest: &str) -> Result<Route<'_>, Refusal> {
    let mut segments = rest.trim_start_matches('/').split('/');
    match segments.next() {
        Some("") | None => return Ok(Route::Repository),
        Some("api") => {}
        Some(_) => return Ok(Route::Nothing),
    }
    match segments.next() {
        None | Some("") => return Ok(Route::Apis),
        Some(API_NAME) => {}
        Some(unknown) => {
            let text = format!("Unknown API: {unknown}\nKnown APIs: {API_NAME}");
            return Err(Refusal::text(StatusCode::NOT_FOUND, text));
        }
    }
    let permission = match segments.next() {
        None | Some("") => return Ok(Route::ApiRoot),
        Some(permission) => permission,
    };
    let Some(command) = segments.next() else {
        let text = format!(
            "do not know how to process {}\n",
            rest.trim_start_matches('/')
        );
        return Err(Refusal::text(StatusCode::NOT_FOUND, text));
    };
    let writes = match permission {
        "ro" => false,
        "rw" => true,
        unknown => {
            let text = format!("unknown permission: {unknown}");
            return Err(Refusal::text(StatusCode::NOT_FOUND, text));
        }
    };
    Ok(Route::Command(CommandPath { writes, command }))
}

/// What `/api` says.
pub(crate) fn list_of_apis() -> String {
    format!(
        "APIs can be accessed at /api/<name>, where <name> can be one of the following:\n\n{API_NAME}"
    )
}

/// What the root of the v2 API says.
pub(crate) const API_ROOT: &str = "HTTP version 2 API handler";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rest: &str, expected: Route<'_>) {
        assert_eq!(route(rest).unwrap(), expected, "{rest}");
    }

    #[track_caller]
    fn check_refused(rest: &str, text: &str) {
        let refusal = route(rest).unwrap_err();
        assert_eq!(
            (refusal.status, refusal.text.as_str()),
            (StatusCode::NOT_FOUND, text)
        );
    }

    #[test]
    fn paths_ask_for_what_the_reference_takes_them_for() {
        check("", Route::Repository);
        check("/", Route::Repository);
        check("/api", Route::Apis);
        check("/api/", Route::Apis);
        check("/api/exp-http-v2-0003", Route::ApiRoot);
        check("/file/tip", Route::Nothing);
        let heads = CommandPath {
            writes: false,
            command: "heads",
        };
        check("/api/exp-http-v2-0003/ro/heads", Route::Command(heads));
        check("/api/exp-http-v2-0003/ro/heads/x/y", Route::Command(heads));
        let pushkey = CommandPath {
            writes: true,
            command: "pushkey",
        };
        check("/api/exp-http-v2-0003/rw/pushkey", Route::Command(pushkey));
    }

    #[test]
    fn paths_that_ask_for_nothing_are_refused_in_the_references_words() {
        check_refused(
            "/api/nope",
            "Unknown API: nope\nKnown APIs: exp-http-v2-0003",
        );
        check_refused(
            "/api/exp-http-v2-0003/ro",
            "do not know how to process api/exp-http-v2-0003/ro\n",
        );
        check_refused("/api/exp-http-v2-0003/xx/heads", "unknown permission: xx");
    }
}
