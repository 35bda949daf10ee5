//! Peers that send, ask for or open more than anybody should: memory stays
//! within bounds, and the others are served.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Connection, Lines, PATIENCE, Report, hash};
use serde_json::json;
use tokio::time::timeout;

use crate::hostile::{HANDSHAKE, OTHERS_LIMIT, impatient_server, is_closed_within};
use crate::world::{
    eventually, farm, http, metric, no_panic, resident_bytes, server, serves_within,
};

const MIB: u64 = 1 << 20;

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

/// Writes until the server takes no more for a moment, at most `bytes` in all.
async fn push(lines: &mut Lines, piece: &[u8], bytes: usize) -> Result<()> {
    for _ in 0..bytes / piece.len() + 1 {
        let sent = timeout(Duration::from_millis(150), lines.send_in_vain(piece));
        match sent.await {
            Ok(result) => result?,
            Err(_) => break,
        }
    }
    Ok(())
}

#[tokio::test]
async fn unfinished_messages_share_one_budget() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .set("limits.buffered_mib", "16")
        .start()
        .await?;
    serves_within(&server, OTHERS_LIMIT).await?;
    let before = resident_bytes(&server)?;
    let piece = format!("{}\n", "x".repeat(60_000)).repeat(4);
    let mut crowd = Vec::new();
    for _ in 0..24 {
        let mut lines = server.connect().await?.into_lines()?;
        lines.send(HANDSHAKE).await?;
        lines.send(b"{\"chunk-stream\": null}\n").await?;
        push(&mut lines, piece.as_bytes(), 6 << 20).await?;
        crowd.push(lines);
    }
    let grown = resident_bytes(&server)?.saturating_sub(before);
    println!("{} MiB more", grown / MIB);
    // Buffers grow by doubling, and the allocator keeps some of what it had.
    // Without a budget the crowd would hold 144 MiB.
    ensure!(
        grown < 110 * MIB,
        "{grown} more bytes for unfinished messages"
    );
    serves_within(&server, OTHERS_LIMIT).await?;
    no_panic(&server)
}

#[tokio::test]
async fn unfinished_bodies_share_it_too() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .set("limits.buffered_mib", "16")
        .start()
        .await?;
    serves_within(&server, OTHERS_LIMIT).await?;
    let before = resident_bytes(&server)?;
    let piece = format!("ea60\r\n{}\r\n", " ".repeat(60_000)).repeat(4);
    let mut crowd = Vec::new();
    for number in 0..24 {
        let kind = ["json", "x-ndjson"][number % 2];
        // A line of a report may be as long as a body.
        let head = format!(
            "POST /v1/reports/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let mut lines = server.connect().await?.into_lines()?;
        lines.send(head.as_bytes()).await?;
        push(&mut lines, piece.as_bytes(), 6 << 20).await?;
        crowd.push(lines);
    }
    let grown = resident_bytes(&server)?.saturating_sub(before);
    println!("{} MiB more", grown / MIB);
    // Without a budget the crowd would hold 144 MiB.
    ensure!(grown < 90 * MIB, "{grown} more bytes for unfinished bodies");
    let limit = "limit=\"buffered_bytes\"";
    let counted = metric(&server, "fingerpost_hashequiv_http_over_limit_total", limit).await?;
    ensure!(counted >= 1.0, "nobody was refused");
    serves_within(&server, OTHERS_LIMIT).await?;
    no_panic(&server)
}

#[tokio::test]
async fn long_answers_that_nobody_reads_share_one_budget() -> Result<()> {
    let farm = farm();
    let server = farm
        .server()
        .set("limits.buffered_mib", "4")
        .start()
        .await?;
    let mut session = server.session().await?;
    session
        .report(&Report::new(1, 1).with_siginfo("listing ".repeat(40_000)))
        .await?;
    let before = resident_bytes(&server)?;
    let ask = json!({"get": {"method": "TestMethod", "taskhash": hash(1, 1), "all": true}});
    let request = format!("{ask}\n").repeat(2);
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let mut lines = server.connect().await?.into_lines()?;
        lines.send(HANDSHAKE).await?;
        lines.send(request.as_bytes()).await?;
        crowd.push(lines);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = resident_bytes(&server)?.saturating_sub(before);
    println!("{} MiB more", grown / MIB);
    ensure!(
        grown < 120 * MIB,
        "{grown} more bytes for answers that nobody reads"
    );
    serves_within(&server, OTHERS_LIMIT).await?;
    no_panic(&server)
}

