//! Single rows, as native commands answer them.

use std::borrow::Cow;

use fingerpost_hashequiv_proto::field::Truth;
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;

use super::ask::Ask;
use super::shared::Unanswered;
use super::{Concern, HttpClient, Said};
use crate::AskError;

/// The codes of problems that say that there is nothing.
const UNKNOWN: [&str; 2] = ["unknown-task", "unknown-output"];

/// Bytes of names in a URL, at most, so that servers and proxies take it whatever has to be
/// escaped. Those of real rows have two hundred.
const NAMES_BYTES_MAX: usize = 2 << 10;

/// The argument of `get-outhash`.
#[derive(Deserialize)]
struct OutputOf<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    outhash: Cow<'a, str>,
    #[serde(borrow, default)]
    taskhash: Option<Cow<'a, str>>,
    #[serde(default)]
    with_unihash: Option<Truth>,
}

/// As far as a row is looked at.
#[derive(Deserialize)]
struct Row {
    method: String,
    taskhash: String,
    outhash: Option<String>,
}

impl HttpClient {
    /// The oldest output of a task: what the native `get` with `all` answers, which is
    /// `null` if there is none.
    pub async fn output(
        &self,
        method: &str,
        taskhash: &str,
        give_up: Instant,
    ) -> Result<Said<String>, AskError> {
        let ask = Ask::get(&["outputs", method, taskhash]);
        let is_it = |row: &Row| row.method == method && row.taskhash == taskhash;
        self.row(&ask, give_up, is_it).await
    }

    /// An output: what the native `get-outhash` answers to this object, which is `null` if
    /// there is none.
    pub async fn outhash(
        &self,
        argument_json: &str,
        give_up: Instant,
    ) -> Result<Said<String>, AskError> {
        let of: OutputOf<'_> = serde_json::from_str(argument_json)
            .map_err(|error| AskError::Told(format!("the argument does not fit: {error}")))?;
        let mut ask = Ask::get(&["outhashes", &of.method, &of.outhash]);
        if let Some(taskhash) = &of.taskhash {
            ask.query.push(("taskhash", taskhash.to_string()));
        }
        if let Some(Truth(wanted)) = of.with_unihash {
            ask.query.push(("with_unihash", wanted.to_string()));
        }
        let is_it = |row: &Row| {
            let outhash = row.outhash.as_deref();
            row.method == of.method && outhash == Some(&*of.outhash)
        };
        self.row(&ask, give_up, is_it).await
    }

    async fn row(
        &self,
        ask: &Ask,
        give_up: Instant,
        is_it: impl Fn(&Row) -> bool,
    ) -> Result<Said<String>, AskError> {
        let nothing = |epoch| Said {
            value: "null".to_owned(),
            epoch,
        };
        if !has_url(ask) {
            return Ok(nothing(None));
        }
        let asked = self.0.ask(Concern::Lookups, ask, give_up, |answer| {
            let text = std::str::from_utf8(&answer.bytes).map_err(|error| error.to_string())?;
            let row: Row = serde_json::from_str(text)
                .map_err(|error| format!("its answer makes no sense: {error}"))?;
            if !is_it(&row) {
                return Err("it answers another question".to_owned());
            }
            Ok(Said {
                value: text.to_owned(),
                epoch: answer.epoch,
            })
        });
        match asked.await {
            Err(Unanswered::Refused(refusal))
                if refusal.status == StatusCode::NOT_FOUND && UNKNOWN.contains(&&*refusal.code) =>
            {
                Ok(nothing(refusal.epoch))
            }
            asked => Ok(asked?),
        }
    }
}

/// Whether a URL can have these names. Nothing is called as it cannot, and a server that
/// refuses to read a URL must not seem to be down.
fn has_url(ask: &Ask) -> bool {
    let of_query = ask.query.iter().map(|(_, value)| value);
    let bytes: usize = ask.path.iter().chain(of_query).map(String::len).sum();
    let mut path = ask.path.iter();
    bytes <= NAMES_BYTES_MAX && !path.any(|part| matches!(&**part, "" | "." | ".."))
}
