//! The server and the agent: this program, started twice.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fingerpost_agent::cli::status_on;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// A server and an agent with everything of theirs in one directory. They are killed when
/// this is dropped.
pub(super) struct Processes {
    dir: PathBuf,
    server: Option<Child>,
    agent: Option<Child>,
}

impl Processes {
    /// None yet.
    pub(super) fn in_directory(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            server: None,
            agent: None,
        }
    }

    /// Starts the server, with what it had before if it ran already; gives its address.
    pub(super) async fn start_server(&mut self) -> anyhow::Result<SocketAddr> {
        let file = self.dir.join("address");
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut command = self.command("server")?;
        command
            .args(["serve", "--bind", "127.0.0.1:0", "--metrics", ""])
            .args(["--config", "/dev/null", "--database"])
            .arg(self.dir.join("demo.db"))
            .arg("--address-file")
            .arg(&file);
        let server = command.spawn().context("cannot start a server")?;
        let server = self.server.insert(server);
        let listens = async || {
            let text = std::fs::read_to_string(&file).ok()?;
            text.trim().parse().ok()
        };
        let log = log_of(&self.dir, "server");
        within_start(server, listens, &log).await
    }

    /// Ends the server as the kernel does when memory runs out.
    pub(super) async fn kill_server(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server.take() {
            let killed = timeout(STOP_MAX, server.kill()).await;
            killed.context("the server does not die")??;
        }
        Ok(())
    }

    /// Starts the agent, whose server is where `server` says; builds ask its [`socket`].
    ///
    /// [`socket`]: Self::socket
    pub(super) async fn start_agent(
        &mut self,
        server: SocketAddr,
        deadline: Duration,
    ) -> anyhow::Result<()> {
        let deadline = deadline.as_millis().to_string();
        let socket = self.socket();
        let mut command = self.command("agent")?;
        command
            .args(["agent", "--config", "/dev/null", "--server"])
            .arg(format!("http://{server}"))
            .args(["--lookup-deadline-ms", &deadline])
            .args(["--report-deadline-ms", &deadline])
            .arg("--socket")
            .arg(&socket)
            .arg("--state-directory")
            .arg(self.dir.join("agent"));
        let agent = command.spawn().context("cannot start an agent")?;
        let agent = self.agent.insert(agent);
        let answers = async || status_on(&socket).await.ok().map(drop);
        let log = log_of(&self.dir, "agent");
        within_start(agent, answers, &log).await
    }

    /// Where the agent listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    /// Stops both in an orderly manner.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let agent = stop(self.agent.take(), "agent").await;
        stop(self.server.take(), "server").await.and(agent)
    }

    /// The last lines that they wrote, for whoever looks for a fault.
    pub(super) fn last_words(&self) -> String {
        let mut words = String::new();
        for name in ["server", "agent"] {
            let log = std::fs::read_to_string(log_of(&self.dir, name)).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
                words += &format!("{name}: {line}\n");
            }
        }
        words
    }

    /// This program, without any setting that is meant for others.
    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_of(&self.dir, name))
            .context("cannot write a log")?;
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if SETTINGS.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(&variable);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        Ok(command)
    }
}

fn log_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

/// Waits until something is there that a process makes.
async fn within_start<T>(
    process: &mut Child,
    look: impl AsyncFn() -> Option<T>,
    log: &Path,
) -> anyhow::Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return Ok(found);
            }
            if let Some(status) = process.try_wait()? {
                let log = std::fs::read_to_string(log).unwrap_or_default();
                bail!("it ended at once ({status}):\n{log}");
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let found = timeout(START_MAX, looking).await;
    let name = log.file_stem().unwrap_or_default().to_string_lossy();
    found
        .with_context(|| format!("the {name} did not start in time"))?
        .with_context(|| format!("the {name} did not start"))
}

async fn stop(process: Option<Child>, name: &str) -> anyhow::Result<()> {
    let Some(mut process) = process else {
        return Ok(());
    };
    let pid = process
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop the {name}"))?;
    }
    let status = timeout(STOP_MAX, process.wait()).await;
    let status = status.with_context(|| format!("the {name} did not stop"))??;
    ensure!(status.success(), "the {name} ended with {status}");
    Ok(())
}

/// What variables begin with that server and agent read.
const SETTINGS: [&str; 2] = ["FINGERPOST_", "HASHSERVER_"];
const LAST_LINES: usize = 5;
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(10);
