//! `fingerpost top` against a server.

use anyhow::{Context as _, Result, ensure};
use fingerpost_testkit::Report;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::outcome;
use crate::world::server;

/// Exit code and both outputs of `fingerpost top --once WORDS`.
async fn top(words: &[&str]) -> Result<(i32, String, String)> {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let running = tokio::task::spawn_blocking(move || {
        let words = words.iter().map(String::as_str);
        let words: Vec<&str> = ["top", "--once"].into_iter().chain(words).collect();
        outcome(&TempDir::new()?, &words)
    });
    running.await?
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_is_for_people_or_for_programs() -> Result<()> {
    let (_farm, server) = server().await?;
    let mut session = server.session().await?;
    session.report(&Report::new(1, 1)).await?;

    let (code, shown, error) = top(&[server.host_and_port()]).await?;
    ensure!(code == 0 && error.is_empty(), "{code}: {error}");
    ensure!(
        shown.contains("ready\n") && shown.contains("look-ups "),
        "{shown}"
    );
    ensure!(!shown.contains('\x1b'), "it is no terminal");

    let (code, line, error) = top(&["--json", server.host_and_port()]).await?;
    ensure!(code == 0 && error.is_empty(), "{code}: {error}");
    let figures: Value = serde_json::from_str(&line)?;
    ensure!(figures["ready"] == true, "{figures}");
    let connections = figures["connections"].as_f64();
    ensure!(connections.context("no connections")? >= 1.0, "{figures}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_server_is_told_as_what_it_is() -> Result<()> {
    let (_farm, server) = server().await?;
    let elsewhere = format!("http://{}/nope", server.host_and_port());
    let (code, _, error) = top(&[&elsewhere]).await?;
    ensure!(
        code == 69 && error.contains("answers 404 Not Found: no metrics"),
        "{code}: {error}"
    );
    let pages = axum::Router::new().route(
        "/metrics",
        axum::routing::get(async || "fingerpost_agent_lookups_total 7\n"),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let agent = listener.local_addr()?.to_string();
    tokio::spawn(axum::serve(listener, pages).into_future());
    let (code, _, error) = top(&[&agent]).await?;
    ensure!(
        code == 64 && error.contains("is an agent and no server: fingerpost agent status"),
        "{code}: {error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_ends_it() -> Result<()> {
    let (code, _, error) = top(&["http://127.0.0.1:1"]).await?;
    ensure!(
        code == 69 && error.contains("does not answer"),
        "{code}: {error}"
    );
    Ok(())
}
