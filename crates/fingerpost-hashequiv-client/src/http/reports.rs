//! What is reported: the arguments of native commands, as `/v1` takes them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fingerpost_hashequiv_proto::client::{PutOutcome, ReportedRow, SignedRow};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::ask::Ask;
use super::{Concern, HttpClient, Said};
use crate::AskError;

/// What a report must have.
const REQUIRED: [&str; 4] = ["method", "taskhash", "outhash", "unihash"];
/// What may be told besides.
const METADATA: [&str; 6] = ["owner", "PN", "PV", "PR", "task", "outhash_siginfo"];
/// What an equivalence has.
const EQUIV: [&str; 3] = ["method", "taskhash", "unihash"];

/// The task that an answer, or an argument, is about.
#[derive(Deserialize, PartialEq, Eq)]
struct TaskOf<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    taskhash: Cow<'a, str>,
}

/// As far as an answer to a report is looked at.
#[derive(Deserialize)]
struct Row<'a> {
    #[serde(flatten, borrow)]
    task: TaskOf<'a>,
    #[serde(rename = "unihash")]
    _unihash: String,
}

/// A signature with the row that was signed.
#[derive(Serialize)]
struct Offered<'a> {
    namespace: &'a str,
    method: &'a str,
    taskhash: String,
    outhash: String,
    unihash: String,
    signature: &'a str,
}

impl HttpClient {
    /// Reports what a task produced, the object of the native `report`, and gives the row
    /// that it answers, as JSON. Fields that a report does not have are dropped: the
    /// native command does not look at them either.
    pub async fn report(
        &self,
        argument_json: &str,
        give_up: Instant,
    ) -> Result<Said<String>, AskError> {
        let json = argument(argument_json, &REQUIRED, &METADATA)?;
        self.told_row(&["reports"], json, give_up).await
    }

    /// Gives a task a unihash unless it has one: the object of the native `report-equiv`,
    /// and its row.
    pub async fn report_equiv(
        &self,
        argument_json: &str,
        give_up: Instant,
    ) -> Result<Said<String>, AskError> {
        let json = argument(argument_json, &EQUIV, &[])?;
        self.told_row(&["equivalences"], json, give_up).await
    }

    /// As [`HttpClient::report`], answered with what the unihash came from. Nobody has
    /// verified it yet.
    pub async fn report_signed(
        &self,
        argument_json: &str,
        give_up: Instant,
    ) -> Result<Said<ReportedRow>, AskError> {
        let json = argument(argument_json, &REQUIRED, &METADATA)?;
        let told = self.told_row(&["reports", "signed"], json, give_up).await?;
        // It was read once.
        let value = serde_json::from_str(&told.value);
        Ok(Said {
            value: value.map_err(|error| AskError::senseless(error.to_string()))?,
            epoch: told.epoch,
        })
    }

    /// Offers a signature of a row, which must be as it is stored, its outhash included.
    ///
    /// # Errors
    ///
    /// [`AskError::Told`] with `signature-mismatch` if the row is another one, and
    /// `no-such-row`.
    pub async fn put_signature(
        &self,
        row: &SignedRow,
        signature: &str,
        give_up: Instant,
    ) -> Result<(), AskError> {
        let Some(outhash) = &row.outhash else {
            return Err(AskError::Told(
                "a row without an outhash has no signatures".to_owned(),
            ));
        };
        let offered = Offered {
            namespace: &row.namespace,
            method: row.method.as_str(),
            taskhash: row.taskhash.to_text(),
            outhash: outhash.to_text(),
            unihash: row.unihash.to_text(),
            signature,
        };
        let json = serde_json::to_vec(&[offered]).map_err(|error| unfit(&error))?;
        let ask = Ask::post(&["signatures"], json).await;
        let asked = self.0.ask(Concern::Reports, &ask, give_up, |answer| {
            let [outcome]: [PutOutcome; 1] =
                serde_json::from_slice(&answer.bytes).map_err(|error| senseless(&error))?;
            Ok(outcome)
        });
        let outcome = asked.await?;
        match outcome.status {
            200 => Ok(()),
            _ => Err(AskError::Told(outcome.code)),
        }
    }

    /// Sends what is about one task, and takes an answer about it only.
    async fn told_row(
        &self,
        path: &[&str],
        json: String,
        give_up: Instant,
    ) -> Result<Said<String>, AskError> {
        // What names no task is refused by the server, in its words.
        let task = serde_json::from_str::<TaskOf<'_>>(&json).ok();
        let ask = Ask::post(path, json.clone().into_bytes()).await;
        let asked = self.0.ask(Concern::Reports, &ask, give_up, |answer| {
            let text = std::str::from_utf8(&answer.bytes).map_err(|error| error.to_string())?;
            let row: Row<'_> = serde_json::from_str(text).map_err(|error| senseless(&error))?;
            if task.as_ref().is_some_and(|task| *task != row.task) {
                return Err("it answers another report".to_owned());
            }
            Ok(Said {
                value: text.to_owned(),
                epoch: answer.epoch,
            })
        });
        Ok(asked.await?)
    }
}

/// The object with these fields alone. The later of two fields of one name counts, nulls
/// of what may be left out are left out, and numbers there become texts.
fn argument(json: &str, required: &[&str], optional: &[&str]) -> Result<String, AskError> {
    let given: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_str(json).map_err(|error| unfit(&error))?;
    let mut kept: BTreeMap<&str, Cow<'_, RawValue>> = BTreeMap::new();
    for (name, value) in &given {
        if required.contains(&&**name) {
            kept.insert(name, Cow::Borrowed(value));
        }
        if optional.contains(&&**name)
            && let Some(text) = text(value)
        {
            kept.insert(name, text);
        }
    }
    serde_json::to_string(&kept).map_err(|error| unfit(&error))
}

/// A text, or a number as one.
fn text(value: &RawValue) -> Option<Cow<'_, RawValue>> {
    match value.get().as_bytes().first()? {
        b'"' => Some(Cow::Borrowed(value)),
        b'-' | b'0'..=b'9' => {
            let quoted = RawValue::from_string(format!("\"{}\"", value.get()));
            quoted.ok().map(Cow::Owned)
        }
        _ => None,
    }
}

fn unfit(error: &serde_json::Error) -> AskError {
    AskError::Told(format!("the argument is no object: {error}"))
}

fn senseless(error: &serde_json::Error) -> String {
    format!("its answer makes no sense: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_a_report_does_not_have_are_dropped() {
        let native = r#"{"taskhash": "1", "method": "m", "method": "n", "extra": {"a": [1]},
            "PN": 7, "PV": null, "PR": "r0", "task": true, "unihash": null}"#;
        let kept = argument(native, &REQUIRED, &METADATA).unwrap();
        let expect = r#"{"PN":"7","PR":"r0","method":"n","taskhash":"1","unihash":null}"#;
        assert_eq!(kept, expect);
        let equiv = argument(native, &EQUIV, &[]).unwrap();
        assert_eq!(equiv, r#"{"method":"n","taskhash":"1","unihash":null}"#);
        for wrong in ["", "null", "[]", "{"] {
            let error = argument(wrong, &EQUIV, &[]).unwrap_err();
            assert!(matches!(error, AskError::Told(_)), "{wrong}");
        }
    }
}
