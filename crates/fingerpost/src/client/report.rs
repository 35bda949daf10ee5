//! `report`: tell what tasks produced, sign what the server answers.

use std::io::BufRead as _;

use anyhow::{Context as _, bail};
use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_hashequiv_proto::client::Report;
use fingerpost_hashequiv_proto::client::request::{self, SignedRowArgs};
use fingerpost_signatures::{Row, Settled, UnixTime};
use serde_json::json;

use super::Session;
use super::signing::{self, Counts};
use crate::exit::Exit;

/// Rows whose signatures are uploaded together; a server takes 1,000.
const BATCH_ROWS: usize = 500;

#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Method, taskhash, outhash and unihash. Without them, lines of these four are
    /// read from standard input.
    #[arg(num_args = 4, value_names = ["METHOD", "TASKHASH", "OUTHASH", "UNIHASH"])]
    row: Vec<String>,
}

/// Reports, and prints for each row the unihash to go on with.
pub(super) async fn report(session: &mut Session, args: &ReportArgs) -> anyhow::Result<Exit> {
    let mut counts = Counts::new();
    if args.row.is_empty() {
        let mut lines = std::io::stdin().lock().lines().enumerate();
        loop {
            let batch = read_batch(&mut lines)?;
            if batch.is_empty() {
                break;
            }
            report_batch(session, &batch, &mut counts).await?;
        }
    } else {
        report_batch(session, &[words(&args.row.join(" "))?], &mut counts).await?;
    }
    if session.json {
        println!("{}", json!({"counts": signing::to_json(&counts)}));
    } else if session.trust.is_some() {
        eprintln!("{}", signing::to_text(&counts));
    }
    Ok(Exit::Ok)
}

fn read_batch(
    lines: &mut impl Iterator<Item = (usize, std::io::Result<String>)>,
) -> anyhow::Result<Vec<[String; 4]>> {
    let mut batch = Vec::new();
    for (index, line) in lines {
        let line = line.context("cannot read standard input")?;
        if !line.trim().is_empty() {
            batch.push(words(&line).with_context(|| format!("line {}", index + 1))?);
        }
        if batch.len() == BATCH_ROWS {
            break;
        }
    }
    Ok(batch)
}

fn words(line: &str) -> anyhow::Result<[String; 4]> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match words.try_into() {
        Ok(words) => Ok(words),
        Err(_) => bail!("METHOD TASKHASH OUTHASH UNIHASH is needed: {line:?}"),
    }
}

async fn report_batch(
    session: &mut Session,
    batch: &[[String; 4]],
    counts: &mut Counts,
) -> anyhow::Result<()> {
    let mut signed = Vec::new();
    for row in batch {
        let [method, taskhash, outhash, unihash] = row.each_ref().map(String::as_str);
        let report = Report {
            method,
            taskhash,
            outhash,
            unihash,
            ..Report::default()
        };
        let settled = match &session.trust {
            Some(trust) => {
                let request = request::report_signed(&report);
                let told = session.client.call(&request).await?;
                let answer = told.unihash.to_text();
                let own = [method, taskhash, outhash, unihash];
                let now = UnixTime::of(SystemClock.now());
                let settled = trust.settle(own, &answer, told.evidence.as_ref(), now);
                say_kept(&settled, taskhash, &answer);
                settled
            }
            None => {
                let told = session.client.call(&request::report(&report)).await?;
                Settled {
                    unihash: told.unihash.to_text(),
                    word: "reported".to_owned(),
                    signed: None,
                }
            }
        };
        signing::count(counts, &settled.word);
        match session.json {
            true => println!(
                "{}",
                json!({"taskhash": taskhash, "unihash": settled.unihash, "verdict": settled.word})
            ),
            false => println!("{}", settled.unihash),
        }
        signed.extend(settled.signed.map(offered));
    }
    upload(session, &signed, counts).await;
    Ok(())
}

fn say_kept(settled: &Settled, taskhash: &str, answer: &str) {
    if let Some(why) = settled.word.strip_prefix("kept_own_") {
        eprintln!(
            "{taskhash}: keeping the proposed unihash, the server's {answer} is not believed: {why}"
        );
    }
}

fn offered((row, signature): (Row, String)) -> SignedRowArgs {
    SignedRowArgs {
        namespace: row.namespace,
        method: row.method.as_str().to_owned(),
        taskhash: row.taskhash.to_text(),
        outhash: row.outhash.to_text(),
        unihash: row.unihash.to_text(),
        signature,
    }
}

/// Uploads signatures. What fails is told and counted: the build goes on.
async fn upload(session: &mut Session, signed: &[SignedRowArgs], counts: &mut Counts) {
    if signed.is_empty() {
        return;
    }
    match session.client.call(&request::put_signatures(signed)).await {
        Ok(told) => {
            for outcome in told.outcomes {
                signing::count(counts, &format!("signature_{}", word(&outcome.code)));
            }
        }
        Err(error) => {
            eprintln!("The signatures were not taken: {error}");
            for _ in signed {
                signing::count(counts, "signature_failed");
            }
        }
    }
}

/// The server's code as a word of counts; what it makes up is not repeated.
fn word(code: &str) -> &'static str {
    match code {
        "stored" => "stored",
        "signature-mismatch" => "mismatch",
        "no-such-row" => "no_such_row",
        _ => "failed",
    }
}
