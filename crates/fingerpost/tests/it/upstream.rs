//! Upstreams that are dead, hung, slow to come back, or want a login.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Report, Server, TestFarm, hash};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::world::{eventually, farm, metric, no_panic};

const TIMEOUT_MS: u64 = 300;
/// One bounded wait, and what a busy machine adds.
const ONE_WAIT: Duration = Duration::from_millis(TIMEOUT_MS + 1500);

async fn below(farm: &TestFarm, upstream: &str) -> Result<Server> {
    farm.server()
        .upstream(upstream)
        .set("upstream.timeout_ms", TIMEOUT_MS.to_string())
        .set("upstream.miss_seconds", "1")
        .start()
        .await
}

/// A listener that accepts connections and never says a word.
async fn hung_upstream() -> Result<(String, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    Ok((address, accepting))
}

/// An address at which nobody listens.
async fn dead_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok(listener.local_addr()?.to_string())
}

/// Look-ups, one by one and in batches, and reports are answered from local
/// data, none later than one bounded wait.
async fn answers_alone(server: &Server) -> Result<()> {
    let mut session = server.session().await?;
    let began = Instant::now();
    ensure!(session.report(&Report::new(1, 1)).await? == hash(1, 1));
    ensure!(
        began.elapsed() < ONE_WAIT,
        "a report took {:?}",
        began.elapsed()
    );
    ensure!(session.unihash("TestMethod", &hash(1, 1)).await? == Some(hash(1, 1)));
    let began = Instant::now();
    ensure!(session.unihash("TestMethod", &hash(1, 9)).await?.is_none());
    ensure!(
        began.elapsed() < ONE_WAIT,
        "a miss took {:?}",
        began.elapsed()
    );
    session.enter("get-stream").await?;
    let began = Instant::now();
    let lines: Vec<String> = (0..200)
        .map(|n| format!("TestMethod {}", hash(1, n)))
        .collect();
    session.send_item(&lines.join("\n")).await?;
    for number in 0..200 {
        let answer = session.item().await?.context("closed")?;
        let known = number == 1;
        ensure!(answer.is_empty() != known, "task {number}: {answer:?}");
    }
    ensure!(
        began.elapsed() < ONE_WAIT * 2,
        "200 misses took {:?}",
        began.elapsed()
    );
    session.leave().await?;
    session.enter("exists-stream").await?;
    ensure!(session.line(&hash(1, 1)).await? == "true");
    ensure!(session.line(&hash(1, 7)).await? == "false");
    session.leave().await?;
    ensure!(session.ask(json!({"ping": {}})).await? == json!({"alive": true}));
    no_panic(server)
}

#[tokio::test]
async fn a_hung_upstream_costs_one_bounded_wait() -> Result<()> {
    let farm = farm();
    let (address, _accepting) = hung_upstream().await?;
    let server = below(&farm, &address).await?;
    answers_alone(&server).await?;
    let timeouts = metric(&server, "fingerpost_", "upstream").await?;
    ensure!(timeouts > 0.0, "nothing of it is counted");
    Ok(())
}

#[tokio::test]
async fn a_dead_upstream_is_a_miss() -> Result<()> {
    let farm = farm();
    let server = below(&farm, &dead_address().await?).await?;
    answers_alone(&server).await
}

