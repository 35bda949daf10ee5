//! The program as an operator meets it: lines, exit codes, the environment of
//! a service manager.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fingerpost");
const STOP_MAX: Duration = Duration::from_secs(5);

/// The sentence that tells operators of the reference server about cleaning.
const CLEANING: &str = "Anonymous clients may no longer clean or collect (reference default: \
@db-admin). Cron jobs need --login, or set anonymous_permissions = \
[\"@read\",\"@report\",\"@db-admin\"].";

/// Whether that is in the log, which is one of JSON.
fn tells_about_cleaning(log: &str) -> bool {
    log.contains(&Value::from(CLEANING).to_string())
}

/// The program in a directory of its own, without anything configured.
pub(crate) fn program(dir: &TempDir) -> Command {
    let mut command = Command::new(PROGRAM);
    configure(&mut command, dir.path());
    command
}

fn configure(command: &mut Command, dir: &Path) {
    command
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .stdin(Stdio::null());
}

fn run(dir: &TempDir, arguments: &[&str]) -> Result<Output> {
    program(dir)
        .args(arguments)
        .output()
        .context("cannot run the program")
}

/// Runs to the end; gives the exit code and both outputs.
pub(crate) fn outcome(dir: &TempDir, arguments: &[&str]) -> Result<(i32, String, String)> {
    let output = run(dir, arguments)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = output.status.code().context("killed by a signal")?;
    Ok((code, text(output.stdout), text(output.stderr)))
}

/// A server, killed when the test ends.
pub(crate) struct Serving {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Serving {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().context("piped")?);
        Ok(Self { child, out })
    }

    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// The lines of a start up to the last one.
    fn lines(&mut self) -> Result<Vec<String>> {
        (0..6).map(|_| self.line()).collect()
    }

    /// Stops the server; gives what it wrote to standard error.
    fn stop(mut self) -> Result<String> {
        let began = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}");
        ensure!(began.elapsed() < STOP_MAX, "took {:?}", began.elapsed());
        let mut log = String::new();
        self.child
            .stderr
            .take()
            .context("piped")?
            .read_to_string(&mut log)?;
        Ok(log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It is gone already when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(dir: &TempDir, arguments: &[&str]) -> Result<Serving> {
    let mut command = program(dir);
    command.args(["serve", "--metrics="]).args(arguments);
    Serving::start(command)
}

/// `ADDRESS` of `Listening on ADDRESS (..)`.
pub(crate) fn address(line: &str) -> Result<String> {
    let rest = line.strip_prefix("Listening on ").context("another line")?;
    Ok(rest.split(' ').next().unwrap_or_default().to_owned())
}

fn reference_database(path: &Path) -> Result<()> {
    Connection::open(path)?.execute_batch(
        "CREATE TABLE unihashes_v3 (id INTEGER PRIMARY KEY AUTOINCREMENT, method TEXT NOT NULL,
             taskhash TEXT NOT NULL, unihash TEXT NOT NULL, gc_mark TEXT NOT NULL,
             UNIQUE (method, taskhash));
         CREATE TABLE outhashes_v2 (id INTEGER PRIMARY KEY AUTOINCREMENT, method TEXT NOT NULL,
             taskhash TEXT NOT NULL, outhash TEXT NOT NULL, created DATETIME, owner TEXT, PN TEXT,
             PV TEXT, PR TEXT, task TEXT, outhash_siginfo TEXT, UNIQUE (method, taskhash, outhash));
         CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT NOT NULL,
             token TEXT NOT NULL, permissions TEXT NOT NULL, UNIQUE (username));
         CREATE TABLE config (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
             value TEXT, UNIQUE (name));
         INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
             VALUES ('m', 't', 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', '');",
    )?;
    Ok(())
}

