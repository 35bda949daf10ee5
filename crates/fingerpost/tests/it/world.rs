//! What the tests share: the program under test and a farm for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_testkit::{Report, Server, Session, TestFarm, memory_bytes};
use tokio::time::{Instant, sleep};

/// A farm of the program that cargo built for these tests, unless
/// `FINGERPOST_TEST_BINARY` names another build of it.
pub(crate) fn farm() -> TestFarm {
    let built = env!("CARGO_BIN_EXE_fingerpost").to_owned();
    let binary = from_environment("FINGERPOST_TEST_BINARY", built);
    TestFarm::new(binary).expect("a temporary directory")
}

/// A server with the default options, and the farm that it stands in.
pub(crate) async fn server() -> Result<(TestFarm, Server)> {
    let farm = farm();
    let server = farm.server().start().await?;
    Ok((farm, server))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(server: &Server) -> Result<u64> {
    memory_bytes(server.pid(), "VmRSS")
}

/// The server answers look-ups and takes reports, each within `limit`.
pub(crate) async fn serves_within(server: &Server, limit: Duration) -> Result<()> {
    let began = Instant::now();
    let mut session = server.session().await?;
    let report = Report::new(1, 1);
    session.report(&report).await?;
    let unihash = session.unihash(&report.method, &report.taskhash).await?;
    ensure!(unihash.is_some(), "the reported task is unknown");
    let took = began.elapsed();
    ensure!(took < limit, "a report and a look-up took {took:?}");
    Ok(())
}

/// No thread of the server panicked so far.
pub(crate) fn no_panic(server: &Server) -> Result<()> {
    let log = server.log();
    ensure!(!log.contains("panicked"), "the server panicked:\n{log}");
    Ok(())
}

/// Asks until the answer is there, at most `limit` long; gives the time taken.
pub(crate) async fn eventually<F>(limit: Duration, mut holds: F) -> Result<Duration>
where
    F: AsyncFnMut() -> Result<bool>,
{
    let began = Instant::now();
    loop {
        if holds().await? {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < limit, "still not so after {limit:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// The value of a metric on `/metrics`: the sum over its labels that contain `label`.
pub(crate) async fn metric(server: &Server, name: &str, label: &str) -> Result<f64> {
    let page = http(
        server,
        "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
    )
    .await?;
    Ok(page
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum())
}

/// Sends an HTTP request as it is and gives everything up to the close.
pub(crate) async fn http(server: &Server, request: &str) -> Result<String> {
    let mut lines = server.connect().await?.into_lines()?;
    lines.send(request.as_bytes()).await?;
    Ok(String::from_utf8_lossy(&lines.rest().await?).into_owned())
}

/// Connections that [`fill`] reports over: their reports share commits.
const FILLING: u64 = 40;

/// Reports tasks `numbers`, each with an output of its own.
pub(crate) async fn fill(server: &Server, numbers: std::ops::Range<u64>) -> Result<()> {
    let mut filling = tokio::task::JoinSet::new();
    for first in numbers.start..numbers.end.min(numbers.start + FILLING) {
        let mine = (first..numbers.end).step_by(FILLING as usize);
        let session = server.session().await?;
        filling.spawn(report_all(session, mine));
    }
    while let Some(result) = filling.join_next().await {
        result??;
    }
    Ok(())
}

async fn report_all(mut session: Session, numbers: impl Iterator<Item = u64>) -> Result<()> {
    for number in numbers {
        session.report(&Report::new(number, number)).await?;
    }
    Ok(())
}

/// A number from the environment, for longer runs (`make soak`).
pub(crate) fn from_environment<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}
