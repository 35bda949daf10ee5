//! A server of Redis' protocol as a child of the test; `scripts/prepare`
//! installs one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::ports::free_port;

/// It keeps nothing on disk, and is gone with this value.
pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts one on a free port of 127.0.0.1 and waits, within a limit, until it
    /// answers.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts one with further options: `["--maxmemory", "5mb"]`.
    pub fn start_with(options: &[&str]) -> Result<Self> {
        let port = free_port()?;
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        Ok(Self {
            port,
            child: spawn(port, &options)?,
            options,
        })
    }

    /// Its port of 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, without a database.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a lost machine would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again on its port, empty.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(self.port, &self.options)?;
        Ok(())
    }

    /// It keeps its connections and says nothing any more.
    pub fn hang(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Ends [`hang`](Self::hang).
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Runs a command of `redis-cli`; what it printed.
    pub fn cli(&self, words: &[&str]) -> Result<String> {
        let program = installed(["valkey-cli", "redis-cli"])?;
        let output = Command::new(program)
            .args(["-p", &self.port.to_string()])
            .args(words)
            .stdin(Stdio::null())
            .output()?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{program} {words:?}: {out}");
        Ok(out)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // A kill reaches a stopped process too.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

const START_LIMIT: Duration = Duration::from_secs(20);

/// The first of these programs that is there.
fn installed(programs: [&'static str; 2]) -> Result<&'static str> {
    let is_there = |program: &&str| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    let mut programs = programs.into_iter();
    let found = programs.find(is_there);
    found.context("scripts/prepare installs redis-server")
}

fn spawn(port: u16, options: &[String]) -> Result<Child> {
    let program = installed(["valkey-server", "redis-server"])?;
    let child = Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(options)
        .stdout(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    while !answers(port) {
        ensure!(start.elapsed() < START_LIMIT, "{program} does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut pong = [0; 7];
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut pong).is_ok()
        && &pong == b"+PONG\r\n"
}
