//! What a service manager does with an agent: sockets, words, signals.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::program::{Host, Running, SERVER};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_socket_of_systemd_stays_and_the_next_agent_serves_on_it() -> Result<()> {
    let host = Host::new()?;
    let path = host.run("agent.sock");
    let socket = UnixListener::bind(&path)?;
    for _ in 0..2 {
        let mut agent = host.activated(&socket, &[SERVER])?;
        let line = agent.line()?;
        let listening = format!("Listening on unix://{} for ", path.display());
        ensure!(line.starts_with(&listening), "{line}");
        ensure!(host.status()?["pid"] == agent.pid());
        agent.stop()?;
        ensure!(path.exists());
    }
    Ok(())
}

#[test]
fn systemd_is_told_of_the_start_and_of_the_end() -> Result<()> {
    let host = Host::new()?;
    let told = UnixDatagram::bind(host.run("notify"))?;
    told.set_read_timeout(Some(PATIENCE))?;
    let word = || -> Result<String> {
        let mut bytes = [0; 100];
        let length = told.recv(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).trim().to_owned())
    };
    let mut command = host.program();
    command.arg(SERVER).env("NOTIFY_SOCKET", host.run("notify"));
    let agent = Running::start(command)?;
    ensure!(word()? == "READY=1");
    ensure!(host.status()?["pid"] == agent.pid());
    agent.stop()?;
    ensure!(word()? == "STOPPING=1");
    Ok(())
}

#[test]
fn a_terminal_that_closes_ends_no_agent() -> Result<()> {
    let host = Host::new()?;
    let mut agent = host.agent(&[SERVER])?;
    agent.line()?;
    agent.signal(Signal::HUP)?;
    ensure!(host.status()?["pid"] == agent.pid());
    agent.signal(Signal::INT)?;
    ensure!(agent.ended()?.success());
    Ok(())
}
