//! Programs that refuse to run as root.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Lets `command` run as `postgres`, in a directory of that account, if we are root.
pub(crate) fn run_as_postgres(command: &mut Command) -> Result<()> {
    if let Some((user, group)) = postgres()? {
        command.uid(user).gid(group);
    }
    Ok(())
}

/// Gives a file or a directory to `postgres`, if we are root.
pub(crate) fn give_to_postgres(path: &Path) -> Result<()> {
    if let Some((user, group)) = postgres()? {
        std::os::unix::fs::chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

/// Its user and group; nothing when we are no root.
fn postgres() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    let ids = accounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        match fields[..] {
            ["postgres", _, user, group, ..] => user.parse().ok().zip(group.parse().ok()),
            _ => None,
        }
    });
    ids.map(Some)
        .context("there is no user postgres; scripts/prepare installs postgresql")
}
