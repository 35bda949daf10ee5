//! Peers that mean harm, or are broken: they hurt nobody but themselves.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fingerpost_testkit::{Connection, PATIENCE, Report, Server, TestFarm, Transport, hash};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::world::{
    eventually, farm, http, metric, no_panic, resident_bytes, server, serves_within,
};

const HANDSHAKE: &[u8] = b"OEHASHEQUIV 1.1\nneeds-headers: false\n\n";
/// How long others may take for a report and a look-up meanwhile: the machine
/// that runs the tests is busy, a hung server takes for ever.
const OTHERS_LIMIT: Duration = Duration::from_secs(5);
const MIB: u64 = 1 << 20;

async fn impatient_server() -> Result<(TestFarm, Server)> {
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
async fn is_closed_within(connection: Connection, limit: Duration) -> Result<()> {
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
async fn a_peer_that_never_reads_is_cut_off_and_holds_little_memory() -> Result<()> {
    let (_farm, server) = impatient_server().await?;
    let mut session = server.session().await?;
    session
        .report(&Report::new(1, 1).with_siginfo("x".repeat(30_000)))
        .await?;
    let before = resident_bytes(&server)?;
    let ask = json!({"get": {"method": "TestMethod", "taskhash": hash(1, 1), "all": true}});
    let mut hogs = Vec::new();
    for _ in 0..4 {
        hogs.push(server.connect().await?.into_lines()?);
    }
    let requests = format!("{ask}\n").repeat(500);
    for lines in &mut hogs {
        lines.send(HANDSHAKE).await?;
        // The server stops reading sooner or later; then our own write waits.
        for _ in 0..20 {
            let sent = timeout(
                Duration::from_millis(100),
                lines.send_in_vain(requests.as_bytes()),
            );
            if sent.await.is_err() {
                break;
            }
        }
    }
    let grown = resident_bytes(&server)?.saturating_sub(before);
    ensure!(
        grown < 64 * MIB,
        "{grown} more bytes for peers that do not read"
    );
    serves_within(&server, OTHERS_LIMIT).await?;
    eventually(Duration::from_secs(15), async || {
        Ok(metric(&server, "fingerpost_connections_open", "").await? <= 2.0)
    })
    .await
    .context("peers that do not read stay connected")?;
    no_panic(&server)
}

#[tokio::test]
async fn stream_lines_that_nobody_reads_do_not_pile_up() -> Result<()> {
    let (_farm, server) = impatient_server().await?;
    serves_within(&server, OTHERS_LIMIT).await?;
    let before = resident_bytes(&server)?;
    let mut lines = server.connect().await?.into_lines()?;
    lines.send(HANDSHAKE).await?;
    lines.send(b"{\"get-stream\": null}\n").await?;
    let batch = format!("TestMethod {}\n", hash(1, 1)).repeat(2000);
    for _ in 0..400 {
        let sent = timeout(
            Duration::from_millis(200),
            lines.send_in_vain(batch.as_bytes()),
        );
        if sent.await.is_err() {
            break;
        }
    }
    let grown = resident_bytes(&server)?.saturating_sub(before);
    ensure!(grown < 48 * MIB, "{grown} more bytes for one stream");
    serves_within(&server, OTHERS_LIMIT).await
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

#[tokio::test]
async fn endless_pieces_end_at_the_message_limit() -> Result<()> {
    let (_farm, server) = impatient_server().await?;
    let before = resident_bytes(&server)?;
    for piece in ["x".repeat(60_000), "y".to_owned()] {
        let mut lines = server.connect().await?.into_lines()?;
        lines.send(HANDSHAKE).await?;
        lines.send(b"{\"chunk-stream\": null}\n").await?;
        let pieces = format!("{piece}\n").repeat(1 + 200_000 / piece.len());
        for _ in 0..20 {
            lines.send_in_vain(pieces.as_bytes()).await?;
        }
        let rest = lines.rest().await?;
        ensure!(rest.is_empty(), "an answer to endless pieces");
    }
    let grown = resident_bytes(&server)?.saturating_sub(before);
    ensure!(grown < 32 * MIB, "{grown} more bytes");
    serves_within(&server, OTHERS_LIMIT).await
}

#[tokio::test]
async fn endless_lines_and_headers_end_at_their_limits() -> Result<()> {
    let (_farm, server) = server().await?;
    let header = "a: b\n".repeat(100_000);
    let long_header = format!("a: {}\n\n", "b".repeat(1_000_000));
    for bytes in [
        [b"OEHASHEQUIV 1.1\n", header.as_bytes()].concat(),
        [b"OEHASHEQUIV 1.1\n", long_header.as_bytes()].concat(),
        vec![b'O'; 1_000_000],
        [HANDSHAKE, &vec![b'x'; 1_000_000]].concat(),
        [
            HANDSHAKE,
            b"{\"get-stream\": null}\n".as_slice(),
            &vec![b'x'; 1_000_000],
        ]
        .concat(),
    ] {
        let mut lines = server.connect().await?.into_lines()?;
        lines.send_in_vain(&bytes).await?;
        let rest = lines.rest().await?;
        ensure!(rest.is_empty() || rest == b"\"ok\"\n", "an answer");
    }
    serves_within(&server, OTHERS_LIMIT).await
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

#[tokio::test]
async fn connections_above_the_limit_are_closed_and_the_others_served() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .set("limits.connections", "30")
        .start()
        .await?;
    let mut inside = Vec::new();
    for _ in 0..30 {
        let mut session = server.session().await?;
        session.ask(json!({"ping": {}})).await?;
        inside.push(session);
    }
    for _ in 0..40 {
        is_closed_within(server.connect().await?, Duration::from_secs(5)).await?;
    }
    for session in &mut inside {
        session.ask(json!({"ping": {}})).await?;
    }
    drop(inside.pop());
    eventually(Duration::from_secs(5), async || {
        let mut session = server.session().await?;
        let asked = session.send(&json!({"ping": {}})).await;
        Ok(asked.is_ok() && session.answer().await.is_ok_and(|answer| answer.is_some()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn ten_thousand_connections_leave_room_for_one_more_client() -> Result<()> {
    let open_files = raise_open_files();
    // Both ends are on this machine; the server keeps a reserve of its own.
    let count = 10_000.min(open_files.saturating_sub(1000) * 8 / 10);
    println!("{count} connections, for this process may open {open_files} files");
    let farm = farm();
    let server = farm
        .server()
        .set("limits.handshake_seconds", "60")
        .start()
        .await?;
    let mut crowd = Vec::with_capacity(count as usize);
    for number in 0..count {
        let stream = tokio::net::TcpStream::connect(server.address());
        let mut stream = timeout(PATIENCE, stream).await??;
        if number % 2 == 0 {
            tokio::io::AsyncWriteExt::write_all(&mut stream, HANDSHAKE).await?;
        }
        crowd.push(stream);
    }
    serves_within(&server, OTHERS_LIMIT).await?;
    let resident = resident_bytes(&server)?;
    println!("{} KiB for each connection", resident / 1024 / count.max(1));
    ensure!(
        resident < 600 * MIB,
        "{resident} bytes for {count} connections"
    );
    drop(crowd);
    serves_within(&server, OTHERS_LIMIT).await
}

fn raise_open_files() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without the right to raise it, the test makes do with what there is.
    _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
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