#[tokio::test]
async fn names_that_nobody_reported_are_not_remembered() -> Result<()> {
    let (_farm, server) = server().await?;
    let mut session = server.session().await?;
    session.enter("get-stream").await?;
    session.line("warm up").await?;
    let before = resident_bytes(&server)?;
    let name = "n".repeat(4000);
    for batch in 0..40 {
        for number in 0..250 {
            session
                .send_item(&format!("{name}{batch}-{number} {number}"))
                .await?;
        }
        for _ in 0..250 {
            ensure!(session.item().await?.as_deref() == Some(""));
        }
    }
    let grown = resident_bytes(&server)?.saturating_sub(before);
    ensure!(
        grown < 20 * MIB,
        "{grown} more bytes for 10,000 unknown methods"
    );
    Ok(())
}

#[tokio::test]
async fn peers_do_not_make_up_metrics() -> Result<()> {
    let (_farm, server) = server().await?;
    let page = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    serves_within(&server, OTHERS_LIMIT).await?;
    let before = http(&server, page).await?.lines().count();
    for number in 0..300 {
        let mut session = server.session().await?;
        session
            .send(&json!({format!("made-up-{number}"): null}))
            .await?;
        ensure!(session.answer().await?.is_none());
        let unknown =
            format!("GET /made-up-{number} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        http(&server, &unknown).await?;
    }
    let after = http(&server, page).await?.lines().count();
    ensure!(
        after < before + 20,
        "{before} lines of metrics became {after}"
    );
    Ok(())
}

#[tokio::test]
async fn many_failed_logins_hold_up_nobody() -> Result<()> {
    let (_farm, server) = server().await?;
    let mut crowd = Vec::new();
    for number in 0..500 {
        let mut session = server.session().await?;
        let login = json!({"auth": {"username": format!("user-{number}"), "token": "x"}});
        session.send(&login).await?;
        crowd.push(session);
    }
    serves_within(&server, OTHERS_LIMIT).await?;
    for session in &mut crowd {
        let answer = session.answer().await?.context("closed without a word")?;
        ensure!(answer["invoke-error"].is_object(), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn websocket_fragments_without_an_end_are_cut_off() -> Result<()> {
    let (_farm, server) = impatient_server().await?;
    let before = resident_bytes(&server)?;
    let mut lines = Connection::open(server.address()).await?.into_lines()?;
    let upgrade = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    lines.send(upgrade.as_bytes()).await?;
    while lines.line().await? != b"\r\n" {}
    // A text frame that is not the last one, masked with zeros, then more of it.
    let mut frame = vec![0x01, 0x80 | 126, 0xff, 0xff, 0, 0, 0, 0];
    frame.extend([b'x'; 0xffff]);
    for _ in 0..400 {
        if timeout(PATIENCE, lines.send_in_vain(&frame))
            .await?
            .is_err()
        {
            break;
        }
        frame[0] = 0x00;
    }
    let grown = resident_bytes(&server)?.saturating_sub(before);
    ensure!(grown < 24 * MIB, "{grown} more bytes for one message");
    serves_within(&server, OTHERS_LIMIT).await
}

/// What a peer sends over a limit is counted, and logged with its address.
#[tokio::test]
async fn what_goes_over_a_limit_is_counted_and_logged() -> Result<()> {
    const MISBEHAVED: &str = "fingerpost_hashequiv_misbehaved_total";
    let (_farm, server) = server().await?;
    let before = metric(&server, MISBEHAVED, "").await?;
    let mut lines = server.connect().await?.into_lines()?;
    lines.send(HANDSHAKE).await?;
    lines.send_in_vain(&vec![b'x'; 70_000]).await?;
    ensure!(lines.rest().await?.is_empty());
    eventually(Duration::from_secs(5), async || {
        Ok(server.log().contains("127.0.0.1:"))
    })
    .await?;
    let logged = server.log();
    let line = logged
        .lines()
        .find(|line| line.contains("too long") && line.contains("peer"));
    ensure!(line.is_some(), "not logged:\n{logged}");
    ensure!(metric(&server, MISBEHAVED, "").await? > before);
    Ok(())
}
