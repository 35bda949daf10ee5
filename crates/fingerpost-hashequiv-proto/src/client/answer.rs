//! Answers, as the protocol has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::field;
use crate::types::{Method, Outhash, Taskhash, Unihash};

/// Answer to `get`, `report` and `report-equiv`: the mapping as the server has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct UnihashRow {
    /// Hash of the task's inputs, as asked.
    pub taskhash: Taskhash,
    /// Method, as asked.
    pub method: Method,
    /// The unihash. Servers with old databases answer invalid ones too.
    pub unihash: Unihash,
}

/// Answer to `get` with `all` and to `get-outhash`: what was reported of an
/// output, with its unihash where that was asked for. Other servers leave
/// columns out, so all are optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FullRow {
    /// Number of the row in the server's database.
    pub id: Option<i64>,
    /// Method of the report.
    pub method: Option<Method>,
    /// Hash of the task's inputs.
    pub taskhash: Option<Taskhash>,
    /// Hash of the task's output.
    pub outhash: Option<Outhash>,
    /// When the server stored it; ISO 8601 in one of several forms.
    #[serde(deserialize_with = "field::text")]
    pub created: Option<String>,
    /// Login name, or what the reporter called itself.
    #[serde(deserialize_with = "field::text")]
    pub owner: Option<String>,
    /// Name of the recipe.
    #[serde(rename = "PN", deserialize_with = "field::text")]
    pub pn: Option<String>,
    /// Version of the recipe.
    #[serde(rename = "PV", deserialize_with = "field::text")]
    pub pv: Option<String>,
    /// Revision of the recipe.
    #[serde(rename = "PR", deserialize_with = "field::text")]
    pub pr: Option<String>,
    /// Name of the task.
    #[serde(deserialize_with = "field::text")]
    pub task: Option<String>,
    /// The listing that `outhash` is the hash of.
    #[serde(deserialize_with = "field::text")]
    pub outhash_siginfo: Option<String>,
    /// The unihash, if the server was asked for it.
    pub unihash: Option<Unihash>,
    /// Mark of the last collection that reached the mapping; `""` for none.
    #[serde(deserialize_with = "field::text")]
    pub gc_mark: Option<String>,
}

/// Answer to `get-signed`, and the evidence of `report-signed`: what the server says
/// that a row is, to be verified.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct SignedRow {
    /// Method of the row.
    pub method: Method,
    /// Hash of the task's inputs.
    pub taskhash: Taskhash,
    /// The namespace where the row lives.
    pub namespace: String,
    /// Hash of the task's output; `None`: the unihash was told without one.
    pub outhash: Option<Outhash>,
    /// The unihash.
    pub unihash: Unihash,
    /// Texts of signatures.
    pub signatures: Vec<String>,
}

/// Answer to `report-signed`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReportedRow {
    /// The unihash that the task has now.
    pub unihash: Unihash,
    /// The row that it came from, if there is one.
    pub evidence: Option<SignedRow>,
}

/// Answer to `put-signatures`: what became of each, in order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PutOutcomes {
    /// One of each row.
    pub outcomes: Vec<PutOutcome>,
}

/// What became of one signature.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PutOutcome {
    /// 200, 404 or 422.
    pub status: u16,
    /// `stored`, or why not.
    pub code: String,
}

/// Answer to `ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Alive {
    /// True.
    pub alive: bool,
}

/// Answer to `remove`, `clean-unused`, `gc-mark`, a line of `gc-mark-stream`
/// and `gc-sweep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Count {
    /// Rows removed or marked.
    pub count: u64,
}

/// Answer to `backfill-wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Tasks {
    /// Length of the queue when the wait began.
    pub tasks: u64,
}

/// Answer to `gc-status`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GcStatus {
    /// Mappings with the current mark.
    pub keep: u64,
    /// Mappings without it.
    pub remove: u64,
    /// The current mark; `None`: no collection runs.
    pub mark: Option<String>,
}

/// Answer to `get-stats` and `reset-stats`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct StatsAnswer {
    /// Requests since the start or the last reset.
    pub requests: Stats,
}

/// Numbers of requests and their durations, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Stats {
    /// Requests that ended.
    pub num: u64,
    /// All durations together.
    pub total_time: f64,
    /// The longest one.
    pub max_time: f64,
    /// The mean.
    pub average: f64,
    /// Standard deviation from the mean.
    pub stdev: f64,
}

/// Answer to `get-db-usage`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// By name of the table.
    pub usage: BTreeMap<String, TableUsage>,
}

/// One table of [`Usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct TableUsage {
    /// Rows in it.
    pub rows: u64,
}

/// Answer to `get-db-query-columns`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Columns {
    /// Columns that `remove` takes, in no fixed order.
    pub columns: Vec<String>,
}

/// A bearer token without its secret. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct BearerToken {
    /// The public id.
    pub id: String,
    /// Whose it is.
    pub username: String,
    /// What its user calls it.
    pub name: String,
    /// What it allows, as far as its user may.
    pub permissions: Vec<String>,
    /// Where it allows that; `None`: everywhere.
    pub namespaces: Option<Vec<String>>,
    /// When it was made.
    pub created: i64,
    /// When it ends.
    pub expires: Option<i64>,
    /// When it was revoked.
    pub revoked: Option<i64>,
    /// When it was last used, to ten minutes.
    pub used: Option<i64>,
}

/// Answer to `get-tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BearerTokens {
    /// The oldest first.
    pub tokens: Vec<BearerToken>,
}

/// Answer to `new-token`.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct NewBearerToken {
    /// What it is.
    #[serde(flatten)]
    pub info: BearerToken,
    /// Its text, which is told once.
    pub token: String,
}

/// Answer to `revoke-token`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RevokedToken {
    /// The public id.
    pub id: String,
}

/// Answer to `auth`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Login {
    /// True; a failed login is a told error.
    pub result: bool,
    /// The user.
    pub username: String,
    /// Permissions as stored, sorted.
    pub permissions: Vec<String>,
}

/// Answer to `get-user`, `set-user-perms` and `become-user`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct UserInfo {
    /// The user.
    pub username: String,
    /// Permissions, sorted, `@all` expanded.
    pub permissions: Vec<String>,
}

/// Answer to `get-all-users`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Users {
    /// All of them.
    pub users: Vec<UserInfo>,
}

/// Answer to `new-user`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct NewUser {
    /// The user.
    pub username: String,
    /// Permissions, sorted, `@all` expanded.
    pub permissions: Vec<String>,
    /// The token; never shown again.
    pub token: String,
}

/// Answer to `refresh-token`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Token {
    /// The user.
    pub username: String,
    /// The new token; never shown again.
    pub token: String,
}

/// Answer to `delete-user`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Username {
    /// The user who is gone.
    pub username: String,
}

/// Answer to the three stream commands: `"ok"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum StreamOpened {
    /// Lines may follow; nothing needs to wait for it.
    #[serde(rename = "ok")]
    Ok,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser")
            .field("username", &self.username)
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NewBearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewBearerToken")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The text of a told error, if the message is one.
pub(super) fn told(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Message {
        #[serde(rename = "invoke-error")]
        invoke_error: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        message: String,
    }
    // Nearly every answer is told apart without parsing it twice.
    memchr::memmem::find(text.as_bytes(), b"\"invoke-error\"")?;
    let message: Message = serde_json::from_str(text).ok()?;
    Some(message.invoke_error.message)
}
