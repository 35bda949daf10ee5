//! How much memory a process has.

use anyhow::{Context as _, Result};

/// Bytes of a kind of memory of a process, as the kernel names it: `VmRSS`, what it
/// has now, or `VmHWM`, the most that it had. An error if it is gone.
pub fn memory_bytes(process: u32, kind: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'))
        .context("the process is gone")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
