//! The programs, files and processes of a server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Pid;

use crate::account::{give_to_postgres, run_as_postgres};

/// Where the programs of the newest version are: Debian keeps each version's
/// off the path.
pub(super) fn programs() -> Result<PathBuf> {
    let version = |path: &Path| -> Option<u32> {
        let name = path.file_name()?.to_str()?;
        path.join("bin/initdb")
            .exists()
            .then(|| name.parse().ok())?
    };
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let newest = versions
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max_by_key(|path| version(path))
        .filter(|path| version(path).is_some())
        .map(|path| path.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest
        .or_else(|| std::env::split_paths(&path).find(|place| place.join("initdb").exists()))
        .context("PostgreSQL is missing; scripts/prepare installs the system package postgresql")
}

/// Makes a data directory. What `initdb` makes in seconds is made once for each
/// version and account, and copied.
pub(super) fn make(programs: &Path, data: &Path) -> Result<()> {
    let template = template(programs)?;
    if !template.exists() {
        make_template(programs, &template)?;
    }
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--reflink=auto"])
        .args([&template, data]);
    run_as_postgres(&mut copy)?;
    ensure!(
        copy.status()?.success(),
        "cannot copy {}",
        template.display()
    );
    Ok(())
}

fn template(programs: &Path) -> Result<PathBuf> {
    let version = Command::new(programs.join("initdb"))
        .arg("--version")
        .output()?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.split_whitespace().nth(2).unwrap_or("unknown");
    let account = rustix::process::geteuid().as_raw();
    let name = format!("fingerpost-testkit-postgres-{version}-{account}");
    Ok(std::env::temp_dir().join(name))
}

/// Several tests may do this at once: the first to be ready is taken.
fn make_template(programs: &Path, template: &Path) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("pg-template-").tempdir()?;
    give_to_postgres(directory.path())?;
    let made = directory.path().join("data");
    let mut initdb = Command::new(programs.join("initdb"));
    initdb
        .args(["--no-sync", "--username=postgres", "--auth=trust"])
        .args(["--encoding=UTF8", "--locale=C", "--wal-segsize=1"])
        .arg("--pgdata")
        .arg(&made)
        .stdin(Stdio::null());
    run_as_postgres(&mut initdb)?;
    let output = initdb.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "initdb: {error}");
    // A directory that is not empty is not replaced.
    let moved = std::fs::rename(&made, template);
    ensure!(
        moved.is_ok() || template.exists(),
        "cannot make {}",
        template.display()
    );
    Ok(())
}

/// Copies a file for the server's eyes only.
pub(super) fn install(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o600))?;
    give_to_postgres(to)
}

/// The processes whose parent is `parent`.
pub(super) fn children(parent: Pid) -> Result<Vec<Pid>> {
    let entries = std::fs::read_dir("/proc")?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let pids = numbers.filter_map(Pid::from_raw);
    Ok(pids.filter(|pid| parent_of(*pid) == Some(parent)).collect())
}

/// Whether a worker of a server that is gone is still there itself. Its number may
/// be another process' by now, which has another parent.
pub(super) fn is_running(worker: Pid, server: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_pid()));
    status.is_ok_and(|status| {
        let state = status.rsplit(')').next().unwrap_or_default().trim_start();
        let postgres = status.contains("(postgres)");
        postgres && !state.starts_with('Z') && parent_of(worker) != Some(server)
    })
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name stands in parentheses and may hold anything.
    let (_, rest) = status.rsplit_once(')')?;
    Pid::from_raw(rest.split_whitespace().nth(1)?.parse().ok()?)
}
