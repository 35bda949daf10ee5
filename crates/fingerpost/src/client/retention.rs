//! Commands that remove and collect.

use std::io::BufRead;

use anyhow::{Context, bail};
use fingerpost_hashequiv_client::ClientError;
use fingerpost_hashequiv_proto::client::request;
use serde_json::json;

use super::Session;
use crate::exit::Exit;

/// Columns and the values that rows must have there.
#[derive(Debug, clap::Args)]
struct Conditions {
    /// Column and value; can be given more than once, all must be equal.
    #[arg(short = 'w', long = "where", num_args = 2, value_names = ["KEY", "VALUE"],
        action = clap::ArgAction::Append)]
    words: Vec<String>,
}

impl Conditions {
    fn pairs(&self) -> Vec<(String, String)> {
        self.words
            .chunks_exact(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect()
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    conditions: Conditions,
}

#[derive(Debug, clap::Args)]
pub(super) struct CleanUnusedArgs {
    /// Only outputs that are older than this.
    #[arg(value_name = "SECONDS", allow_negative_numbers = true)]
    max_age: f64,
}

#[derive(Debug, clap::Args)]
pub(super) struct GcMarkArgs {
    /// Name of the collection.
    mark: String,
    #[command(flatten)]
    conditions: Conditions,
}

#[derive(Debug, clap::Args)]
pub(super) struct GcMarkStreamArgs {
    /// Name of the collection. Standard input has lines of `KEY VALUE [KEY VALUE..]`.
    mark: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct GcSweepArgs {
    /// Name of the collection.
    mark: String,
}

pub(super) async fn remove(session: &mut Session, args: &RemoveArgs) -> anyhow::Result<Exit> {
    let pairs = args.conditions.pairs();
    if pairs.is_empty() {
        println!("No query specified");
        return Ok(Exit::Ok);
    }
    let count = session.client.call(&request::remove(&pairs)).await?.count;
    say(session, count, &format!("Removed {count} row(s)"));
    Ok(Exit::Ok)
}

pub(super) async fn clean_unused(
    session: &mut Session,
    args: &CleanUnusedArgs,
) -> anyhow::Result<Exit> {
    let count = session
        .client
        .call(&request::clean_unused(args.max_age))
        .await?
        .count;
    say(session, count, &format!("Removed {count} rows"));
    Ok(Exit::Ok)
}

pub(super) async fn gc_status(session: &mut Session) -> anyhow::Result<Exit> {
    let status = session.client.call(&request::gc_status()).await?;
    if session.json {
        let (keep, remove) = (status.keep, status.remove);
        println!(
            "{}",
            json!({"mark": status.mark, "keep": keep, "remove": remove})
        );
        return Ok(Exit::Ok);
    }
    match &status.mark {
        None => println!("No Garbage collection in progress"),
        Some(mark) => {
            println!("Current Mark: {mark}");
            println!("Total hashes to keep: {}", status.keep);
            println!("Total hashes to remove: {}", status.remove);
        }
    }
    Ok(Exit::Ok)
}

pub(super) async fn gc_mark(session: &mut Session, args: &GcMarkArgs) -> anyhow::Result<Exit> {
    let request = request::gc_mark(&args.mark, &args.conditions.pairs());
    let count = session.client.call(&request).await?.count;
    say(session, count, &format!("New hashes marked: {count}"));
    Ok(Exit::Ok)
}

pub(super) async fn gc_sweep(session: &mut Session, args: &GcSweepArgs) -> anyhow::Result<Exit> {
    let count = session
        .client
        .call(&request::gc_sweep(&args.mark))
        .await?
        .count;
    say(session, count, &format!("Removed {count} rows"));
    Ok(Exit::Ok)
}

/// Marks by the lines of standard input, a batch at a time, however many there are.
pub(super) async fn gc_mark_stream(
    session: &mut Session,
    args: &GcMarkStreamArgs,
) -> anyhow::Result<Exit> {
    let mut lines = std::io::stdin().lock().lines().enumerate();
    let mut has_stream = true;
    let mut count = 0;
    loop {
        let batch = read_batch(&mut lines)?;
        if batch.is_empty() {
            break;
        }
        count += mark(session, &args.mark, &batch, &mut has_stream).await?;
    }
    say(session, count, &format!("New hashes marked: {count}"));
    Ok(Exit::Ok)
}

/// The next conditions, some thousand at most; none at the end of the input.
fn read_batch(
    lines: &mut impl Iterator<Item = (usize, std::io::Result<String>)>,
) -> anyhow::Result<Vec<Vec<(String, String)>>> {
    let mut batch = Vec::new();
    for (index, line) in lines {
        let line = line.context("cannot read standard input")?;
        let pairs = parse_pairs(&line).with_context(|| format!("line {}", index + 1))?;
        if !pairs.is_empty() {
            batch.push(pairs);
        }
        if batch.len() == BATCH_LINES {
            break;
        }
    }
    Ok(batch)
}

async fn mark(
    session: &mut Session,
    mark: &str,
    batch: &[Vec<(String, String)>],
    has_stream: &mut bool,
) -> anyhow::Result<u64> {
    if *has_stream {
        match session.client.gc_mark_stream(mark, batch).await {
            Ok(counts) => return Ok(counts.iter().sum()),
            // How servers before 2024 say that they do not know the command.
            Err(ClientError::Closed) => *has_stream = false,
            Err(error) => return Err(error.into()),
        }
    }
    let mut count = 0;
    for conditions in batch {
        count += session
            .client
            .call(&request::gc_mark(mark, conditions))
            .await?
            .count;
    }
    Ok(count)
}

/// `KEY VALUE [KEY VALUE..]`, separated by blanks.
fn parse_pairs(line: &str) -> anyhow::Result<Vec<(String, String)>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if !words.len().is_multiple_of(2) {
        bail!("a value is missing: {line:?}");
    }
    Ok(words
        .chunks_exact(2)
        .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
        .collect())
}

fn say(session: &Session, count: u64, text: &str) {
    if session.json {
        println!("{}", json!({"count": count}));
    } else {
        println!("{text}");
    }
}

const BATCH_LINES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_conditions_come_in_pairs() {
        let pairs = parse_pairs(" unihash  abc method m\t").unwrap();
        assert_eq!(pairs.len(), 2);
        assert_eq!(pairs[1], ("method".to_owned(), "m".to_owned()));
        assert!(parse_pairs("").unwrap().is_empty());
        assert!(parse_pairs("unihash").is_err());
    }
}
