//! The real program as a child process.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::connection::{Connection, Transport};
use crate::farm::TestFarm;
use crate::session::Session;

/// The longest wait for a server to listen. Machines that build at the same
/// time are slow.
const START_LIMIT: Duration = Duration::from_secs(30);
/// The longest wait for a server to end after a stop signal. It promises five
/// seconds; the test of that promise measures, the others only must not hang.
const STOP_LIMIT: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(4);

/// What a server is started with. Every method gives the options back, so that
/// they read as one sentence.
#[derive(Clone)]
pub struct ServerOptions {
    farm: TestFarm,
    name: String,
    bind: String,
    database: PathBuf,
    admin: Option<(String, String)>,
    arguments: Vec<OsString>,
    settings: Vec<(String, OsString)>,
    sockets: Vec<(String, Arc<OwnedFd>)>,
}

impl ServerOptions {
    pub(crate) fn new(farm: TestFarm, number: u64) -> Self {
        let name = format!("server-{number}");
        let database = farm.path(&format!("{name}.db"));
        Self {
            farm,
            name,
            bind: "127.0.0.1:0".to_owned(),
            database,
            admin: None,
            arguments: Vec::new(),
            settings: Vec::new(),
            sockets: Vec::new(),
        }
        .set("metrics.bind", "")
        .set("log.format", "text")
    }

    /// Listens on `address` instead of a free TCP port.
    #[must_use]
    pub fn bind(mut self, address: impl Into<String>) -> Self {
        self.bind = address.into();
        self
    }

    /// Listens on one address of this transport.
    #[must_use]
    pub fn transport(self, transport: Transport) -> Self {
        let address = match transport {
            Transport::Tcp => "127.0.0.1:0".to_owned(),
            Transport::WebSocket => "ws://127.0.0.1:0".to_owned(),
            Transport::Unix => {
                let socket = self.farm.path(&format!("{}.sock", self.name));
                format!("unix://{}", socket.display())
            }
        };
        self.bind(address)
    }

    /// Uses this database file instead of one of its own.
    #[must_use]
    pub fn database(mut self, path: impl Into<PathBuf>) -> Self {
        self.database = path.into();
        self
    }

    /// Sets a key of the configuration, `section.key`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<OsString>) -> Self {
        let variable = format!("FINGERPOST_{}", key.replace('.', "__").to_uppercase());
        self.settings.retain(|(name, _)| *name != variable);
        self.settings.push((variable, value.into()));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// Adds an argument behind `serve`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Passes a listening socket under a name, as a service manager does. It stays
    /// open here, so that servers can follow each other on it. Two at most.
    #[must_use]
    pub fn socket(mut self, name: &str, socket: &Arc<OwnedFd>) -> Self {
        self.sockets.push((name.to_owned(), socket.clone()));
        self
    }

    /// What clients may do without a login, as the reference's option.
    #[must_use]
    pub fn anonymous(self, permissions: &str) -> Self {
        self.argument(format!("--anon-perms={permissions}"))
    }

    /// The user that is made at the start; replaces an earlier one.
    #[must_use]
    pub fn admin(mut self, name: &str, password: &str) -> Self {
        self.admin = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// The upstream's address.
    #[must_use]
    pub fn upstream(self, address: &str) -> Self {
        self.argument("--upstream").argument(address)
    }

    /// Refuses everything that writes.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.argument("--read-only")
    }

    /// The database file.
    pub fn database_path(&self) -> &Path {
        &self.database
    }

    /// Where a server with these options writes its log.
    pub fn log_path(&self) -> PathBuf {
        self.farm.path(&format!("{}.log", self.name))
    }

