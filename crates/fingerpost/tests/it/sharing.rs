//! Several processes on one database file.

use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_testkit::{Report, Server, TestFarm, hash};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::{eventually, farm, fill};

const ALL: &str = "@read,@report,@db-admin";
/// How long after its removal was answered by one process a row may still be
/// served by another.
const STALE_MAX: Duration = Duration::from_millis(100);
/// What the machine that runs the tests may add to that, now and then: three
/// processes and the tests share its cores.
const SCHEDULING: Duration = Duration::from_millis(400);
const ROUNDS: u64 = 40;

async fn pair(farm: &TestFarm) -> Result<(Server, Server)> {
    let database = farm.path("shared.db");
    let one = farm.server().anonymous(ALL).database(&database);
    let other = farm.server().anonymous(ALL).database(&database);
    Ok((one.start().await?, other.start().await?))
}

#[tokio::test]
async fn a_removed_row_is_not_served_by_another_process_after_100_ms() -> Result<()> {
    let farm = farm();
    let (one, other) = pair(&farm).await?;
    let mut remover = one.session().await?;
    let mut reader = other.session().await?;
    let mut delays = Vec::new();
    for round in 0..ROUNDS {
        let report = Report::new(round, round);
        remover.report(&report).await?;
        eventually(Duration::from_secs(5), async || {
            Ok(reader
                .unihash("TestMethod", &report.taskhash)
                .await?
                .is_some())
        })
        .await?;
        reader.enter("get-stream").await?;
        let line = format!("TestMethod {}", report.taskhash);
        ensure!(reader.line(&line).await? == report.unihash);
        let removal = json!({"remove": {"where": {"taskhash": report.taskhash}}});
        remover.ask(removal).await?;
        let answered = Instant::now();
        let own = remover.unihash("TestMethod", &report.taskhash).await?;
        ensure!(own.is_none(), "served by the process that removed it");
        // The last moment at which the other still served it.
        let mut stale = Duration::ZERO;
        loop {
            let asked = answered.elapsed();
            if reader.line(&line).await?.is_empty() {
                break;
            }
            stale = asked;
            ensure!(stale < Duration::from_secs(5), "served for ever");
        }
        reader.leave().await?;
        delays.push(stale);
    }
    delays.sort_unstable();
    println!(
        "median {:?}, longest {:?}",
        delays[delays.len() / 2],
        delays[delays.len() - 1]
    );
    let kept = delays.iter().filter(|delay| **delay <= STALE_MAX).count();
    ensure!(
        kept * 10 >= delays.len() * 9,
        "longer than {STALE_MAX:?} in {delays:?}"
    );
    ensure!(
        delays.iter().all(|delay| *delay <= STALE_MAX + SCHEDULING),
        "{delays:?}"
    );
    Ok(())
}

#[tokio::test]
async fn first_reports_of_one_output_to_two_processes_agree() -> Result<()> {
    let farm = farm();
    let (one, other) = pair(&farm).await?;
    let mut sessions = Vec::new();
    for server in [&one, &other, &one, &other] {
        sessions.push(server.session().await?);
    }
    for output in 0..30_u64 {
        for (number, session) in sessions.iter_mut().enumerate() {
            let task = output * 10 + number as u64;
            session.send(&Report::new(task, output).request()).await?;
        }
        let mut unihashes = std::collections::BTreeSet::new();
        for session in &mut sessions {
            let answer = session.answer().await?.unwrap_or_default();
            unihashes.insert(answer["unihash"].to_string());
        }
        ensure!(unihashes.len() == 1, "output {output}: {unihashes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn collections_of_two_processes_sweep_once() -> Result<()> {
    let farm = farm();
    let (one, other) = pair(&farm).await?;
    let mut first = one.session().await?;
    let mut second = other.session().await?;
    fill(&one, 0..1500).await?;
    let mark = json!({"gc-mark": {"mark": "K", "where": {"taskhash": hash(1, 7)}}});
    ensure!(first.ask(mark).await? == json!({"count": 1}));
    let sweep = json!({"gc-sweep": {"mark": "K"}});
    first.send(&sweep).await?;
    second.send(&sweep).await?;
    let mut removed = 0;
    let mut refused = 0;
    for session in [&mut first, &mut second] {
        let answer = session.answer().await?.unwrap_or_default();
        match answer["count"].as_u64() {
            Some(count) => removed += count,
            None => refused += usize::from(answer["invoke-error"].is_object()),
        }
    }
    ensure!(
        removed == 1499,
        "{removed} rows removed, {refused} sweeps refused"
    );
    let mut session = other.session().await?;
    ensure!(session.unihash("TestMethod", &hash(1, 7)).await?.is_some());
    ensure!(session.unihash("TestMethod", &hash(1, 8)).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_killed_process_leaves_the_other_in_service() -> Result<()> {
    let farm = farm();
    let (one, other) = pair(&farm).await?;
    let mut dying = one.session().await?;
    for number in 0..400 {
        dying.send(&Report::new(number, number).request()).await?;
    }
    one.kill().await?;
    let mut session = other.session().await?;
    for number in 1000..1050 {
        session.report(&Report::new(number, number)).await?;
    }
    session
        .ask(json!({"clean-unused": {"max_age_seconds": 0}}))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_read_only_process_sees_what_the_other_stores() -> Result<()> {
    let farm = farm();
    let database = farm.path("shared.db");
    let writer = farm.server().database(&database).start().await?;
    let reader = farm
        .server()
        .database(&database)
        .read_only()
        .start()
        .await?;
    let mut reporting = writer.session().await?;
    let mut reading = reader.session().await?;
    ensure!(reading.unihash("TestMethod", &hash(1, 1)).await?.is_none());
    reporting.report(&Report::new(1, 1)).await?;
    let unihash = reading.unihash("TestMethod", &hash(1, 1)).await?;
    ensure!(unihash == Some(hash(1, 1)), "{unihash:?}");
    Ok(())
}

#[tokio::test]
async fn processes_share_a_port_on_request() -> Result<()> {
    let farm = farm();
    let database = farm.path("shared.db");
    let first = farm
        .server()
        .database(&database)
        .argument("--reuseport")
        .start()
        .await?;
    let second = farm
        .server()
        .database(&database)
        .argument("--reuseport")
        .bind(first.address())
        .start()
        .await?;
    let mut session = first.session().await?;
    session.report(&Report::new(1, 1)).await?;
    let address = first.address().to_owned();
    first.stop().await?;
    sleep(Duration::from_millis(50)).await;
    ensure!(second.address() == address);
    let mut session = second.session().await?;
    ensure!(session.unihash("TestMethod", &hash(1, 1)).await? == Some(hash(1, 1)));
    Ok(())
}
