//! Requests: one function for every command of the protocol.

use std::marker::PhantomData;

use fingerpost_core::{Encode, Json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap, Serializer};

use super::answer::{
    Alive, Columns, Count, FullRow, GcStatus, Login, NewUser, StatsAnswer, StreamOpened, Tasks,
    Token, UnihashRow, Usage, UserInfo, Username, Users,
};
use super::{ServerError, read_answer};
use crate::outbox;
use crate::wire::Framing;

/// A request that is answered by an `A`.
#[derive(Clone, Debug)]
pub struct Request<A> {
    command: &'static str,
    json: Vec<u8>,
    answer: PhantomData<fn() -> A>,
}

impl<A> Request<A> {
    fn new(command: &'static str, argument: impl Serialize) -> Self {
        let mut json = Vec::with_capacity(256);
        Json(OneKey {
            key: command,
            value: argument,
        })
        .encode(&mut json);
        Self {
            command,
            json,
            answer: PhantomData,
        }
    }

    /// Name of the command.
    pub const fn command(&self) -> &'static str {
        self.command
    }

    /// The message's JSON text, which is ASCII.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Writes the message, in chunks when it is long.
    pub fn write(&self, out: &mut Vec<u8>, framing: Framing) {
        outbox::write_message(out, framing, &self.json);
    }
}

impl<A: DeserializeOwned> Request<A> {
    /// Reads the answer.
    pub fn read(&self, text: &str) -> Result<A, ServerError> {
        read_answer(text)
    }
}

/// An object with one key.
struct OneKey<V> {
    key: &'static str,
    value: V,
}

impl<V: Serialize> Serialize for OneKey<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.key, &self.value)?;
        map.end()
    }
}

/// `{}`, which the reference client sends where the argument is ignored.
#[derive(Serialize)]
struct Empty {}

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
pub(super) struct Mark<'a> {
    mark: &'a str,
    r#where: Conditions<'a>,
}

impl<'a> Mark<'a> {
    pub(super) const fn new(mark: &'a str, conditions: &'a Where) -> Self {
        Self {
            mark,
            r#where: Conditions(conditions),
        }
    }
}

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

/// Logs in. Failure is a told error, after a second.
pub fn auth(username: &str, token: &str) -> Request<Login> {
    #[derive(Serialize)]
    struct Auth<'a> {
        username: &'a str,
        token: &'a str,
    }
    Request::new("auth", Auth { username, token })
}

/// An account; one's own if there is no name.
#[derive(Serialize)]
struct Account<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
}

/// An account and the permissions it is to have.
#[derive(Serialize)]
struct Permissions<'a> {
    username: &'a str,
    permissions: &'a [String],
}

/// Asks for an account, by default one's own.
pub fn get_user(username: Option<&str>) -> Request<Option<UserInfo>> {
    Request::new("get-user", Account { username })
}

/// Asks for all accounts.
pub fn get_all_users() -> Request<Users> {
    Request::new("get-all-users", Empty {})
}

/// Goes on as another user.
pub fn become_user(username: &str) -> Request<UserInfo> {
    Request::new(
        "become-user",
        Account {
            username: Some(username),
        },
    )
}

/// Makes a new token for an account, by default one's own.
pub fn refresh_token(username: Option<&str>) -> Request<Token> {
    Request::new("refresh-token", Account { username })
}

/// Sets what a user may do, from the next login on.
pub fn set_user_perms(username: &str, permissions: &[String]) -> Request<UserInfo> {
    Request::new(
        "set-user-perms",
        Permissions {
            username,
            permissions,
        },
    )
}

/// Creates an account.
pub fn new_user(username: &str, permissions: &[String]) -> Request<NewUser> {
    Request::new(
        "new-user",
        Permissions {
            username,
            permissions,
        },
    )
}

/// Deletes an account, by default one's own.
pub fn delete_user(username: Option<&str>) -> Request<Username> {
    Request::new("delete-user", Account { username })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<A>(request: Request<A>, expected: &str) {
        assert_eq!(std::str::from_utf8(request.json()).unwrap(), expected);
    }

    fn conditions() -> Vec<(String, String)> {
        vec![
            ("method".to_owned(), "m".to_owned()),
            ("unihash".to_owned(), "é".to_owned()),
        ]
    }

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

    #[test]
    fn user_management_is_spelled_as_the_reference_client_spells_it() {
        let all = ["@all".to_owned()];
        check(
            auth("u", "t"),
            "{\"auth\": {\"username\": \"u\", \"token\": \"t\"}}",
        );
        check(get_user(None), "{\"get-user\": {}}");
        check(get_user(Some("u")), "{\"get-user\": {\"username\": \"u\"}}");
        check(get_all_users(), "{\"get-all-users\": {}}");
        check(become_user("u"), "{\"become-user\": {\"username\": \"u\"}}");
        check(
            refresh_token(Some("u")),
            "{\"refresh-token\": {\"username\": \"u\"}}",
        );
        check(delete_user(None), "{\"delete-user\": {}}");
        check(
            set_user_perms("u", &[]),
            "{\"set-user-perms\": {\"username\": \"u\", \"permissions\": []}}",
        );
        check(
            new_user("u", &all),
            "{\"new-user\": {\"username\": \"u\", \"permissions\": [\"@all\"]}}",
        );
    }
}
