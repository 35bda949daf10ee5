//! A PostgreSQL as a child of the test; `scripts/prepare` installs one.

mod files;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::account::{give_to_postgres, run_as_postgres};
use crate::authority::Certificates;
use crate::ports::free_port;

/// A server with a directory, a port and a socket of its own. It is gone with
/// this value. Its superuser is `postgres`, who needs no password.
pub struct PostgresCluster {
    directory: TempDir,
    programs: PathBuf,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
    databases: Cell<u32>,
}

impl PostgresCluster {
    /// Starts one that is fast and loses data with the machine, and waits, within
    /// a limit, until it answers. The first one on a machine takes some seconds.
    pub fn start() -> Result<Self> {
        Self::start_with(&["fsync=off", "full_page_writes=off"])
    }

    /// Starts one that keeps what it answered, through a power cut too.
    pub fn durable() -> Result<Self> {
        Self::start_with(&["fsync=on", "synchronous_commit=on", "full_page_writes=on"])
    }

    /// Starts one with settings of its own: `["synchronous_commit=off"]`.
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        let programs = files::programs()?;
        let directory = tempfile::Builder::new().prefix("pg-").tempdir()?;
        give_to_postgres(directory.path())?;
        files::make(&programs, &directory.path().join("data"))?;
        let options = settings.iter().map(|&setting| setting.to_owned());
        let mut cluster = Self {
            port: free_port()?,
            options: options.collect(),
            child: None,
            databases: Cell::new(0),
            directory,
            programs,
        };
        cluster.spawn()?;
        Ok(cluster)
    }

    /// Offers TLS from now on, with the certificate for `localhost`, and takes no
    /// other connections over TCP; roles but `postgres` need their password there.
    /// Starts the server anew.
    pub fn require_tls(&mut self, certificates: &Certificates) -> Result<()> {
        let data = self.data();
        for (from, to) in [
            (&certificates.certificate, "server.crt"),
            (&certificates.key, "server.key"),
        ] {
            files::install(from, &data.join(to))?;
        }
        std::fs::write(
            data.join("pg_hba.conf"),
            "local all all trust\nhostssl all postgres 127.0.0.1/32 trust\n\
             hostssl all all 127.0.0.1/32 scram-sha-256\n",
        )?;
        self.options.push("ssl=on".to_owned());
        self.stop()?;
        self.restart()
    }

    /// Is a read-only replica from now on, of a primary that is not there. Starts
    /// the server anew.
    pub fn be_replica(&mut self) -> Result<()> {
        std::fs::write(self.data().join("standby.signal"), "")?;
        self.stop()?;
        self.restart()
    }

    /// Ends [`be_replica`](Self::be_replica).
    pub fn promote(&self) -> Result<()> {
        let promoted = self.sql("postgres", "SELECT pg_promote()")?;
        ensure!(promoted == "t", "PostgreSQL stays a replica");
        Ok(())
    }

    /// Its port of 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// The URL of one of its databases, without parameters.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a new database, which is empty.
    pub fn fresh_database(&self) -> Result<String> {
        self.databases.set(self.databases.get() + 1);
        let name = format!("test_{}", self.databases.get());
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// One of PostgreSQL's own programs for clients, `pg_dump` for one, told which server
    /// and which role.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.arg("--host").arg(self.socket_directory()).args([
            "--port",
            &self.port.to_string(),
            "--username",
            "postgres",
        ]);
        command
    }

    /// Runs SQL in a database; the rows, a line each, with `|` between columns.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let output = self
            .program("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql, database])
            .stdin(Stdio::null())
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{sql}: {error}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Ends the server and everything that works for it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let server = Pid::from_child(&child);
        // It starts nothing new while we look for what it has started.
        kill_process(server, Signal::STOP)?;
        let workers = files::children(server)?;
        child.kill()?;
        child.wait()?;
        for worker in &workers {
            _ = kill_process(*worker, Signal::KILL);
        }
        let start = Instant::now();
        for worker in workers {
            while files::is_running(worker, server) {
                ensure!(start.elapsed() < LIMIT, "a process of PostgreSQL stays");
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    /// It keeps its connections and says nothing any more.
    pub fn hang(&self) -> Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Ends [`hang`](Self::hang).
    pub fn go_on(&self) -> Result<()> {
        self.signal_all(Signal::CONT)
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        let server = Pid::from_child(self.child.as_ref().context("it does not run")?);
        kill_process(server, signal)?;
        for worker in files::children(server)? {
            // One that ended meanwhile needs none.
            _ = kill_process(worker, signal);
        }
        Ok(())
    }

    /// Starts it again on its port, with what it has stored.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it runs");
        self.spawn()
    }

    /// Ends it in an orderly way, within a limit; connections are closed.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::INT, LIMIT)
    }

    fn end(&mut self, signal: Signal, limit: Duration) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        kill_process(Pid::from_child(&child), signal)?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > limit {
                self.child = Some(child);
                self.kill()?;
                bail!("PostgreSQL does not stop");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn spawn(&mut self) -> Result<()> {
        // Of a server that was killed.
        _ = std::fs::remove_file(self.data().join("postmaster.pid"));
        let log = std::fs::File::create(self.directory.path().join("log"))?;
        let mut command = Command::new(self.programs.join("postgres"));
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k"])
            .arg(self.socket_directory())
            .args(["-c", "shared_buffers=16MB", "-c", "max_connections=60"])
            .args(["-c", "timezone=UTC", "-c", "max_prepared_transactions=4"]);
        for option in &self.options {
            command.args(["-c", option]);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        run_as_postgres(&mut command)?;
        self.child = Some(command.spawn().context("cannot start PostgreSQL")?);
        self.await_ready()
    }

    /// The server writes into its file of state when it takes connections.
    fn await_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        let state = self.data().join("postmaster.pid");
        loop {
            let text = std::fs::read_to_string(&state).unwrap_or_default();
            if text
                .lines()
                .nth(7)
                .is_some_and(|line| line.trim() == "ready")
            {
                return Ok(());
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
            if ended.flatten().is_some() || start.elapsed() > LIMIT {
                let log = std::fs::read_to_string(self.directory.path().join("log"));
                bail!("PostgreSQL does not start:\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        if self.child.is_some() {
            _ = self.go_on();
        }
        // At once, but it gives its shared memory back. Seldom it forgets to end.
        _ = self.end(Signal::QUIT, DROP_LIMIT);
        _ = self.kill();
    }
}

const LIMIT: Duration = Duration::from_secs(30);
const DROP_LIMIT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_survives_a_kill() {
        let mut cluster = PostgresCluster::durable().unwrap();
        let url = cluster.fresh_database().unwrap();
        assert!(url.ends_with("/test_1"));
        cluster
            .sql("test_1", "CREATE TABLE item AS SELECT 7 AS id")
            .unwrap();
        cluster.kill().unwrap();
        assert!(cluster.sql("test_1", "SELECT 1").is_err());
        cluster.restart().unwrap();
        assert_eq!(cluster.sql("test_1", "SELECT id FROM item").unwrap(), "7");
        cluster.stop().unwrap();
    }
}
