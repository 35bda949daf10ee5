//! Bits that change between the server and a client that requires signatures: what
//! the client prints as a unihash is the right one, whatever came.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fingerpost_testkit::{Manner, Relay, Report};
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::signed::Farm;
use crate::world::{from_environment, no_panic};

/// Look-ups, unless `FINGERPOST_FLIPPED_ROUNDS` says otherwise, and clients at once.
const ROUNDS: u64 = 120;
const CLIENTS: u64 = 8;
/// First seed, unless `FINGERPOST_SEED` says otherwise.
const SEED: u64 = 1;
/// A client gives two minutes to each of its two calls. It needs half a minute when
/// the end of a line is what changed.
const CLIENT_MAX: Duration = Duration::from_secs(250);
const TASKS: u64 = 8;
const LINES: u64 = 60;

/// How a client ended, and what it said.
struct Told {
    code: i32,
    out: String,
    err: String,
}

/// Clients that ended in each way: by the word that they counted, or `failed`.
type Tally = BTreeMap<String, u64>;

/// Runs a client that requires signatures; it must not panic, nor take too long.
async fn client(farm: &Farm, address: &str, words: &[&str], input: Stdio) -> Result<Told> {
    let client = Command::new(env!("CARGO_BIN_EXE_fingerpost"))
        .args(["client", "--address", address, "--policy", "require"])
        .args(["--ring", "readers.toml"])
        .args(words)
        .current_dir(farm.farm.directory())
        .env_clear()
        .env("HOME", farm.farm.directory())
        .stdin(input)
        .kill_on_drop(true)
        .output();
    let output = timeout(CLIENT_MAX, client).await;
    let output = output.with_context(|| format!("{words:?} hangs"))??;
    let err = String::from_utf8(output.stderr)?;
    let code = output.status.code().context("killed by a signal")?;
    ensure!(code <= 1 && !err.contains("panicked"), "{code} {err}");
    Ok(Told {
        code,
        out: String::from_utf8(output.stdout)?,
        err,
    })
}

/// Words that look the task up: by itself, or by its output.
fn look_up(report: &Report, by_output: bool) -> Vec<&str> {
    let Report {
        method,
        taskhash,
        outhash,
        ..
    } = report;
    match by_output {
        false => vec!["--json", "get", method, taskhash],
        true => vec!["--json", "get-outhash", method, outhash, taskhash],
    }
}

/// The word that a look-up was counted under, if it printed the right row or none.
fn judged(told: &Told, right: &Value) -> Result<String> {
    if told.code != 0 {
        ensure!(told.out.is_empty() && !told.err.is_empty(), "{}", told.out);
        return Ok("failed".to_owned());
    }
    let shown: Value = serde_json::from_str(&told.out)?;
    let counts = shown["counts"].as_object().context("no counts")?;
    let (word, count) = counts.iter().next().context("nothing counted")?;
    ensure!(counts.len() == 1 && count == 1, "{counts:?}");
    let expected = match word.as_str() {
        "verified" => right,
        _ => &Value::Null,
    };
    ensure!(shown["row"] == *expected, "{word}: {}", shown["row"]);
    let is_said = told.err.contains(&format!("not believed: {word}"));
    ensure!(is_said || matches!(&**word, "verified" | "unknown"));
    Ok(word.clone())
}

/// Every so many rounds from `first` on, through a relay that changes each answer.
async fn look_ups(
    farm: Arc<Farm>,
    rows: Arc<Vec<(Report, Value)>>,
    (first, rounds, seed): (u64, u64, u64),
) -> Result<Tally> {
    let relay = relay(&farm).await?;
    let address = relay.host_and_port();
    // Far from the other clients' seeds: each answer takes the next one.
    let seed = seed.wrapping_add(first << 32);
    relay.be(Manner::Flips { seed, one_in: 1 });
    let mut tally = Tally::new();
    for round in (first..rounds).step_by(CLIENTS as usize) {
        let (report, right) = &rows[(round / CLIENTS % TASKS) as usize];
        let words = look_up(report, round / CLIENTS % 3 == 2);
        let told = client(&farm, &address, &words, Stdio::null()).await?;
        let word = judged(&told, right).with_context(|| format!("seed {seed}, round {round}"))?;
        *tally.entry(word).or_default() += 1;
    }
    ensure!(relay.spoilt() >= rounds / CLIENTS, "{}", relay.spoilt());
    // The same connection point, and nothing of it stays.
    relay.be(Manner::Honest);
    let (report, right) = &rows[0];
    let told = client(&farm, &address, &look_up(report, false), Stdio::null()).await?;
    ensure!(judged(&told, right)? == "verified");
    Ok(tally)
}

