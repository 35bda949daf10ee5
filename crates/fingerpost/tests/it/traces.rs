//! Traces: what a collector gets, and that who cannot have them is told.

use std::fs;

use anyhow::Result;
use tempfile::TempDir;

use crate::program::outcome;

/// Exit code and error text of a look at a configuration.
fn check_config(text: &str) -> Result<(i32, String)> {
    let dir = TempDir::new()?;
    fs::write(dir.path().join("f.toml"), text)?;
    let (code, _, error) = outcome(&dir, &["check-config", "--config", "f.toml"])?;
    Ok((code, error))
}

#[test]
fn nobody_believes_that_there_are_traces_where_there_are_none() -> Result<()> {
    let endpoint = "[traces]\nendpoint = 'http://127.0.0.1:4318'\n";
    let (code, error) = check_config(endpoint)?;
    if cfg!(feature = "otlp") {
        assert_eq!((code, error.as_str()), (0, ""));
        let (code, error) = check_config("[traces]\nendpoint = 'https://collector'\n")?;
        assert!(code == 78 && error.contains("http://HOST:PORT"), "{error}");
        let (code, error) = check_config(&format!("{endpoint}one_in = 0\n"))?;
        assert!(code == 78 && error.contains("traces.one_in"), "{error}");
    } else {
        assert!(
            code == 78 && error.contains("built without traces"),
            "{error}"
        );
    }
    Ok(())
}

#[cfg(feature = "otlp")]
mod collected {
    use std::time::Duration;

    use anyhow::{Context as _, Result, ensure};
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use crate::world::{farm, http};

    const PATIENCE: Duration = Duration::from_secs(20);
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    /// A collector that takes everything; its address and what it is sent.
    async fn collector() -> Result<(String, mpsc::Receiver<Vec<u8>>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (took, taken) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, took.clone()));
            }
        });
        Ok((address, taken))
    }

    async fn take(mut stream: TcpStream, took: mpsc::Sender<Vec<u8>>) -> Result<()> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length = head
                    .lines()
                    .find_map(|it| it.strip_prefix("content-length: "));
                let length: usize = length.context("no length")?.parse()?;
                if bytes.len() >= end + 4 + length {
                    ensure!(head.starts_with("post /v1/traces "), "{head}");
                    took.send(bytes.drain(..end + 4 + length).collect()).await?;
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .await?;
                    continue;
                }
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let mut bytes = vec![0; text.len() / 2];
        for (byte, place) in bytes.iter_mut().zip(0..) {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).unwrap();
        }
        bytes
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_of_requests_reach_a_collector_in_the_callers_trace() -> Result<()> {
        let (address, mut taken) = collector().await?;
        let farm = farm();
        let server = farm
            .server()
            .set("traces.endpoint", format!("http://{address}"))
            .set("traces.one_in", "1")
            .variable("OTEL_BSP_SCHEDULE_DELAY", "50")
            .start()
            .await?;
        let request = format!(
            "GET /v1/ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             traceparent: 00-{TRACE}-{PARENT}-01\r\nx-request-id: build-7\r\n\r\n"
        );
        ensure!(http(&server, &request).await?.contains("200 OK"));
        let mut session = server.session().await?;
        session.ask(json!({"get-stats": null})).await?;

        let mut all = Vec::new();
        let there = |all: &[u8], part: &[u8]| all.windows(part.len()).any(|it| it == part);
        let wanted: [&[u8]; 5] = [
            b"GET /v1/ping",
            b"build-7",
            &hex(TRACE),
            &hex(PARENT),
            b"get-stats",
        ];
        while !wanted.iter().all(|part| there(&all, part)) {
            let more = timeout(PATIENCE, taken.recv()).await?;
            all.extend(more.context("the collector ended")?);
        }
        ensure!(there(&all, b"service.name") && there(&all, b"fingerpost"));
        let stopped = server.stop().await?;
        ensure!(
            !stopped.log.contains("traces cannot be sent"),
            "{}",
            stopped.log
        );
        ensure!(!stopped.log.contains("otel.name"), "{}", stopped.log);
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_not_there_is_told_of_and_harms_nobody() -> Result<()> {
        let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let farm = farm();
        let server = farm
            .server()
            .set("traces.endpoint", format!("http://{nobody}"))
            .set("traces.one_in", "1")
            .variable("OTEL_BSP_SCHEDULE_DELAY", "20")
            .start()
            .await?;
        let mut session = server.session().await?;
        crate::world::eventually(PATIENCE, async || {
            session.ask(json!({"ping": null})).await?;
            Ok(server.log().contains("traces cannot be sent"))
        })
        .await?;
        server.stop().await?;
        Ok(())
    }
}
