//! `fingerpost demo`, with few tasks.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::program::{outcome, program};

/// The deadline of its builds.
const DEADLINE: f64 = 0.5;
/// What a busy host may add to it.
const SLACK: f64 = 10.0;
const STOP_MAX: Duration = Duration::from_secs(60);

/// The directory of the demonstration, from its first line.
fn directory(line: &str) -> Result<PathBuf> {
    let (_, socket) = line.split_once("an agent on ").context("another line")?;
    let dir = Path::new(socket.trim()).parent();
    Ok(dir.context("no directory")?.to_owned())
}

/// Processes whose command line names a path.
fn processes_of(dir: &Path) -> Result<usize> {
    let dir = dir.to_str().context("no text")?;
    let mut count = 0;
    for entry in std::fs::read_dir("/proc")? {
        // Those that ended meanwhile are none.
        let words = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        count += usize::from(String::from_utf8_lossy(&words).contains(dir));
    }
    Ok(count)
}

fn is_cleaned_up(dir: &Path) -> Result<()> {
    ensure!(!dir.exists(), "{} is left", dir.display());
    ensure!(processes_of(dir)? == 0, "a process of it is left");
    Ok(())
}

#[test]
fn builds_go_on_whatever_happens_to_the_server() -> Result<()> {
    let words = ["demo", "--quick", "--builders", "2", "--tasks", "220"];
    let (code, shown, error) = outcome(&TempDir::new()?, &words)?;
    ensure!(code == 0 && error.is_empty(), "{code}: {error}\n{shown}");
    is_cleaned_up(&directory(shown.lines().next().context("no line")?)?)?;

    ensure!(
        shown.contains("builder 2 reuses builder 1's result"),
        "{shown}"
    );
    ensure!(shown.contains("builds: 22, none failed; "), "{shown}");
    ensure!(shown.contains("  none is lost, "), "{shown}");
    let longest = shown
        .split_once("longest wait of a build: ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .context("no longest wait")?;
    let longest: f64 = longest.parse()?;
    ensure!(longest <= DEADLINE + SLACK, "a build waited {longest} s");

    let summary = |phase: &str| {
        let mut lines = shown.lines().filter(|line| line.starts_with(phase));
        let words = lines.next_back().unwrap_or_default().split_whitespace();
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    // Phase, seconds, look-ups, wait and its unit, builds failed, reports kept.
    let killed = summary("killed ");
    let kept: u64 = killed.get(6).context("too short")?.parse()?;
    ensure!(
        kept > 0,
        "nothing was kept while the server was gone: {shown}"
    );
    let stalled = summary("stalled ").join(" ");
    ensure!(stalled.ends_with(" 8 min/batch, 2 min/report"), "{stalled}");
    ensure!(!shown.contains('\x1b'), "it is no terminal");
    Ok(())
}

/// Killed when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It is gone already when the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_interrupt_leaves_nothing_behind() -> Result<()> {
    let dir = TempDir::new()?;
    let mut command = program(&dir);
    command.args(["demo", "--builders", "1"]);
    let mut running = Running(command.stdout(Stdio::piped()).spawn()?);
    let mut out = BufReader::new(running.0.stdout.take().context("piped")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    let own = directory(&line)?;
    ensure!(processes_of(&own)? == 2, "a server and an agent run");

    kill_process(Pid::from_child(&running.0), Signal::INT)?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = running.0.try_wait()? {
            break status;
        }
        ensure!(began.elapsed() < STOP_MAX, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(status.success(), "{status}");
    let mut rest = String::new();
    out.read_to_string(&mut rest)?;
    ensure!(rest.ends_with("stopped and cleaned up\n"), "{rest}");
    is_cleaned_up(&own)
}
