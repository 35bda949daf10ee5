//! A PgBouncer as a child of the test; `scripts/prepare` installs one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::account::{give_to_postgres, run_as_postgres};
use crate::ports::free_port;
use crate::postgres::PostgresCluster;

/// Shares few connections to a server among many clients, in transaction mode: a
/// client has one for a transaction and no longer. It is gone with this value.
pub struct PgBouncer {
    directory: TempDir,
    port: u16,
    child: Child,
}

impl PgBouncer {
    /// Starts one before a server, with `connections` to each of its databases,
    /// and waits, within a limit, until it listens.
    pub fn start(cluster: &PostgresCluster, connections: u32) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("pgbouncer-").tempdir()?;
        let path = directory.path();
        let port = free_port()?;
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {users}\npool_mode = transaction\n\
             default_pool_size = {connections}\nmax_client_conn = 200\n\
             server_login_retry = 1\n",
            server = cluster.port(),
            users = path.join("users").display(),
        );
        std::fs::write(path.join("users"), "\"postgres\" \"\"\n")?;
        std::fs::write(path.join("pgbouncer.ini"), text)?;
        for file in [path, &path.join("users"), &path.join("pgbouncer.ini")] {
            give_to_postgres(file)?;
        }
        let mut pooler = Self {
            child: spawn(path)?,
            port,
            directory,
        };
        pooler.await_port()?;
        Ok(pooler)
    }

    /// The URL of a database behind it, without parameters.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn await_port(&mut self) -> Result<()> {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if self.child.try_wait()?.is_some() || start.elapsed() > LIMIT {
                let log = std::fs::read_to_string(self.directory.path().join("log"));
                bail!("PgBouncer does not start:\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

const LIMIT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

fn spawn(directory: &Path) -> Result<Child> {
    // Debian has it where only root looks.
    let programs = ["pgbouncer", "/usr/sbin/pgbouncer"].map(PathBuf::from);
    let program = programs
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_ok())
        .context("PgBouncer is missing; scripts/prepare installs the system package pgbouncer")?;
    let log = std::fs::File::create(directory.join("log"))?;
    let mut command = Command::new(program);
    command
        .arg(directory.join("pgbouncer.ini"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    run_as_postgres(&mut command)?;
    Ok(command.spawn()?)
}