async fn relay(farm: &Farm) -> Result<Relay> {
    let port = farm.server.host_and_port().rsplit(':').next();
    Relay::start(port.context("a port")?.parse()?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_a_bit_changed_on_its_way_is_refused_and_counted() -> Result<()> {
    let farm = Farm::open().await?;
    let mut rows = Vec::new();
    for number in 1..=TASKS {
        let report = Report::new(number, number);
        farm.report(&report, "one", "require")?;
        let words = look_up(&report, false);
        let told = client(&farm, farm.server.address(), &words, Stdio::null()).await?;
        let shown: Value = serde_json::from_str(&told.out)?;
        ensure!(shown["row"]["unihash"] == report.unihash.as_str());
        rows.push((report, shown["row"].clone()));
    }
    let (farm, rows) = (Arc::new(farm), Arc::new(rows));
    let rounds = from_environment("FINGERPOST_FLIPPED_ROUNDS", ROUNDS);
    let seed = from_environment("FINGERPOST_SEED", SEED);
    let mut clients = JoinSet::new();
    for first in 0..CLIENTS {
        let work = (first, rounds, seed);
        clients.spawn(look_ups(Arc::clone(&farm), Arc::clone(&rows), work));
    }
    let mut tally = Tally::new();
    while let Some(counted) = clients.join_next().await {
        for (word, count) in counted?? {
            *tally.entry(word).or_default() += count;
        }
    }
    ensure!(tally.values().sum::<u64>() == rounds, "{tally:?}");
    // What is not signed, such as the taskhash that was asked, may change.
    for word in ["verified", "mismatch", "malformed"] {
        ensure!(tally.contains_key(word), "{word}: {tally:?}");
    }
    no_panic(&farm.server)
}

/// A line of a report.
fn line(report: &Report) -> String {
    let Report {
        method,
        taskhash,
        outhash,
        unihash,
        ..
    } = report;
    format!("{method} {taskhash} {outhash} {unihash}\n")
}

/// Reports lines, and signs what is answered.
async fn report_lines(farm: &Farm, address: &str, signer: &str, lines: &str) -> Result<Told> {
    let path = farm.farm.path("lines");
    std::fs::write(&path, lines)?;
    let input = std::fs::File::open(path)?;
    client(
        farm,
        address,
        &["--sign-with", signer, "report"],
        input.into(),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reporter_goes_on_when_bits_of_some_answers_change() -> Result<()> {
    let farm = Farm::open().await?;
    let (mut older, mut newer) = (String::new(), String::new());
    let mut pairs = Vec::new();
    for number in 1..=LINES {
        let (first, second) = (
            Report::new(number, number),
            Report::new(LINES + number, number),
        );
        older.push_str(&line(&first));
        newer.push_str(&line(&second));
        pairs.push((first, second));
    }
    let told = report_lines(&farm, farm.server.address(), "two.toml", &older).await?;
    ensure!(told.code == 0, "{}", told.err);
    let relay = relay(&farm).await?;
    let seed = from_environment("FINGERPOST_SEED", SEED);
    relay.be(Manner::Flips { seed, one_in: 2 });
    let told = report_lines(&farm, &relay.host_and_port(), "one.toml", &newer).await?;
    ensure!(told.code == 0, "seed {seed}: {}", told.err);
    ensure!(told.out.lines().count() == pairs.len(), "{}", told.out);
    let mut kept = 0;
    for ((first, second), line) in pairs.iter().zip(told.out.lines()) {
        let is_right = line == first.unihash || line == second.unihash;
        ensure!(is_right, "seed {seed}: {line}, {}", first.unihash);
        kept += u64::from(line == second.unihash);
        ensure!((line == second.unihash) == told.err.contains(&second.taskhash));
    }
    let counts = told.err.lines().last().unwrap_or_default();
    let count = |word: &str| -> u64 {
        let counted = counts.split(", ").filter_map(|pair| pair.split_once(' '));
        let counted = counted.filter(|(counted, _)| counted.starts_with(word));
        counted
            .filter_map(|(_, count)| count.parse::<u64>().ok())
            .sum()
    };
    ensure!(kept > 0 && relay.spoilt() > 0 && count("kept_own_") == kept);
    ensure!(count("verified") == LINES - kept, "{counts}");
    no_panic(&farm.server)
}