    /// The command line, without having run it. Output goes to the log file.
    pub fn command(&self) -> Result<Command> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = self.program(&log)?;
        command
            .arg("serve")
            .arg("--bind")
            .arg(&self.bind)
            .arg("--database")
            .arg(&self.database)
            .args(&self.arguments)
            .current_dir(self.farm.directory())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .env("FINGERPOST_SERVER__ADDRESS_FILE", self.address_path())
            .stderr(log)
            .kill_on_drop(true);
        if let Some((name, password)) = &self.admin {
            command.args(["--admin-user", name, "--admin-password", password]);
        }
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let foreign = name.starts_with("FINGERPOST_") || name.starts_with("HASHSERVER_");
            if foreign && !self.settings.iter().any(|(own, _)| *own == name) {
                command.env_remove(&*name);
            }
        }
        command.env("FINGERPOST_SERVER__ADDRESS_FILE", self.address_path());
        Ok(command)
    }

    /// The program, in its own process, with the sockets that are passed. A shell
    /// puts these where they belong and becomes the program.
    fn program(&self, log: &File) -> Result<Command> {
        let binary = self.farm.binary();
        let moves = match self.sockets.len() {
            0 => {
                let mut command = Command::new(binary);
                command.stdin(Stdio::null()).stdout(log.try_clone()?);
                return Ok(command);
            }
            1 => "3<&0",
            _ => "3<&0 4<&1",
        };
        let names: Vec<&str> = self.sockets.iter().map(|(name, _)| name.as_str()).collect();
        let script = format!(
            "exec env LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES='{}' \"$0\" \"$@\" {moves} \
             0</dev/null 1>&2",
            names.len(),
            names.join(":")
        );
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg(binary);
        command.stdin(self.sockets[0].1.try_clone()?);
        match self.sockets.get(1) {
            Some((_, socket)) => command.stdout(socket.try_clone()?),
            None => command.stdout(log.try_clone()?),
        };
        Ok(command)
    }

    /// Starts the server and waits, within a limit, until it listens.
    pub async fn start(self) -> Result<Server> {
        let address_path = self.address_path();
        _ = std::fs::remove_file(&address_path);
        let child = self.command()?.spawn().context("cannot run the server")?;
        let mut server = Server {
            child,
            addresses: Vec::new(),
            options: self,
        };
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(addresses) = read_addresses(&address_path) {
                server.addresses = addresses;
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                bail!(
                    "the server ended at its start ({status}):\n{}",
                    server.log()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "the server does not listen after {START_LIMIT:?}:\n{}",
                server.log()
            );
            sleep(POLL_INTERVAL).await;
        }
    }

    fn address_path(&self) -> PathBuf {
        self.farm.path(&format!("{}.address", self.name))
    }
}

/// The file's lines, once it was written whole.
fn read_addresses(path: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    let whole = !text.is_empty() && text.ends_with('\n');
    whole.then(|| text.lines().map(str::to_owned).collect())
}

/// A running server. Dropping it kills the process.
pub struct Server {
    child: Child,
    addresses: Vec<String>,
    options: ServerOptions,
}

impl Server {
    /// The first address it listens on.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// Every address it listens on.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// `HOST:PORT` of the first address, for HTTP.
    pub fn host_and_port(&self) -> &str {
        let address = self.address();
        address.strip_prefix("ws://").unwrap_or(address)
    }

    /// What it was started with.
    pub const fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// Everything it has logged and printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.options.log_path()).unwrap_or_default()
    }

    /// A raw connection to the first address.
    pub async fn connect(&self) -> Result<Connection> {
        Connection::open(self.address()).await
    }

    /// A connection with a completed handshake.
    pub async fn session(&self) -> Result<Session> {
        Session::open(self.address()).await
    }

    /// A logged-in connection.
    pub async fn login(&self, username: &str, token: &str) -> Result<Session> {
        let mut session = self.session().await?;
        session.login(username, token).await?;
        Ok(session)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.context("no process id")?, signal)?)
    }

    /// Asks the server to stop and waits, within a limit, for its end.
    pub async fn stop(mut self) -> Result<Stopped> {
        self.signal(Signal::TERM)?;
        let began = Instant::now();
        let status = self.wait().await?;
        Ok(Stopped {
            status,
            took: began.elapsed(),
            log: self.log(),
            options: self.options.clone(),
        })
    }

    /// Kills the server without a warning, as `kill -9`.
    pub async fn kill(mut self) -> Result<ServerOptions> {
        self.signal(Signal::KILL)?;
        self.wait().await?;
        Ok(self.options.clone())
    }

    /// Waits, within a limit, for the end of the process.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        match timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "the server runs {STOP_LIMIT:?} after its end:\n{}",
                self.log()
            ),
        }
    }
}

/// How a server ended.
pub struct Stopped {
    /// Its exit status.
    pub status: ExitStatus,
    /// From the signal to the end.
    pub took: Duration,
    /// Everything it logged.
    pub log: String,
    /// To start it again on the same database.
    pub options: ServerOptions,
}
