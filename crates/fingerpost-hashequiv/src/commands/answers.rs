//! Answers that several commands share.

use fingerpost_core::{Encode, Failure, PermissionSet};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use serde::Serialize;

use crate::stats::RequestTimes;
use crate::store::{OutputRow, Task};

/// A line of a stream: text without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line(pub String);

impl Encode for Line {
    const MEDIA_TYPE: &'static str = "text/plain";

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

/// `{"count": n}`.
#[derive(Serialize)]
pub(super) struct Count {
    pub(super) count: u64,
}

/// `{"requests": {...}}`.
#[derive(Serialize)]
pub(super) struct Requests {
    pub(super) requests: RequestTimes,
}

/// What `get` answers.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Got {
    /// Without `all`.
    Unihash(UnihashRow),
    /// With `all`.
    Row(Box<WireRow>),
}

/// A row of the relation U.
#[derive(Serialize)]
pub(super) struct UnihashRow {
    taskhash: Taskhash,
    method: Method,
    unihash: Unihash,
}

impl UnihashRow {
    pub(super) fn new(task: Task, unihash: Unihash) -> Self {
        Self {
            taskhash: task.taskhash,
            method: task.method,
            unihash,
        }
    }
}

/// The answer to a report; names that were null come back as null.
#[derive(Serialize)]
pub(super) struct UnihashAnswer {
    taskhash: Option<String>,
    method: Option<String>,
    unihash: String,
}

impl UnihashAnswer {
    pub(super) fn new(taskhash: Option<String>, method: Option<String>, unihash: &Unihash) -> Self {
        Self {
            taskhash,
            method,
            unihash: unihash.to_text(),
        }
    }
}

/// An answer of [`WireRow`]'s form, for the documentation.
pub(super) const ROW_EXAMPLE: &str = "{\"id\": 1, \"method\": \"oe.sstatesig.OEOuthashBasic\", \"taskhash\": \"1111111111111111111111111111111111111111111111111111111111111111\", \"outhash\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"created\": \"2026-11-22T04:41:07.123456+00:00\", \"owner\": null, \"PN\": \"zlib\", \"PV\": \"1.3\", \"PR\": \"r0\", \"task\": \"do_package\", \"outhash_siginfo\": null, \"unihash\": \"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\", \"gc_mark\": \"\"}";

/// A row of the relation O, with the unihash when it was asked for.
#[derive(Serialize)]
pub(super) struct WireRow {
    id: i64,
    method: Method,
    taskhash: Taskhash,
    outhash: Outhash,
    created: Option<String>,
    owner: Option<String>,
    #[serde(rename = "PN")]
    pn: Option<String>,
    #[serde(rename = "PV")]
    pv: Option<String>,
    #[serde(rename = "PR")]
    pr: Option<String>,
    task: Option<String>,
    outhash_siginfo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unihash: Option<Unihash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gc_mark: Option<String>,
}

impl From<OutputRow> for WireRow {
    fn from(row: OutputRow) -> Self {
        let (unihash, gc_mark) = row.unihash.unzip();
        Self {
            id: row.id,
            method: row.method,
            taskhash: row.taskhash,
            outhash: row.outhash,
            created: row.created,
            owner: row.metadata.owner,
            pn: row.metadata.pn,
            pv: row.metadata.pv,
            pr: row.metadata.pr,
            task: row.metadata.task,
            outhash_siginfo: row.siginfo,
            unihash,
            gc_mark,
        }
    }
}

/// A user; `@all` is shown expanded.
#[derive(Serialize)]
pub(super) struct UserAnswer {
    username: String,
    permissions: Vec<&'static str>,
}

impl UserAnswer {
    pub(super) fn new(username: String, permissions: PermissionSet) -> Self {
        Self {
            username,
            permissions: permissions.expanded(),
        }
    }
}

/// All users.
#[derive(Serialize)]
pub(super) struct Users {
    pub(super) users: Vec<UserAnswer>,
}

/// A new user with the token, which is told once.
#[derive(Serialize)]
pub(super) struct NewUserAnswer {
    pub(super) username: String,
    pub(super) permissions: Vec<&'static str>,
    pub(super) token: String,
}

/// A new token.
#[derive(Serialize)]
pub(super) struct TokenAnswer {
    pub(super) username: String,
    pub(super) token: String,
}

/// A user's name alone.
#[derive(Serialize)]
pub(super) struct Username {
    pub(super) username: String,
}

/// The refusal of commands on users that do not exist.
pub(super) fn no_such_user(username: &str) -> Failure {
    Failure::refused("no-such-user", format!("No user named '{username}' exists"))
}
