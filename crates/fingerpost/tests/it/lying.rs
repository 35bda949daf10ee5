//! Upstreams that lie, babble or break off: they cost a miss, and nothing that
//! they say gets where it does not belong.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Report, Server, TestFarm, hash};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::world::{farm, no_panic, resident_bytes};

/// One bounded wait of the server, twice, and what a busy machine adds.
const ANSWER_MAX: Duration = Duration::from_secs(4);
const MIB: u64 = 1 << 20;

/// What an upstream sends for a line that it receives behind the handshake.
type Liar = dyn Fn(&str) -> String + Send + Sync;

async fn liar(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let answer: Arc<Liar> = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(lie(stream, Arc::clone(&answer)));
        }
    });
    Ok(address)
}

/// Reads the handshake, then answers line by line; an answer that ends in
/// `CLOSE` closes.
async fn lie(stream: TcpStream, answer: Arc<Liar>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut open = false;
    loop {
        line.clear();
        if (&mut stream).take(1 << 20).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let received = line.trim_end();
        if !open {
            open = received.is_empty();
            continue;
        }
        let text = answer(received);
        let (text, close) = match text.strip_suffix("CLOSE") {
            Some(text) => (text, true),
            None => (text.as_str(), false),
        };
        stream.write_all(text.as_bytes()).await?;
        if close {
            return Ok(());
        }
    }
}

async fn below(farm: &TestFarm, upstream: &str) -> Result<Server> {
    let server = farm
        .server()
        .upstream(upstream)
        .set("upstream.timeout_ms", "400")
        .set("upstream.miss_seconds", "0");
    server.start().await
}

/// Every kind of question is answered from local data, in time.
async fn answers_alone(server: &Server) -> Result<()> {
    let mut session = server.session().await?;
    ensure!(session.report(&Report::new(1, 1)).await? == hash(1, 1));
    let began = Instant::now();
    for request in [
        json!({"get": {"method": "TestMethod", "taskhash": hash(1, 2)}}),
        json!({"get": {"method": "TestMethod", "taskhash": hash(1, 3), "all": true}}),
        json!({"get-outhash": {"method": "TestMethod", "outhash": hash(2, 4), "taskhash": ""}}),
    ] {
        let asked = Instant::now();
        let answer = session.ask(request.clone()).await?;
        ensure!(answer == Value::Null, "{request}: {answer}");
        ensure!(
            asked.elapsed() < ANSWER_MAX,
            "{request} took {:?}",
            asked.elapsed()
        );
    }
    session.enter("get-stream").await?;
    for number in 1..20 {
        let found = session
            .line(&format!("TestMethod {}", hash(1, number)))
            .await?;
        ensure!(
            found.is_empty() == (number != 1),
            "task {number}: {found:?}"
        );
    }
    session.leave().await?;
    session.enter("exists-stream").await?;
    ensure!(session.line(&hash(1, 9)).await? == "false");
    session.leave().await?;
    ensure!(
        began.elapsed() < ANSWER_MAX * 6,
        "took {:?}",
        began.elapsed()
    );
    no_panic(server)
}

