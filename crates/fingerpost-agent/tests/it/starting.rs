//! How an agent starts, and what keeps it from that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::program::{Host, SERVER};

#[test]
fn one_line_starts_it_and_it_says_the_other() -> Result<()> {
    let host = Host::new()?;
    let mut agent = host.agent(&[SERVER])?;
    let address = format!("unix://{}", host.run("agent.sock").display());
    let listening = format!("Listening on {address} for 127.0.0.1:1");
    ensure!(agent.line()? == listening);
    ensure!(agent.line()? == format!("BB_HASHSERVE = \"{address}\""));
    let mode = std::fs::metadata(host.run("agent.sock"))?.mode() & 0o777;
    ensure!(mode == 0o660, "{mode:o}");
    let status = host.status()?;
    ensure!(status["pid"] == agent.pid(), "{status}");
    ensure!(status["server"]["address"] == "127.0.0.1:1", "{status}");
    ensure!(
        status["lookups"] == 0 && status["answered_locally"] == 0,
        "{status}"
    );
    let (code, out, _) = host.outcome(&["status"])?;
    ensure!(code == 0 && out.contains("server   127.0.0.1:1 "), "{out}");
    agent.stop()?;
    ensure!(!host.run("agent.sock").exists());
    Ok(())
}

#[test]
fn metrics_are_on_a_port_of_their_own() -> Result<()> {
    let host = Host::new()?;
    // Whoever takes it in between makes the agent end with a sentence.
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut agent = host.agent(&[SERVER, "--metrics", &free.to_string()])?;
    agent.line()?;
    let text = got(free, "/metrics")?;
    for line in [
        "# TYPE fingerpost_agent_lookups_total counter",
        "fingerpost_agent_lookups_total 0",
        "fingerpost_agent_lookups_local_total 0",
        "fingerpost_agent_server_up 1",
        "fingerpost_agent_spooled_reports 0",
        "fingerpost_agent_dead_letters_total 0",
    ] {
        ensure!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    ensure!(got(free, "/healthz")?.starts_with("HTTP/1.1 200 "));
    agent.stop()?;
    Ok(())
}

/// The whole answer to a GET.
fn got(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn the_second_agent_is_told_who_has_the_socket() -> Result<()> {
    let host = Host::new()?;
    let mut first = host.agent(&[SERVER])?;
    first.line()?;
    let (code, _, error) = host.outcome(&[SERVER])?;
    let owner = format!("is taken by process {} (fingerpost-agent)", first.pid());
    ensure!(code == 69 && error.contains(&owner), "{code}: {error}");
    let other = host.run("other.sock").display().to_string();
    let (code, _, error) = host.outcome(&[SERVER, "--socket", &other])?;
    let in_use = "another agent is using the state directory ";
    ensure!(code == 69 && error.starts_with(in_use), "{code}: {error}");
    host.status()?;
    Ok(())
}

#[test]
fn the_socket_of_an_agent_that_was_killed_is_replaced() -> Result<()> {
    let host = Host::new()?;
    let mut killed = host.agent(&[SERVER])?;
    killed.line()?;
    killed.signal(Signal::KILL)?;
    killed.ended()?;
    ensure!(host.run("agent.sock").exists());
    let (code, _, error) = host.outcome(&["status"])?;
    ensure!(
        code == 69 && error.starts_with("nobody listens on "),
        "{code}: {error}"
    );
    let mut agent = host.agent(&[SERVER])?;
    agent.line()?;
    ensure!(host.status()?["pid"] == agent.pid());
    Ok(())
}

#[test]
fn what_is_missing_or_wrong_ends_it_with_a_sentence() -> Result<()> {
    let host = Host::new()?;
    std::fs::write(host.home("bad.toml"), "servre = 'h:1'\n")?;
    let bad = host.home("bad.toml").display().to_string();
    let check = |arguments: &[&str], expected: i32, words: &str| {
        let (code, _, error) = host.outcome(arguments)?;
        ensure!(code == expected && error.contains(words), "{code}: {error}");
        Ok(())
    };
    check(&[], 78, "which server?")?;
    check(
        &["--config", &bad],
        78,
        "bad.toml: line 1: unknown field `servre`",
    )?;
    check(
        &["--server=https://u:hunter2@h"],
        64,
        "a server's URL has no login in it",
    )?;
    check(
        &[SERVER, "--token-file=/t"],
        78,
        "token_file needs a server over HTTP",
    )?;
    check(&[SERVER, "--password=x"], 64, "unexpected argument")?;
    check(
        &[SERVER, "--socket-group=no such group"],
        78,
        "there is no group",
    )?;
    check(
        &[SERVER, "--socket=/not/there/agent.sock"],
        74,
        "cannot be listened on",
    )?;
    check(
        &[SERVER, "--bind=0.0.0.0:0"],
        64,
        "can be reached from other machines",
    )?;
    check(
        &[SERVER, "--loopback-profile=local"],
        78,
        "there is no profile of that name",
    )?;
    let own = format!("--server=unix://{}", host.run("agent.sock").display());
    check(&[&own], 78, "would be the agent's own server")?;
    check(&["status"], 69, "no agent runs here")
}

#[test]
fn variables_and_a_file_do_as_well_as_options() -> Result<()> {
    let host = Host::new()?;
    let file = host.home("agent.toml");
    std::fs::write(&file, "server = '127.0.0.1:1'\nmetrics = '127.0.0.1:0'\n")?;
    let mut command = host.program();
    command
        .env("FINGERPOST_AGENT_CONFIG", &file)
        .env("FINGERPOST_AGENT_SERVER", "127.0.0.1:2")
        .env("FINGERPOST_AGENT_STRICT_AUTH", "1");
    let mut agent = crate::program::Running::start(command)?;
    let line = agent.line()?;
    ensure!(line.ends_with(" for 127.0.0.1:2"), "{line}");
    agent.line()?;
    let line = agent.line()?;
    ensure!(line.starts_with("Metrics on 127.0.0.1:"), "{line}");
    Ok(())
}