#[tokio::test]
async fn a_hung_upstream_does_not_hold_the_stop() -> Result<()> {
    let farm = farm();
    let (address, _accepting) = hung_upstream().await?;
    let server = farm.server().upstream(&address).start().await?;
    let mut session = server.session().await?;
    session
        .send(&json!({"get": {"method": "m", "taskhash": "t"}}))
        .await?;
    let stopped = server.stop().await?;
    ensure!(stopped.status.success());
    ensure!(
        stopped.took < Duration::from_secs(5),
        "took {:?}",
        stopped.took
    );
    Ok(())
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_asked_again() -> Result<()> {
    let farm = farm();
    let above = farm.server().start().await?;
    above.session().await?.report(&Report::new(1, 1)).await?;
    let address = above.address().to_owned();
    let server = below(&farm, &address).await?;
    let mut session = server.session().await?;
    ensure!(session.unihash("TestMethod", &hash(1, 1)).await? == Some(hash(1, 1)));
    above.kill().await?;
    for round in 2..5 {
        ensure!(session.unihash("TestMethod", &hash(1, 1)).await? == Some(hash(1, 1)));
        ensure!(
            session
                .unihash("TestMethod", &hash(1, 99 + round))
                .await?
                .is_none()
        );
        let above = farm.server().bind(&address).start().await?;
        above
            .session()
            .await?
            .report(&Report::new(round, round))
            .await?;
        eventually(Duration::from_secs(20), async || {
            Ok(session.unihash("TestMethod", &hash(1, round)).await? == Some(hash(1, round)))
        })
        .await
        .with_context(|| format!("round {round}: the upstream is not asked again"))?;
        above.kill().await?;
    }
    no_panic(&server)
}

#[tokio::test]
async fn the_backfill_survives_an_outage() -> Result<()> {
    let farm = farm();
    let above = farm.server().start().await?;
    let mut reporting = above.session().await?;
    for number in 0..50 {
        reporting.report(&Report::new(number, number)).await?;
    }
    let server = below(&farm, above.address()).await?;
    let mut session = server.session().await?;
    session.enter("get-stream").await?;
    for number in 0..50 {
        session
            .send_item(&format!("TestMethod {}", hash(1, number)))
            .await?;
    }
    for number in 0..50 {
        ensure!(session.item().await? == Some(hash(1, number)));
    }
    drop(session);
    above.kill().await?;
    let mut session = server.session().await?;
    let waited = session.ask(json!({"backfill-wait": null})).await?;
    ensure!(waited["tasks"].is_u64(), "{waited}");
    for number in 0..50 {
        let unihash = session.unihash("TestMethod", &hash(1, number)).await?;
        ensure!(
            unihash == Some(hash(1, number)),
            "task {number} was answered and is lost"
        );
    }
    no_panic(&server)
}

#[tokio::test]
async fn misses_are_remembered_briefly_and_cleared_by_a_report() -> Result<()> {
    let farm = farm();
    let above = farm.server().start().await?;
    let server = farm
        .server()
        .upstream(above.address())
        .set("upstream.miss_seconds", "30")
        .start()
        .await?;
    let mut session = server.session().await?;
    for _ in 0..20 {
        ensure!(session.unihash("TestMethod", &hash(1, 1)).await?.is_none());
    }
    let asked = above
        .session()
        .await?
        .ask(json!({"get-stats": null}))
        .await?;
    let asked = asked["requests"]["num"].as_u64().context("a number")?;
    ensure!(
        asked <= 3,
        "the upstream was asked {asked} times for one miss"
    );
    ensure!(session.report(&Report::new(1, 1)).await? == hash(1, 1));
    ensure!(session.unihash("TestMethod", &hash(1, 1)).await? == Some(hash(1, 1)));
    Ok(())
}

#[tokio::test]
async fn an_upstream_may_want_a_login() -> Result<()> {
    let farm = farm();
    let above = farm
        .server()
        .anonymous("")
        .admin("mirror", "secret")
        .start()
        .await?;
    let mut reporting = above.login("mirror", "secret").await?;
    reporting.report(&Report::new(1, 1)).await?;
    let with_login = farm
        .server()
        .upstream(above.address())
        .set("upstream.username", "mirror")
        .set("upstream.password", "secret")
        .start()
        .await?;
    let mut session = with_login.session().await?;
    ensure!(session.unihash("TestMethod", &hash(1, 1)).await? == Some(hash(1, 1)));
    let without = below(&farm, above.address()).await?;
    let mut session = without.session().await?;
    ensure!(session.unihash("TestMethod", &hash(1, 1)).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_read_only_server_may_have_an_upstream() -> Result<()> {
    let farm = farm();
    let above = farm.server().start().await?;
    above.session().await?.report(&Report::new(1, 1)).await?;
    let server = farm
        .server()
        .read_only()
        .upstream(above.address())
        .start()
        .await?;
    let mut session = server.session().await?;
    ensure!(session.unihash("TestMethod", &hash(1, 1)).await? == Some(hash(1, 1)));
    ensure!(session.report(&Report::new(2, 1)).await? == hash(1, 1));
    ensure!(session.unihash("TestMethod", &hash(1, 2)).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn two_servers_that_are_each_others_upstream_do_not_ask_for_ever() -> Result<()> {
    let farm = farm();
    let address = dead_address().await?;
    let one = below(&farm, &address).await?;
    let other = farm
        .server()
        .bind(&address)
        .upstream(one.address())
        .set("upstream.timeout_ms", TIMEOUT_MS.to_string())
        .start()
        .await?;
    let mut session = one.session().await?;
    let began = Instant::now();
    ensure!(session.unihash("TestMethod", &hash(1, 1)).await?.is_none());
    ensure!(began.elapsed() < ONE_WAIT, "took {:?}", began.elapsed());
    // Nothing goes round and round behind the answer.
    sleep(Duration::from_millis(TIMEOUT_MS * 4)).await;
    let before = requests(&one).await? + requests(&other).await?;
    sleep(Duration::from_millis(TIMEOUT_MS * 2)).await;
    let after = requests(&one).await? + requests(&other).await?;
    ensure!(after <= before + 4, "{before} requests became {after}");
    no_panic(&one)?;
    no_panic(&other)
}

async fn requests(server: &Server) -> Result<u64> {
    let stats = server
        .session()
        .await?
        .ask(json!({"get-stats": null}))
        .await?;
    stats["requests"]["num"].as_u64().context("a number")
}
