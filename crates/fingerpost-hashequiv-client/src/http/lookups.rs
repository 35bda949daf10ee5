//! Look-ups by the thousand.

use std::borrow::Cow;

use fingerpost_hashequiv_proto::client::SignedRow;
use fingerpost_hashequiv_proto::types::{Method, Outhash, Task, Taskhash, Unihash};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ask::{Answer, Ask};
use super::{Concern, DeletionEpoch, HttpClient, Said};
use crate::AskError;

/// Questions in one request, which is what servers take.
const ITEMS_MAX: usize = 100_000;
/// Of those whose answers are long.
const SIGNED_MAX: usize = 10_000;
/// Bytes of one request, beyond one question. Servers take 32 MiB.
const BYTES_MAX: usize = 16 << 20;
/// Bytes of an answer beside its question, at most.
const ANSWER_BYTES: usize = 200;
const SIGNED_ANSWER_BYTES: usize = 4 << 10;

const LOOKUPS: [&str; 1] = ["lookups"];

/// A task that there is not.
fn nobody() -> Task {
    Task {
        method: Method::new("fingerpost"),
        taskhash: Taskhash::from_bytes([0; 32]),
    }
}

#[derive(Clone, Copy, Serialize)]
struct Asked<'a> {
    unihash: &'a str,
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    taskhash: Cow<'a, str>,
    #[serde(borrow)]
    unihash: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct FoundSigned {
    method: String,
    taskhash: String,
    namespace: Option<String>,
    outhash: Option<Outhash>,
    unihash: Option<Unihash>,
    #[serde(default)]
    signatures: Vec<String>,
}

#[derive(Deserialize)]
struct Exists<'a> {
    #[serde(borrow)]
    unihash: Cow<'a, str>,
    exists: bool,
}

/// Reads the JSON of the answers to questions, in order.
type Read<Q, T> = fn(&[Q], &[u8]) -> Result<Vec<T>, String>;

/// What is asked in one request after the other.
struct Many<'a> {
    path: &'a [&'a str],
    items_max: usize,
    answer_bytes: usize,
}

impl HttpClient {
    /// The unihashes of tasks, in order. What is no valid unihash is nothing: a build that
    /// is told it ends.
    pub async fn unihashes(
        &self,
        tasks: &[Task],
        give_up: Instant,
    ) -> Result<Said<Vec<Option<Unihash>>>, AskError> {
        let many = Many {
            path: &LOOKUPS,
            items_max: ITEMS_MAX,
            answer_bytes: ANSWER_BYTES,
        };
        self.many(&many, tasks, give_up, read_unihashes).await
    }

    /// The rows of tasks with their signatures, which are verified by nobody yet, in order.
    pub async fn signed(
        &self,
        tasks: &[Task],
        give_up: Instant,
    ) -> Result<Said<Vec<Option<SignedRow>>>, AskError> {
        let many = Many {
            path: &["lookups", "signed"],
            items_max: SIGNED_MAX,
            answer_bytes: SIGNED_ANSWER_BYTES,
        };
        self.many(&many, tasks, give_up, read_signed).await
    }

    /// Whether any task has these unihashes, in order.
    pub async fn exist<U: AsRef<str> + Sync>(
        &self,
        unihashes: &[U],
        give_up: Instant,
    ) -> Result<Vec<bool>, AskError> {
        let many = Many {
            path: &["existence"],
            items_max: ITEMS_MAX,
            answer_bytes: ANSWER_BYTES,
        };
        let asked: Vec<_> = unihashes
            .iter()
            .map(|unihash| Asked {
                unihash: unihash.as_ref(),
            })
            .collect();
        let said = self.many(&many, &asked, give_up, read_exists).await?;
        Ok(said.value)
    }

    /// Asks in as many requests as it takes.
    async fn many<Q: Serialize + Sync, T: Send>(
        &self,
        many: &Many<'_>,
        questions: &[Q],
        give_up: Instant,
        read: Read<Q, T>,
    ) -> Result<Said<Vec<T>>, AskError> {
        let mut said: Option<(Vec<T>, Option<DeletionEpoch>)> = None;
        let mut rest = questions;
        while !rest.is_empty() {
            let (json, count) = array(rest, many.items_max);
            let (asked, later) = rest.split_at(count);
            let bytes_max = 2 * json.len() + count * many.answer_bytes + (64 << 10);
            let mut ask = Ask::post(many.path, json).await;
            ask.answer_bytes_max = bytes_max;
            let answered = self.0.ask(Concern::Lookups, &ask, give_up, |answer| {
                Ok((read(asked, &answer.bytes)?, answer.epoch))
            });
            let (values, epoch) = answered.await?;
            said = Some(match said {
                None => (values, epoch),
                Some((mut all, older)) => {
                    all.extend(values);
                    (all, DeletionEpoch::of_both(older, epoch))
                }
            });
            rest = later;
        }
        let (value, epoch) = said.unwrap_or_default();
        Ok(Said { value, epoch })
    }
}

