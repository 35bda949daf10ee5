//! Cleaning beside serving: nobody waits for it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Report, Session, hash};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::{farm, fill};

const ROWS: u64 = 6000;
/// Every tenth row is marked.
const MARKED_STEP: u64 = 10;
/// No look-up or report waits longer beside a sweep. In a debug build on a busy
/// machine; what is measured for real stands in `docs/performance.md`.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Looks marked and unmarked rows up until told to stop; gives the longest
/// wait and the number of rounds.
async fn look_up(mut session: Session, done: &std::cell::Cell<bool>) -> Result<(Duration, u64)> {
    let mut longest = Duration::ZERO;
    let mut rounds = 0;
    session.enter("get-stream").await?;
    while !done.get() {
        let marked = rounds % (ROWS / MARKED_STEP) * MARKED_STEP;
        let unmarked = hash(1, marked + 1);
        let marked = hash(1, marked);
        let began = Instant::now();
        let found = session.line(&format!("TestMethod {marked}")).await?;
        let other = session.line(&format!("TestMethod {unmarked}")).await?;
        longest = longest.max(began.elapsed());
        ensure!(found == marked, "a marked row was missed during the sweep");
        ensure!(
            other.is_empty() || other == unmarked,
            "a wrong answer: {other}"
        );
        rounds += 1;
    }
    Ok((longest, rounds))
}

async fn report(mut session: Session, done: &std::cell::Cell<bool>) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for number in ROWS * 2.. {
        if done.get() {
            break;
        }
        let began = Instant::now();
        session.report(&Report::new(number, number)).await?;
        longest = longest.max(began.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    Ok(longest)
}

#[tokio::test]
async fn look_ups_and_reports_go_on_during_a_sweep() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .anonymous("@read,@report,@db-admin")
        .start()
        .await?;
    let mut cleaner = server.session().await?;
    fill(&server, 0..ROWS).await?;
    cleaner.enter("gc-mark-stream").await?;
    for number in (0..ROWS).step_by(MARKED_STEP as usize) {
        let mark = json!({"mark": "K", "where": {"taskhash": hash(1, number)}});
        let answer = cleaner.line(&mark.to_string()).await?;
        ensure!(answer == "{\"count\": 1}", "{answer}");
    }
    cleaner.leave().await?;
    let done = std::cell::Cell::new(false);
    let sweeping = async {
        let began = Instant::now();
        let swept = cleaner.ask(json!({"gc-sweep": {"mark": "K"}})).await?;
        let unused = cleaner
            .ask(json!({"clean-unused": {"max_age_seconds": 0}}))
            .await?;
        done.set(true);
        println!("swept in {:?}", began.elapsed());
        anyhow::Ok((swept, unused))
    };
    let (swept, looked_up, reported) = tokio::join!(
        sweeping,
        look_up(server.session().await?, &done),
        report(server.session().await?, &done)
    );
    let (swept, unused) = swept?;
    let removed = ROWS - ROWS / MARKED_STEP;
    ensure!(swept == json!({"count": removed}), "{swept}");
    ensure!(
        unused["count"].as_u64().context("a count")? >= removed,
        "{unused}"
    );
    let (longest, rounds) = looked_up?;
    let longest_report = reported?;
    println!("{rounds} rounds, longest {longest:?}, longest report {longest_report:?}");
    ensure!(rounds > 10, "look-ups stood still: {rounds} rounds");
    ensure!(longest < WAIT_MAX, "a look-up waited {longest:?}");
    ensure!(
        longest_report < WAIT_MAX,
        "a report waited {longest_report:?}"
    );
    Ok(())
}

#[tokio::test]
async fn removal_of_many_rows_lets_others_through() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .anonymous("@read,@report,@db-admin")
        .start()
        .await?;
    let mut cleaner = server.session().await?;
    fill(&server, 0..2000).await?;
    let mut other = server.session().await?;
    cleaner
        .send(&json!({"remove": {"where": {"method": "TestMethod"}}}))
        .await?;
    let began = Instant::now();
    let mut report = Report::new(1, 1);
    report.method = "OtherMethod".to_owned();
    other.report(&report).await?;
    ensure!(
        began.elapsed() < WAIT_MAX,
        "a report waited {:?}",
        began.elapsed()
    );
    let answer = cleaner.answer().await?.context("closed")?;
    ensure!(answer == json!({"count": 4000}), "{answer}");
    ensure!(
        other
            .unihash("OtherMethod", &report.taskhash)
            .await?
            .is_some()
    );
    ensure!(other.unihash("TestMethod", &hash(1, 3)).await?.is_none());
    Ok(())
}
