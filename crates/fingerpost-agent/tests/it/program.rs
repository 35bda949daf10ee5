//! The program in a directory of its own, and agents that are killed when a test ends.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fingerpost-agent");
/// Nobody listens on a port that is not for ordinary use.
pub(crate) const SERVER: &str = "--server=127.0.0.1:1";

/// What a user has: a home, and a runtime directory.
pub(crate) struct Host(TempDir);

impl Host {
    pub(crate) fn new() -> Result<Self> {
        let host = Self(TempDir::new()?);
        for name in ["run", "home"] {
            std::fs::create_dir(host.0.path().join(name))?;
            let own = Permissions::from_mode(0o700);
            std::fs::set_permissions(host.0.path().join(name), own)?;
        }
        Ok(host)
    }

    /// A path in the runtime directory.
    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.0.path().join("run").join(name)
    }

    /// A path in the home.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.0.path().join("home").join(name)
    }

    /// The program, with nothing configured.
    pub(crate) fn program(&self) -> Command {
        self.configured(Command::new(PROGRAM))
    }

    fn configured(&self, mut command: Command) -> Command {
        command
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.home(""))
            // Tests may run as root, whose place is the system's.
            .env("RUNTIME_DIRECTORY", self.run(""))
            .env("STATE_DIRECTORY", self.home("state"))
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Runs it to the end; gives the exit code and both outputs.
    pub(crate) fn outcome(&self, arguments: &[&str]) -> Result<(i32, String, String)> {
        let output = self.program().args(arguments).output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().context("killed by a signal")?;
        Ok((code, text(output.stdout), text(output.stderr)))
    }

    /// What `status --json` says.
    pub(crate) fn status(&self) -> Result<Value> {
        let (code, out, error) = self.outcome(&["status", "--json"])?;
        ensure!(code == 0, "{code}: {error}");
        Ok(serde_json::from_str(&out)?)
    }

    pub(crate) fn agent(&self, arguments: &[&str]) -> Result<Running> {
        let mut command = self.program();
        command.args(arguments);
        Running::start(command)
    }

    /// An agent that `socket` is passed to, as systemd does. A shell puts it where it
    /// belongs and becomes the program.
    pub(crate) fn activated(&self, socket: &UnixListener, arguments: &[&str]) -> Result<Running> {
        let script = "exec env LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=agent \"$0\" \"$@\" 3<&0 0</dev/null";
        let mut command = self.configured(Command::new("/bin/sh"));
        command.args(["-c", script, PROGRAM]).args(arguments);
        command.stdin(OwnedFd::from(socket.try_clone()?));
        Running::start(command)
    }
}

/// An agent.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let out = BufReader::new(child.stdout.take().context("piped")?);
        Ok(Self { child, out })
    }

    /// The next line of standard output; empty at its end.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its end, which something else has brought about.
    pub(crate) fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Stops it; gives what it wrote to standard error.
    pub(crate) fn stop(mut self) -> Result<String> {
        self.signal(Signal::TERM)?;
        let status = self.ended()?;
        ensure!(status.success(), "{status}");
        let mut log = String::new();
        let mut errors = self.child.stderr.take().context("piped")?;
        errors.read_to_string(&mut log)?;
        Ok(log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is gone already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
