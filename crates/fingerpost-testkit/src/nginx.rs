//! An nginx as a child of the test, with a configuration of its own;
//! `scripts/prepare` installs one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// One process that serves what its configuration says. It is gone with this value.
pub struct Nginx {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl Nginx {
    /// Starts one and waits, within a limit, until something listens on `port` of
    /// 127.0.0.1. `http` is what stands in the configuration's block `http`, where
    /// `DIR` is a directory of its own that is there for as long as it runs.
    pub fn start(port: u16, http: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("nginx-").tempdir()?;
        let path = directory.path();
        // A single process, which is nobody else than who starts it.
        let mut text = "daemon off;\nmaster_process off;\npid DIR/pid;\nerror_log DIR/error.log;\n\
             events { worker_connections 256; }\nhttp {\naccess_log DIR/access.log;\n"
            .to_owned();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            text += &format!("{kind}_temp_path DIR/{kind};\n");
        }
        text += &format!("{http}\n}}\n");
        let text = text.replace("DIR", &path.display().to_string());
        std::fs::write(path.join("nginx.conf"), text)?;
        let mut nginx = Self {
            child: spawn(path)?,
            port,
            directory,
        };
        nginx.await_port()?;
        Ok(nginx)
    }

    /// Requests that it answered, a line each.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default()
    }

    /// Ends it, within a limit.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(start.elapsed() < LIMIT, "nginx does not stop");
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn await_port(&mut self) -> Result<()> {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || start.elapsed() > LIMIT {
                let log = std::fs::read_to_string(self.directory.path().join("error.log"));
                bail!("nginx does not start:\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

const LIMIT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

fn spawn(directory: &Path) -> Result<Child> {
    // Debian has it where only root looks.
    let programs = ["nginx", "/usr/sbin/nginx"].map(PathBuf::from);
    let program = programs
        .into_iter()
        .find(|program| Command::new(program).arg("-v").output().is_ok())
        .context("scripts/prepare installs nginx")?;
    let child = Command::new(program)
        .arg("-p")
        .arg(directory)
        .arg("-c")
        .arg(directory.join("nginx.conf"))
        .arg("-e")
        .arg(directory.join("error.log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child)
}