#[test]
fn the_agent_is_a_command_of_it() -> Result<()> {
    let dir = TempDir::new()?;
    let socket = dir.path().join("agent.sock").display().to_string();
    let (code, out, error) = outcome(&dir, &["agent", "status", "--socket", &socket, "--json"])?;
    let is_so = code == 69 && out.is_empty() && error.starts_with("no agent runs here");
    ensure!(is_so, "{code} {out} {error}");
    let mut command = program(&dir);
    command.args(["agent", "--server=127.0.0.1:1", "--state-directory=state"]);
    command.args(["--socket", &socket]);
    let mut agent = Serving::start(command)?;
    let line = agent.line()?;
    ensure!(
        line == format!("Listening on unix://{socket} for 127.0.0.1:1"),
        "{line}"
    );
    let (code, out, _) = outcome(&dir, &["agent", "status", "--socket", &socket, "--json"])?;
    ensure!(code == 0 && out.contains("\"lookups\":0"), "{code} {out}");
    agent.stop()?;
    Ok(())
}

#[test]
fn a_start_prints_exactly_the_promised_lines() -> Result<()> {
    let dir = TempDir::new()?;
    let mut serving = serve(&dir, &["--bind", "127.0.0.1:0"])?;
    let lines = serving.lines()?;
    let address = address(&lines[0])?;
    let expected = [
        format!("Listening on {address} (BitBake, HTTP, websocket)"),
        "Data in ./fingerpost-data/fingerpost.db".to_owned(),
        "Paste into conf/local.conf:".to_owned(),
        "BB_SIGNATURE_HANDLER = \"OEEquivHash\"".to_owned(),
        format!("BB_HASHSERVE = \"{address}\""),
        format!("Check: fingerpost client --address {address} ping"),
    ];
    ensure!(lines == expected, "{lines:#?}");
    let (code, out, error) = outcome(&dir, &["client", "--address", &address, "ping", "-n", "1"])?;
    ensure!(code == 0 && out.starts_with("Ping 1: "), "{out}{error}");
    let log = serving.stop()?;
    ensure!(tells_about_cleaning(&log), "{log}");
    Ok(())
}

