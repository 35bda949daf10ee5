//! Peers that mean harm, or are broken: they hurt nobody but themselves.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fingerpost_testkit::{Connection, Report, Server, TestFarm, Transport, hash};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::world::{eventually, farm, http, metric, no_panic, server, serves_within};

pub(crate) const HANDSHAKE: &[u8] = b"OEHASHEQUIV 1.1\nneeds-headers: false\n\n";
/// How long others may take for a report and a look-up meanwhile: the machine
/// that runs the tests is busy, a hung server takes for ever.
pub(crate) const OTHERS_LIMIT: Duration = Duration::from_secs(5);

pub(crate) async fn impatient_server() -> Result<(TestFarm, Server)> {
    let farm = farm();
    let server = farm
        .server()
        .set("limits.handshake_seconds", "1")
        .set("limits.write_stall_seconds", "1")
        .set("limits.message_mib", "1")
        .start()
        .await?;
    Ok((farm, server))
}

/// The server closes the connection without a word, within `limit`.
pub(crate) async fn is_closed_within(connection: Connection, limit: Duration) -> Result<()> {
    let mut lines = connection.into_lines()?;
    let rest = timeout(limit, lines.rest())
        .await
        .with_context(|| format!("still open after {limit:?}"))??;
    ensure!(
        rest.is_empty(),
        "answered {:?}",
        String::from_utf8_lossy(&rest)
    );
    Ok(())
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() -> Result<()> {
    let (_farm, server) = impatient_server().await?;
    let limit = Duration::from_secs(4);
    let silent = server.connect().await?;
    let mut begun = server.connect().await?.into_lines()?;
    begun.send(b"OEHASHEQUIV 1.1\nneeds-he").await?;
    let mut undecided = server.connect().await?.into_lines()?;
    undecided.send(b"O").await?;
    is_closed_within(silent, limit).await?;
    for mut lines in [begun, undecided] {
        let rest = timeout(limit, lines.rest()).await.context("still open")??;
        ensure!(rest.is_empty(), "an answer");
    }
    serves_within(&server, OTHERS_LIMIT).await
}

#[tokio::test]
async fn a_handshake_of_one_byte_at_a_time_has_the_same_deadline() -> Result<()> {
    let (_farm, server) = impatient_server().await?;
    let mut lines = server.connect().await?.into_lines()?;
    let began = Instant::now();
    let mut cut = false;
    for byte in HANDSHAKE.iter().chain(b"{\"ping\": {}}\n").cycle() {
        if lines.send(&[*byte]).await.is_err() {
            cut = true;
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(8), "never cut off");
        sleep(Duration::from_millis(60)).await;
    }
    ensure!(cut, "never cut off");
    Ok(())
}

#[tokio::test]
async fn slow_bytes_behind_the_handshake_are_waited_for_while_others_are_served() -> Result<()> {
    let (_farm, server) = impatient_server().await?;
    let mut lines = server.connect().await?.into_lines()?;
    lines.send(HANDSHAKE).await?;
    for byte in b"{\"ping\": {}}\n" {
        lines.send(&[*byte]).await?;
        sleep(Duration::from_millis(150)).await;
        serves_within(&server, OTHERS_LIMIT).await?;
    }
    ensure!(lines.line().await? == b"{\"alive\": true}\n");
    Ok(())
}

#[tokio::test]
async fn a_silent_connection_stays_open_behind_its_handshake() -> Result<()> {
    let (_farm, server) = impatient_server().await?;
    for transport in [
        server.address().to_owned(),
        format!("ws://{}", server.address()),
    ] {
        let mut session = fingerpost_testkit::Session::open(&transport).await?;
        session.ask(json!({"ping": {}})).await?;
        sleep(Duration::from_secs(3)).await;
        session.ask(json!({"ping": {}})).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_half_closed_connection_gets_all_its_answers() -> Result<()> {
    let (_farm, server) = server().await?;
    let mut lines = server.connect().await?.into_lines()?;
    lines.send(HANDSHAKE).await?;
    for number in 0..50 {
        let request = Report::new(number, number).request();
        lines.send(format!("{request}\n").as_bytes()).await?;
    }
    lines.send(b"{\"get-stream\": null}\n").await?;
    for number in 0..100 {
        lines
            .send(format!("TestMethod {}\n", hash(1, number)).as_bytes())
            .await?;
    }
    lines.half_close().await?;
    let rest = String::from_utf8(lines.rest().await?)?;
    let answers: Vec<&str> = rest.lines().collect();
    ensure!(answers.len() == 151, "{} answers", answers.len());
    ensure!(answers[50] == "\"ok\"");
    for number in 0..100 {
        let expected = if number < 50 {
            hash(1, number)
        } else {
            String::new()
        };
        ensure!(answers[51 + number as usize] == expected, "task {number}");
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_reset_in_the_middle_disturbs_nobody() -> Result<()> {
    let (_farm, server) = server().await?;
    for round in 0..60_u64 {
        let mut lines = server.connect().await?.into_lines()?;
        lines.send(HANDSHAKE).await?;
        let request = format!("{}\n", Report::new(round, round).request()).repeat(20);
        let cut = request.len() * (round as usize + 1) / 61;
        lines.send(&request.as_bytes()[..cut]).await?;
        // Unread answers turn the close into a reset.
        drop(lines);
    }
    serves_within(&server, OTHERS_LIMIT).await?;
    no_panic(&server)
}

#[tokio::test]
async fn probes_that_close_without_a_byte_leave_no_log_line() -> Result<()> {
    let (_farm, server) = server().await?;
    serves_within(&server, OTHERS_LIMIT).await?;
    let before = server.log();
    for _ in 0..50 {
        drop(server.connect().await?);
        let mut lines = server.connect().await?.into_lines()?;
        lines.half_close().await?;
        lines.rest().await?;
    }
    eventually(Duration::from_secs(5), async || {
        Ok(metric(&server, "fingerpost_connections_open", "").await? <= 1.0)
    })
    .await?;
    ensure!(
        server.log() == before,
        "logged: {}",
        &server.log()[before.len()..]
    );
    Ok(())
}

/// JSON that breaks careless readers. Each is answered or closed, never worse.
fn poison() -> Vec<String> {
    let deep = 30_000;
    vec![
        format!("{{\"get\": {}}}", "[".repeat(deep)),
        format!("{{\"get\": {}{}}}", "[".repeat(deep), "]".repeat(deep)),
        format!("{{\"get\": {}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000)),
        "{\"get\": {\"method\": \"\\ud800\", \"taskhash\": \"x\"}}".to_owned(),
        "{\"get\": {\"method\": 1e400, \"taskhash\": -0}}".to_owned(),
        format!("{{\"get\": {{\"method\": {}, \"taskhash\": \"x\"}}}}", "9".repeat(60_000)),
        "{\"get\": {\"method\": \"\\u0000\", \"taskhash\": \"\\u0000\"}}".to_owned(),
        "{\"clean-unused\": {\"max_age_seconds\": 1e308}}".to_owned(),
        "{\"clean-unused\": {\"max_age_seconds\": -1e308}}".to_owned(),
        "{\"clean-unused\": {\"max_age_seconds\": NaN}}".to_owned(),
        "{\"remove\": {\"where\": {\"taskhash\": {\"a\": []}}}}".to_owned(),
        "{\"gc-mark\": {\"mark\": \"'; DROP TABLE unihash; --\", \"where\": {\"method\": \"' OR 1=1 --\"}}}".to_owned(),
        "{\"auth\": {\"username\": \"\\u0000\", \"token\": \"\"}}".to_owned(),
        format!("{{{}\"ping\": 1}}", "\"a\": 1, ".repeat(7000)),
        "\u{feff}{\"ping\": {}}".to_owned(),
    ]
}

#[tokio::test]
async fn poisoned_json_is_answered_or_closed() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .anonymous("@read,@report,@db-admin")
        .start()
        .await?;
    for transport in [
        server.address().to_owned(),
        format!("ws://{}", server.address()),
    ] {
        for text in poison() {
            let mut session = fingerpost_testkit::Session::open(&transport).await?;
            session.send_item(&text).await?;
            let shown: String = text.chars().take(60).collect();
            session.answer().await.with_context(|| shown)?;
        }
    }
    serves_within(&server, OTHERS_LIMIT).await?;
    no_panic(&server)
}

fn upgrade(origin: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: test\r\n{origin}Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

async fn upgrade_status(server: &Server, origin: &str) -> Result<String> {
    let mut lines = server.connect().await?.into_lines()?;
    lines.send(upgrade(origin).as_bytes()).await?;
    Ok(String::from_utf8(lines.line().await?)?
        .trim_end()
        .to_owned())
}

#[tokio::test]
async fn browsers_of_other_origins_are_refused() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .set("server.allowed_origins", "https://farm.example")
        .start()
        .await?;
    ensure!(upgrade_status(&server, "").await?.contains("101"));
    ensure!(
        upgrade_status(&server, "Origin: https://farm.example\r\n")
            .await?
            .contains("101")
    );
    for origin in [
        "https://evil.example",
        "null",
        "http://farm.example",
        "https://farm.example.evil",
    ] {
        let status = upgrade_status(&server, &format!("Origin: {origin}\r\n")).await?;
        ensure!(status.contains("403"), "{origin}: {status}");
    }
    let post = "POST / HTTP/1.1\r\nHost: test\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = http(&server, post).await?;
    ensure!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let read = "GET /healthz HTTP/1.1\r\nHost: test\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n";
    let answer = http(&server, read).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

/// Bytes that begin like something known, and go on as nothing known.
#[tokio::test]
async fn garbage_is_closed_and_the_server_goes_on() -> Result<()> {
    use rand::{RngExt, SeedableRng};
    let (_farm, server) = impatient_server().await?;
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let starts: [&[u8]; 8] = [
        b"",
        b"OE",
        b"OPTIONS ",
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01",
        HANDSHAKE,
        b"OEHASHEQUIV 1.1\n\n{\"get-stream\": null}\n",
    ];
    for round in 0..160 {
        let mut bytes = starts[round % starts.len()].to_vec();
        let length = random.random_range(1..2000);
        bytes.extend((0..length).map(|_| random.random::<u8>()));
        let mut lines = server.connect().await?.into_lines()?;
        lines.send_in_vain(&bytes).await?;
        if round % 2 == 0 {
            lines.half_close().await.ok();
            lines.rest().await?;
        }
    }
    serves_within(&server, OTHERS_LIMIT).await?;
    no_panic(&server)
}

#[tokio::test]
async fn websocket_messages_of_other_kinds_do_no_harm() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .transport(Transport::WebSocket)
        .start()
        .await?;
    let mut session = server.session().await?;
    let answer = session.ask(json!({"ping": {}})).await?;
    ensure!(answer == json!({"alive": true}));
    // A frame that no client may send: unmasked.
    let mut lines = Connection::open(server.host_and_port())
        .await?
        .into_lines()?;
    lines.send(upgrade("").as_bytes()).await?;
    while lines.line().await? != b"\r\n" {}
    lines.send(&[0x81, 0x02, b'h', b'i']).await?;
    lines.rest().await?;
    let answer: Value = session.ask(json!({"ping": {}})).await?;
    if answer != json!({"alive": true}) {
        bail!("{answer}");
    }
    no_panic(&server)
}

/// Words of a client go into the log as words: they cannot make up a line.
#[tokio::test]
async fn clients_cannot_write_log_lines_of_their_own() -> Result<()> {
    for format in ["text", "json"] {
        let farm = farm();
        let server = farm
            .server()
            .set("log.format", format)
            .set("log.level", "trace")
            .start()
            .await?;
        let words = "x\nFORGED \u{1b}[31m red \r\nFORGED";
        let mut session = server.session().await?;
        session
            .send(&json!({"auth": {"username": words, "token": words}}))
            .await?;
        session.answer().await?;
        for request in [
            json!({"get": {"method": words, "taskhash": words}}),
            json!({words: words}),
            json!({"remove": {"where": {words: words}}}),
        ] {
            let mut session = server.session().await?;
            session.send(&request).await?;
            session.answer().await?;
        }
        let log = server.log();
        let forged = log.lines().find(|line| line.starts_with("FORGED"));
        ensure!(forged.is_none(), "{format}: a client wrote a line:\n{log}");
        ensure!(
            !log.contains('\u{1b}'),
            "{format}: a client wrote an escape sequence:\n{log}"
        );
    }
    Ok(())
}
