//! Who may do what. No server answers: what an agent would bring to it is on the disk, and
//! can be counted.

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::Session;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::program::{Host, Running, SERVER};

const TASKHASH: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const UNIHASH: &str = "2222222222222222222222222222222222222222222222222222222222222222";
/// Nobody's number.
const NOBODY: u32 = 4_294_000_000;

/// An agent with these lines in its file, and what it listens on besides its socket.
fn agent(host: &Host, lines: &str) -> Result<(Running, Vec<String>)> {
    let file = host.home("agent.toml");
    std::fs::write(&file, lines)?;
    let mut agent = host.agent(&[SERVER, "--config", &file.display().to_string()])?;
    agent.line()?;
    agent.line()?;
    let mut others = Vec::new();
    for _ in 0..lines.matches(":0'").count() {
        agent.line()?;
        let line = agent.line()?;
        let address = line.split('"').nth(1).context(line.clone())?;
        others.push(address.to_owned());
    }
    Ok((agent, others))
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

async fn open(host: &Host) -> Result<Session> {
    Session::open(&format!("unix://{}", host.run("agent.sock").display())).await
}

/// What a build that asks does, whoever it is.
async fn look_up(session: &mut Session) -> Result<()> {
    let alive = session.ask(json!({"ping": {}})).await?;
    ensure!(alive == json!({"alive": true}), "{alive}");
    session.send(&json!({"get-stream": null})).await?;
    session.send_item(&format!("m {TASKHASH}")).await?;
    session.send_item("END").await?;
    for expected in ["\"ok\"", "", "ok"] {
        let item = session.item().await?;
        ensure!(item.as_deref() == Some(expected), "{item:?}");
    }
    Ok(())
}

/// Reports; whoever it is, the build goes on with what it proposes.
async fn report(session: &mut Session) -> Result<()> {
    let row = json!({"method": "m", "taskhash": TASKHASH, "unihash": UNIHASH});
    let mut report = row.clone();
    report["outhash"] = json!(UNIHASH);
    let answer = session.ask(json!({ "report": report })).await?;
    ensure!(answer == row, "{answer}");
    Ok(())
}

/// Reports that are kept for the server, and those that are not passed on.
fn reports(host: &Host) -> Result<(Value, Value)> {
    let status = host.status()?;
    let forgotten = status["counts"]["not_passed_on"].clone();
    Ok((status["spool"]["count"].clone(), forgotten))
}

/// What an administration command is refused with.
async fn refusal(session: &mut Session, command: &str) -> Result<String> {
    let answer = session.ask(json!({ command: null })).await?;
    let why = answer["invoke-error"]["message"].as_str();
    Ok(why.with_context(|| answer.to_string())?.to_owned())
}

#[tokio::test]
async fn without_profiles_whoever_the_socket_lets_in_reports() -> Result<()> {
    let host = Host::new()?;
    let (_agent, _) = agent(&host, "")?;
    let mut session = open(&host).await?;
    look_up(&mut session).await?;
    report(&mut session).await?;
    ensure!(reports(&host)? == (json!(1), json!(0)));
    // It is the server that does not answer.
    session.send(&json!({"gc-mark-stream": null})).await?;
    ensure!(session.answer().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_profile_says_what_its_users_may() -> Result<()> {
    let host = Host::new()?;
    let lines = format!(
        "[[profiles]]\nname = 'ci'\nusers = [{}]\npermissions = ['@read', '@report']\n",
        own_uid()
    );
    let (_agent, _) = agent(&host, &lines)?;
    let mut session = open(&host).await?;
    look_up(&mut session).await?;
    report(&mut session).await?;
    ensure!(reports(&host)? == (json!(1), json!(0)));
    let why = refusal(&mut session, "reset-stats").await?;
    let user = format!("for uid {} ", own_uid());
    ensure!(
        why.contains(&user) && why.contains("profile at this agent is ci"),
        "{why}"
    );
    Ok(())
}

#[tokio::test]
async fn whoever_has_no_profile_reads_and_nothing_of_it_goes_further() -> Result<()> {
    let host = Host::new()?;
    let lines = format!(
        "[[profiles]]\nname = 'ci'\nusers = [{NOBODY}]\npermissions = ['@read', '@report']\n"
    );
    let (agent, _) = agent(&host, &lines)?;
    let mut session = open(&host).await?;
    let login = session.login("ann", "secret").await?;
    ensure!(login["permissions"] == json!(["@read"]), "{login}");
    look_up(&mut session).await?;
    report(&mut session).await?;
    report(&mut session).await?;
    ensure!(reports(&host)? == (json!(0), json!(2)));
    // Nobody was asked whether the login is right.
    ensure!(host.status()?["counts"]["logins"] == 0);
    for command in ["get-all-users", "gc-mark-stream"] {
        let mut session = open(&host).await?;
        let why = refusal(&mut session, command).await?;
        ensure!(why.contains("is unmapped: ask the server itself"), "{why}");
    }
    drop(session);
    let log = agent.stop()?;
    let told = "reports of this user are not passed on";
    ensure!(log.matches(told).count() == 1, "{log}");
    Ok(())
}

#[tokio::test]
async fn builds_on_a_port_of_loopback_read_by_lines_and_by_websocket() -> Result<()> {
    let host = Host::new()?;
    let (_agent, ports) = agent(&host, "bind = ['127.0.0.1:0']\n")?;
    for address in [ports[0].clone(), format!("ws://{}", ports[0])] {
        let mut session = Session::open(&address).await?;
        look_up(&mut session).await?;
        report(&mut session).await?;
        let why = refusal(&mut session, "reset-stats").await?;
        ensure!(why.contains("is loopback: ask the server itself"), "{why}");
    }
    ensure!(reports(&host)? == (json!(0), json!(2)));
    Ok(())
}

#[tokio::test]
async fn a_port_may_report_and_never_administers() -> Result<()> {
    let host = Host::new()?;
    let lines = "bind = ['127.0.0.1:0', 'ws://127.0.0.1:0']\nloopback_profile = 'local'\n\
        [[profiles]]\nname = 'local'\npermissions = ['@read', '@report', '@admin']\n";
    let (_agent, ports) = agent(&host, lines)?;
    for address in ports {
        let mut session = Session::open(&address).await?;
        report(&mut session).await?;
        let why = refusal(&mut session, "remove").await?;
        ensure!(why.contains("is local: ask the server itself"), "{why}");
    }
    ensure!(reports(&host)? == (json!(1), json!(0)));
    Ok(())
}

#[tokio::test]
async fn a_web_page_opens_no_websocket() -> Result<()> {
    let host = Host::new()?;
    let (_agent, ports) = agent(&host, "bind = ['127.0.0.1:0']\n")?;
    let upgraded = async |origin: &str| {
        let mut stream = TcpStream::connect(&*ports[0]).await?;
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{origin}\r\n",
            ports[0]
        );
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        anyhow::Ok(String::from_utf8_lossy(&status).into_owned())
    };
    ensure!(upgraded("").await? == "HTTP/1.1 101");
    for origin in ["http://evil.example", "null", "http://127.0.0.1"] {
        let status = upgraded(&format!("origin: {origin}\r\n")).await?;
        ensure!(status == "HTTP/1.1 403", "{origin}: {status}");
    }
    Ok(())
}
