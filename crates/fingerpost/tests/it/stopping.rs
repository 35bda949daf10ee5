//! Stopping: requests in hand are answered, everything else ends soon.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Report, Session};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{eventually, farm, http, metric, server};

/// What the server promises.
const STOP_MAX: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_request_in_hand_is_answered_before_the_end() -> Result<()> {
    let (_farm, mut server) = server().await?;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut session = server.session().await?;
        // A wrong token is answered after a second.
        session
            .send(&json!({"auth": {"username": "nobody", "token": "x"}}))
            .await?;
        waiting.push(session);
    }
    let mut idle = server.session().await?;
    idle.ask(json!({"ping": {}})).await?;
    let unopened = server.connect().await?;
    sleep(Duration::from_millis(200)).await;
    server.signal(Signal::TERM)?;
    let began = Instant::now();
    for session in &mut waiting {
        let answer = session
            .answer()
            .await?
            .context("closed without an answer")?;
        ensure!(answer["invoke-error"].is_object(), "{answer}");
        ensure!(session.answer().await?.is_none());
    }
    ensure!(
        idle.answer().await?.is_none(),
        "the idle connection got something"
    );
    let status = server.wait().await?;
    ensure!(status.success(), "{status}");
    ensure!(began.elapsed() < STOP_MAX, "took {:?}", began.elapsed());
    drop(unopened);
    Ok(())
}

#[tokio::test]
async fn who_waits_for_changes_is_let_go() -> Result<()> {
    let (_farm, mut server) = server().await?;
    let request = "GET /v1/changes?only=deletions&wait=30 HTTP/1.1\r\nHost: test\r\n\r\n";
    let waiting = http(&server, request);
    let in_flight = async || metric(&server, "fingerpost_hashequiv_http_in_flight", "").await;
    let stopping = async {
        eventually(PATIENCE, async || Ok(in_flight().await? == 1.0)).await?;
        server.signal(Signal::TERM)?;
        anyhow::Ok(Instant::now())
    };
    let (answer, began) = tokio::join!(waiting, stopping);
    let (answer, began) = (answer?, began?);
    ensure!(answer.contains("{\"end\":0}"), "{answer}");
    ensure!(
        answer.contains("\r\nfingerpost-deletion-epoch: "),
        "{answer}"
    );
    let status = server.wait().await?;
    ensure!(status.success(), "{status}");
    ensure!(began.elapsed() < STOP_MAX, "took {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn what_was_sent_before_the_end_is_answered_however_many_reads_it_takes() -> Result<()> {
    const REPORTS: u64 = 100;
    let (_farm, mut server) = server().await?;
    let mut session = server.session().await?;
    session.ask(json!({"ping": {}})).await?;
    // Whoever was accepted just now would have time in any case.
    sleep(Duration::from_millis(700)).await;
    for number in 0..REPORTS {
        let report = Report::new(number, number).with_siginfo("x".repeat(4000));
        session.send(&report.request()).await?;
    }
    server.signal(Signal::TERM)?;
    for number in 0..REPORTS {
        let answer = session.answer().await?;
        ensure!(answer.is_some(), "closed after {number} answers");
    }
    ensure!(session.answer().await?.is_none());
    ensure!(server.wait().await?.success());
    Ok(())
}

#[tokio::test]
async fn reports_that_were_answered_before_the_end_are_stored() -> Result<()> {
    let (_farm, mut server) = server().await?;
    let mut reporters = tokio::task::JoinSet::new();
    for reporter in 0..8_u64 {
        let address = server.address().to_owned();
        reporters.spawn(async move { report_until_closed(&address, reporter * 1_000_000).await });
    }
    sleep(Duration::from_millis(400)).await;
    let began = Instant::now();
    server.signal(Signal::TERM)?;
    ensure!(server.wait().await?.success());
    ensure!(began.elapsed() < STOP_MAX, "took {:?}", began.elapsed());
    let mut answered = Vec::new();
    while let Some(result) = reporters.join_next().await {
        answered.extend(result??);
    }
    ensure!(!answered.is_empty(), "nothing was reported");
    let server = server.options().clone().start().await?;
    let mut session = server.session().await?;
    session.enter("get-stream").await?;
    for report in &answered {
        let unihash = session
            .line(&format!("TestMethod {}", report.taskhash))
            .await?;
        ensure!(
            unihash == report.unihash,
            "{} was answered and is lost",
            report.taskhash
        );
    }
    Ok(())
}

/// Reports, a few in flight, until the server closes; gives what was answered.
async fn report_until_closed(address: &str, first: u64) -> Result<Vec<Report>> {
    let mut session = Session::open(address).await?;
    let mut answered = Vec::new();
    for number in first.. {
        let batch: Vec<Report> = (0..4)
            .map(|n| Report::new(number * 4 + n, number * 4 + n))
            .collect();
        for report in &batch {
            if session.send(&report.request()).await.is_err() {
                return Ok(answered);
            }
        }
        for report in batch {
            match session.answer().await {
                Ok(Some(_)) => answered.push(report),
                _ => return Ok(answered),
            }
        }
    }
    Ok(answered)
}

#[tokio::test]
async fn peers_that_never_read_cannot_hold_the_server() -> Result<()> {
    let (_farm, mut server) = server().await?;
    let mut lines = server.connect().await?.into_lines()?;
    lines
        .send(b"OEHASHEQUIV 1.1\n\n{\"get-stream\": null}\n")
        .await?;
    let batch = format!("TestMethod {}\n", "1".repeat(64)).repeat(5000);
    for _ in 0..100 {
        let sent = timeout(
            Duration::from_millis(100),
            lines.send_in_vain(batch.as_bytes()),
        );
        if sent.await.is_err() {
            break;
        }
    }
    let mut websocket = Session::open(&format!("ws://{}", server.address())).await?;
    websocket.ask(json!({"ping": {}})).await?;
    server.signal(Signal::TERM)?;
    let began = Instant::now();
    ensure!(server.wait().await?.success());
    ensure!(began.elapsed() < STOP_MAX, "took {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn every_stop_signal_ends_the_server_and_removes_its_socket() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let farm = farm();
        let socket = farm.path("s.sock");
        let mut server = farm
            .server()
            .bind(format!("unix://{}", socket.display()))
            .start()
            .await?;
        ensure!(socket.exists());
        server.signal(signal)?;
        let status = server.wait().await?;
        ensure!(status.success(), "{signal:?}: {status}");
        ensure!(!socket.exists(), "the socket file stays after {signal:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stale_socket_file_is_replaced() -> Result<()> {
    let farm = farm();
    let socket = farm.path("s.sock");
    let options = farm.server().bind(format!("unix://{}", socket.display()));
    let server = options.start().await?;
    let options = server.kill().await?;
    ensure!(socket.exists(), "a killed server leaves its socket file");
    let server = options.start().await?;
    let mut session = server.session().await?;
    session.ask(json!({"ping": {}})).await?;
    Ok(())
}