#[tokio::test]
async fn babble_is_a_miss() -> Result<()> {
    let babble: Vec<Box<Liar>> = vec![
        Box::new(|_| "CLOSE".to_owned()),
        Box::new(|_| "\n".to_owned()),
        Box::new(|_| "nonsense\n".to_owned()),
        Box::new(|_| "\"ok\"\nCLOSE".to_owned()),
        Box::new(|_| "\"ok\"\nhalf a lineCLOSE".to_owned()),
        Box::new(|_| "{\"invoke-error\": {\"message\": \"no\"}}\n".to_owned()),
        Box::new(|_| "{\"invoke-error\": 5}\n".to_owned()),
        Box::new(|_| "[[[[[[[[]]]]]]]]\n".to_owned()),
        Box::new(|_| "{\"chunk-stream\": null}\n\n".to_owned()),
        Box::new(|_| "\u{0}\u{7f}\u{85}\n".to_owned()),
        Box::new(|line| {
            if line.contains("stream") {
                "\"ok\"\n".to_owned()
            } else {
                "ZZ\n".to_owned()
            }
        }),
    ];
    for (number, answer) in babble.into_iter().enumerate() {
        let farm = farm();
        let server = below(&farm, &liar(answer).await?).await?;
        answers_alone(&server)
            .await
            .with_context(|| format!("babble {number}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn endless_answers_are_cut_off() -> Result<()> {
    for answer in [
        "x".repeat(8 << 20),
        format!("{{\"chunk-stream\": null}}\n{}", "y\n".repeat(4 << 20)),
    ] {
        let farm = farm();
        let server = below(&farm, &liar(move |_| answer.clone()).await?).await?;
        let before = resident_bytes(&server)?;
        answers_alone(&server).await?;
        let grown = resident_bytes(&server)?.saturating_sub(before);
        ensure!(grown < 160 * MIB, "{} MiB more", grown / MIB);
    }
    Ok(())
}

/// A line too many would shift every later answer to the wrong task.
#[tokio::test]
async fn surplus_answers_do_not_reach_the_next_question() -> Result<()> {
    let farm = farm();
    let address = liar(|line| match line.split_once(' ') {
        Some(("TestMethod", taskhash)) => format!("{taskhash}\n{}\n", hash(9, 9)),
        _ => "\"ok\"\n".to_owned(),
    });
    let server = below(&farm, &address.await?).await?;
    let mut session = server.session().await?;
    session.enter("get-stream").await?;
    for number in 0..30 {
        let found = session
            .line(&format!("TestMethod {}", hash(1, number)))
            .await?;
        let right = found.is_empty() || found == hash(1, number);
        ensure!(right, "task {number} got another answer: {found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn row(taskhash: &str, unihash: &str) -> String {
    let row = json!({
        "id": 1, "method": "TestMethod", "taskhash": taskhash, "outhash": hash(2, 1),
        "created": "2026-11-22T04:41:07.123456+00:00", "owner": null, "PN": null, "PV": null, "PR": null,
        "task": null, "outhash_siginfo": null, "unihash": unihash, "gc_mark": ""
    });
    format!("{row}\n")
}

#[tokio::test]
async fn a_row_of_another_task_is_not_kept() -> Result<()> {
    let farm = farm();
    let address = liar(|line| {
        if line.contains("stream") {
            "\"ok\"\n".to_owned()
        } else if line.starts_with('{') {
            row(&hash(1, 77), &hash(9, 9))
        } else {
            "\n".to_owned()
        }
    });
    let server = below(&farm, &address.await?).await?;
    let mut session = server.session().await?;
    for all in [true, false] {
        session
            .ask(json!({"get": {"method": "TestMethod", "taskhash": hash(1, 5), "all": all}}))
            .await?;
    }
    session.ask(json!({"backfill-wait": null})).await?;
    for number in [5, 77] {
        let mut fresh = server.session().await?;
        fresh.enter("get-stream").await?;
        let found = fresh
            .line(&format!("TestMethod {}", hash(1, number)))
            .await?;
        ensure!(found.is_empty(), "task {number} was poisoned: {found}");
    }
    Ok(())
}

#[tokio::test]
async fn an_invalid_unihash_of_an_upstream_is_neither_served_nor_kept() -> Result<()> {
    let farm = farm();
    let address = liar(|line| {
        if line.contains("exists") || line.contains("get-stream") {
            "\"ok\"\n".to_owned()
        } else if line.starts_with('{') {
            row(&hash(1, 5), "not-a-unihash")
        } else {
            "not-a-unihash\n".to_owned()
        }
    });
    let server = below(&farm, &address.await?).await?;
    let mut session = server.session().await?;
    session.enter("get-stream").await?;
    let found = session.line(&format!("TestMethod {}", hash(1, 5))).await?;
    ensure!(found.is_empty(), "served: {found}");
    session.leave().await?;
    ensure!(session.report(&Report::new(5, 1)).await? == hash(1, 5));
    ensure!(session.unihash("TestMethod", &hash(1, 5)).await? == Some(hash(1, 5)));
    no_panic(&server)
}