/// A question about a task that there is not.
pub(super) async fn of_nothing() -> Ask {
    let (json, _) = array(&[nobody()], 1);
    let mut ask = Ask::post(&LOOKUPS, json).await;
    ask.answer_bytes_max = 64 << 10;
    ask
}

/// Whether that was answered.
pub(super) fn read_nothing(answer: &Answer) -> Result<(), String> {
    read_unihashes(&[nobody()], &answer.bytes).map(drop)
}

/// As many of the questions as go into one request, and their number.
fn array<Q: Serialize>(questions: &[Q], items_max: usize) -> (Vec<u8>, usize) {
    let mut json = vec![b'['];
    let mut count = 0;
    for question in questions.iter().take(items_max) {
        if count > 0 {
            if json.len() > BYTES_MAX {
                break;
            }
            json.push(b',');
        }
        // Plain texts cannot fail to be written to memory.
        let _ = serde_json::to_writer(&mut json, question);
        count += 1;
    }
    json.push(b']');
    (json, count)
}

fn read_unihashes(asked: &[Task], json: &[u8]) -> Result<Vec<Option<Unihash>>, String> {
    let found: Vec<Found<'_>> = answers(json)?;
    let is_of = |task: &Task, found: &Found<'_>| is(task, &found.method, &found.taskhash);
    let found = in_order(asked, found, is_of)?;
    let unihash = |found: Found<'_>| Unihash::parse_valid(&found.unihash?).ok();
    Ok(found.into_iter().map(unihash).collect())
}

fn read_signed(asked: &[Task], json: &[u8]) -> Result<Vec<Option<SignedRow>>, String> {
    let found: Vec<FoundSigned> = answers(json)?;
    let is_of = |task: &Task, found: &FoundSigned| is(task, &found.method, &found.taskhash);
    let found = in_order(asked, found, is_of)?;
    let row = |found: FoundSigned| {
        Some(SignedRow {
            method: Method::new(&*found.method),
            taskhash: Taskhash::parse(&found.taskhash),
            namespace: found.namespace?,
            outhash: found.outhash,
            unihash: found.unihash.filter(Unihash::is_valid)?,
            signatures: found.signatures,
        })
    };
    Ok(found.into_iter().map(row).collect())
}

fn read_exists(asked: &[Asked<'_>], json: &[u8]) -> Result<Vec<bool>, String> {
    let found: Vec<Exists<'_>> = answers(json)?;
    let is_of = |asked: &Asked<'_>, found: &Exists<'_>| found.unihash == asked.unihash;
    let found = in_order(asked, found, is_of)?;
    Ok(found.into_iter().map(|found| found.exists).collect())
}

fn answers<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<Vec<T>, String> {
    serde_json::from_slice(json).map_err(|error| format!("its answer makes no sense: {error}"))
}

/// The answers, if each is to its question.
fn in_order<Q, T>(
    asked: &[Q],
    found: Vec<T>,
    is_of: impl Fn(&Q, &T) -> bool,
) -> Result<Vec<T>, String> {
    if asked.len() != found.len() {
        let (asked, found) = (asked.len(), found.len());
        return Err(format!("it answers {asked} questions with {found} answers"));
    }
    let mut pairs = asked.iter().zip(&found);
    match pairs.all(|(asked, found)| is_of(asked, found)) {
        true => Ok(found),
        false => Err("it answers another question".to_owned()),
    }
}

fn is(task: &Task, method: &str, taskhash: &str) -> bool {
    task.method.as_str() == method && task.taskhash == Taskhash::parse(taskhash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_no_longer_than_servers_take() {
        let long = "x".repeat(BYTES_MAX / 2);
        let questions = vec![Asked { unihash: &long }; 5];
        assert_eq!(array(&questions, 10).1, 2);
        let questions = vec![Asked { unihash: "u" }; 5];
        let (json, count) = array(&questions, 2);
        assert_eq!(count, 2);
        assert_eq!(json, br#"[{"unihash":"u"},{"unihash":"u"}]"#);
    }

    #[test]
    fn an_answer_is_to_its_question_or_none() {
        let hash = "a".repeat(64);
        let task = |taskhash| Task::parse("m", taskhash);
        let line = |taskhash: &str, unihash: &str| {
            format!("{{\"method\":\"m\",\"taskhash\":\"{taskhash}\",\"unihash\":{unihash}}}")
        };
        let (one, two) = (line("1", &format!("\"{hash}\"")), line("2", "null"));
        let read = |json: String| read_unihashes(&[task("1"), task("2")], json.as_bytes());
        let good = read(format!("[{one},{two}]")).unwrap();
        assert_eq!(good, [Some(Unihash::parse(&hash)), None]);
        for bad in [
            format!("[{two},{one}]"),
            format!("[{one}]"),
            format!("[{one},{two},{two}]"),
            format!("[{one},{}]", line("2", "7")),
            "{}".to_owned(),
            "<html>".to_owned(),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        let odd = read(format!("[{one},{}]", line("2", "\"cafe\""))).unwrap();
        assert_eq!(odd[1], None);
    }
}