#[test]
fn the_notice_about_cleaning_comes_once_and_not_to_who_chose() -> Result<()> {
    let dir = TempDir::new()?;
    for (arguments, told) in [
        (&["--anon-perms", "@read", "-d", "a.db"][..], false),
        (&["-d", "b.db"], true),
        (&["-d", "b.db"], false),
    ] {
        let mut serving = serve(&dir, &[&["--bind", "127.0.0.1:0"], arguments].concat())?;
        serving.lines()?;
        let log = serving.stop()?;
        ensure!(tells_about_cleaning(&log) == told, "{arguments:?}: {log}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_has_its_exit_code_and_its_sentence() -> Result<()> {
    let dir = TempDir::new()?;
    std::fs::write(
        dir.path().join("junk"),
        "no database at all, but some text in it",
    )?;
    std::fs::write(dir.path().join("bad.toml"), "[server]\n\nfrob = 1\n")?;
    for (arguments, expected, words) in [
        (&["frob"][..], 64, "unrecognized subcommand"),
        (&["serve", "--frob"], 64, "--frob"),
        (
            &["serve", "-l", "loud"],
            78,
            "--log: \"loud\" is no log level",
        ),
        (&["serve", "-b", "nowhere"], 78, "--bind: "),
        (
            &["serve", "--anon-perms", "@all"],
            78,
            "@all cannot be given to anonymous clients",
        ),
        (
            &["serve", "--anon-perms", "@x"],
            78,
            "unknown permission @x",
        ),
        (&["serve", "--admin-user", "a"], 78, "need each other"),
        (
            &["serve", "-d", "mysql+aiomysql://u:secret@h/x"],
            78,
            "--database: database.path is a URL",
        ),
        (&["serve", "-d", "junk"], 78, "no Fingerpost database"),
        (&["serve", "-c", "bad.toml"], 78, "line 3"),
        (&["check-config", "-c", "bad.toml"], 78, "frob"),
        (
            &["check-config", "-c", "none.toml"],
            78,
            "cannot read none.toml",
        ),
        (&["serve", "-d", "none/x.db"], 74, "none/x.db"),
        (
            &["backup", "-d", "junk", "copy"],
            65,
            "no Fingerpost database",
        ),
        (
            &["restore", "-d", "new", "junk"],
            65,
            "no Fingerpost database",
        ),
        (
            &["client", "--address", "127.0.0.1:1", "ping"],
            1,
            "cannot connect to 127.0.0.1:1",
        ),
    ] {
        let (code, _, error) = outcome(&dir, arguments)?;
        ensure!(
            code == expected && error.contains(words),
            "{arguments:?}: {code}\n{error}"
        );
        ensure!(!error.contains("secret"), "{error}");
    }
    Ok(())
}

#[test]
fn a_taken_port_is_named_with_its_owner() -> Result<()> {
    let dir = TempDir::new()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let (code, _, error) = outcome(&dir, &["serve", "--metrics=", "-b", &address])?;
    ensure!(code == 69, "{code}: {error}");
    let owner = format!("{address} is taken by process {}", std::process::id());
    ensure!(error.contains(&owner), "{error}");
    Ok(())
}

#[test]
fn a_reference_database_is_refused_then_imported_then_used_and_never_written() -> Result<()> {
    let dir = TempDir::new()?;
    let file = dir.path().join("hashserv.db");
    reference_database(&file)?;
    let before = std::fs::read(&file)?;
    let arguments = ["--bind", "127.0.0.1:0", "-d", "hashserv.db"];
    let (code, _, error) = outcome(&dir, &[&["serve"][..], &arguments].concat())?;
    let sentence = "hashserv.db is a bitbake-hashserv database; run: fingerpost import hashserv.db \
                    --into hashserv.db.fingerpost (or start with --import)\n";
    ensure!(code == 78 && error == sentence, "{code}: {error}");
    ensure!(!dir.path().join("hashserv.db.fingerpost").exists());
    for extra in [&["--import"][..], &[]] {
        let mut serving = serve(&dir, &[&arguments[..], extra].concat())?;
        let lines = serving.lines()?;
        ensure!(lines[1] == "Data in hashserv.db.fingerpost", "{lines:?}");
        let address = address(&lines[0])?;
        let exists = [
            "client",
            "--address",
            &address,
            "unihash-exists",
            &"d".repeat(64),
        ];
        let (code, out, error) = outcome(&dir, &exists)?;
        ensure!(code == 0 && out == "true\n", "{out}{error}");
        let log = serving.stop()?;
        ensure!(
            extra.is_empty() == log.contains("which was imported from hashserv.db"),
            "{log}"
        );
    }
    ensure!(
        std::fs::read(&file)? == before,
        "the reference's file was written to"
    );
    Ok(())
}

#[test]
fn called_by_the_references_names_it_has_the_references_defaults() -> Result<()> {
    let dir = TempDir::new()?;
    let named = |name: &str| -> Result<Command> {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(PROGRAM, &link)?;
        let mut command = Command::new(link);
        configure(&mut command, dir.path());
        Ok(command)
    };
    let mut command = named("bitbake-hashserv")?;
    command.arg("--metrics=");
    let mut serving = Serving::start(command)?;
    let lines = serving.lines()?;
    ensure!(
        lines[0].ends_with("/hashserve.sock (BitBake, HTTP, websocket)"),
        "{lines:?}"
    );
    ensure!(lines[1] == "Data in ./hashserv.db", "{lines:?}");
    let ping = named("bitbake-hashclient")?.args(["ping", "-q"]).output()?;
    ensure!(ping.status.success(), "{ping:?}");
    serving.stop()?;
    ensure!(
        !dir.path().join("hashserve.sock").exists(),
        "the socket was left behind"
    );
    Ok(())
}

#[test]
fn a_service_manager_is_told_and_its_sockets_are_used() -> Result<()> {
    let dir = TempDir::new()?;
    let manager = UnixDatagram::bind(dir.path().join("notify"))?;
    manager.set_read_timeout(Some(Duration::from_secs(30)))?;
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    let expected = socket.local_addr()?.to_string();
    // The socket comes as standard input and is passed on as descriptor 3.
    let script = "exec env LISTEN_PID=$$ LISTEN_FDS=1 \"$0\" serve --metrics= 3<&0";
    let mut command = Command::new("/bin/sh");
    configure(&mut command, dir.path());
    command
        .args(["-c", script, PROGRAM])
        .env("PATH", "/usr/bin:/bin");
    command.env("NOTIFY_SOCKET", dir.path().join("notify"));
    command.stdin(std::os::fd::OwnedFd::from(socket));
    let mut serving = Serving::start(command)?;
    let lines = serving.lines()?;
    ensure!(address(&lines[0])? == expected, "{lines:?}");
    let mut told = [0; 100];
    let mut next = || -> Result<String> {
        let length = manager.recv(&mut told)?;
        Ok(String::from_utf8_lossy(&told[..length]).trim().to_owned())
    };
    ensure!(next()? == "READY=1");
    serving.stop()?;
    ensure!(next()? == "STOPPING=1");
    Ok(())
}

#[test]
fn addresses_are_written_to_a_file_when_asked() -> Result<()> {
    let dir = TempDir::new()?;
    let binds = [
        "-b",
        "127.0.0.1:0",
        "-b",
        "unix://./x.sock",
        "-b",
        "ws://127.0.0.1:0",
    ];
    let mut serving = serve(
        &dir,
        &[&binds[..], &["--address-file", "addresses"]].concat(),
    )?;
    let listening = (0..3)
        .map(|_| address(&serving.line()?))
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..5 {
        serving.line()?;
    }
    let file = dir.path().join("addresses");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !file.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let written = std::fs::read_to_string(file)?;
    ensure!(
        written.lines().collect::<Vec<_>>() == listening,
        "{written}{listening:?}"
    );
    for address in &listening {
        let ping = outcome(&dir, &["client", "--address", address, "ping", "-q"])?;
        ensure!(ping.0 == 0, "{address}: {ping:?}");
    }
    serving.stop()?;
    Ok(())
}

#[test]
fn a_password_on_the_command_line_is_warned_of_and_not_shown() -> Result<()> {
    let dir = TempDir::new()?;
    let arguments = [
        "-b",
        "127.0.0.1:0",
        "--admin-user",
        "a",
        "--admin-password",
        "hunter2",
    ];
    let mut serving = serve(&dir, &arguments)?;
    serving.lines()?;
    let log = serving.stop()?;
    ensure!(
        log.contains("--admin-password: every user of this machine"),
        "{log}"
    );
    ensure!(!log.contains("hunter2"), "{log}");
    Ok(())
}

#[test]
fn a_listener_that_others_reach_is_named_in_a_warning() -> Result<()> {
    let dir = TempDir::new()?;
    let mut serving = serve(&dir, &["-b", ":0"])?;
    serving.lines()?;
    let log = serving.stop()?;
    ensure!(
        log.contains("can be reached from other machines without TLS or login"),
        "{log}"
    );
    Ok(())
}

#[test]
fn the_log_is_json_elsewhere_than_on_a_terminal() -> Result<()> {
    let dir = TempDir::new()?;
    let mut serving = serve(&dir, &["-b", "127.0.0.1:0", "--anon-perms", "@read"])?;
    serving.lines()?;
    let log = serving.stop()?;
    let mut lines = 0;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).context(log.clone())?;
        ensure!(
            line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')),
            "{line}"
        );
        ensure!(
            line["level"].is_string() && line["msg"].is_string(),
            "{line}"
        );
        lines += 1;
    }
    ensure!(lines > 0, "nothing was logged");
    Ok(())
}

#[test]
fn a_stop_signal_at_any_moment_of_the_start_ends_it_well() -> Result<()> {
    let dir = TempDir::new()?;
    for pause_ms in [30, 60, 120, 240] {
        let mut command = program(&dir);
        command.args(["serve", "--metrics=", "-b", "127.0.0.1:0"]);
        let serving = Serving::start(command)?;
        // Before the signals are caught the default action ends the process.
        std::thread::sleep(Duration::from_millis(pause_ms));
        let began = Instant::now();
        kill_process(Pid::from_child(&serving.child), Signal::QUIT)?;
        let mut serving = serving;
        let status = serving.child.wait()?;
        ensure!(began.elapsed() < STOP_MAX, "took {:?}", began.elapsed());
        ensure!(
            status.success() || pause_ms < 240,
            "{status} after {pause_ms} ms"
        );
    }
    Ok(())
}
