//! Log lines for programs.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::world::{farm, http, metric};

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_programs_are_json_and_name_the_request() -> Result<()> {
    let farm = farm();
    let options = farm.server().set("log.format", "json");
    let server = options.set("log.level", "debug").start().await?;
    // "a:b" is nobody.
    let request = "GET /v1/statistics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                   authorization: Basic YTpi\r\nx-request-id: build-9\r\n\r\n";
    let answer = http(&server, request).await?;
    ensure!(
        answer.contains("401") && answer.contains("build-9"),
        "{answer}"
    );
    let request = "GET /v1/none HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    http(&server, request).await?;
    let logins = "fingerpost_accounts_logins_total";
    let wrong = metric(&server, logins, "outcome=\"wrong\"").await?;
    ensure!(wrong == 1.0);

    let log = server.stop().await?.log;
    // What people paste into their configuration goes to standard output, as it is.
    let lines = log.lines().filter(|line| line.contains("\"msg\""));
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect::<Result<_>>()?;
    let named = |line: &&Value| line["request_id"] == "build-9";
    let line = lines.iter().find(named).context("no line of the request")?;
    ensure!(line["msg"] == "A login failed", "{line}");
    ensure!(
        line["peer"]
            .as_str()
            .is_some_and(|peer| peer.starts_with("127.0.0.1:")),
        "{line}"
    );
    Ok(())
}
