//! What a run costs the server, read from the operating system.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// A server is idle when it uses less than this share of one processor.
const IDLE_SHARE: f64 = 0.02;
const IDLE_WINDOW: Duration = Duration::from_millis(500);

/// Time on a processor by thread, in nanoseconds, at one moment.
#[derive(Debug)]
pub(super) struct CpuTimes(HashMap<u32, u64>);

impl CpuTimes {
    /// Reads the first field of `/proc/PID/task/*/schedstat`.
    pub(super) fn read(pid: u32) -> anyhow::Result<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .with_context(|| format!("there is no process {pid}"))?;
        let times = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanos = text.split_ascii_whitespace().next()?.parse().ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, nanos))
        });
        Ok(Self(times.collect()))
    }

    /// Time used since `earlier`. That of threads which ended in between is
    /// lost; servers keep their threads while they are busy.
    pub(super) fn since(&self, earlier: &Self) -> Duration {
        let used = self
            .0
            .iter()
            .map(|(task, nanos)| nanos.saturating_sub(earlier.0.get(task).copied().unwrap_or(0)));
        Duration::from_nanos(used.sum())
    }
}

/// Waits until the server does nothing more, at most `limit`; `false` if it
/// was busy until then.
pub(super) fn settle(pid: u32, limit: Duration) -> anyhow::Result<bool> {
    let end = Instant::now() + limit;
    let mut before = CpuTimes::read(pid)?;
    while Instant::now() < end {
        thread::sleep(IDLE_WINDOW);
        let now = CpuTimes::read(pid)?;
        if now.since(&before) < IDLE_WINDOW.mul_f64(IDLE_SHARE) {
            return Ok(true);
        }
        before = now;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_costs_time() {
        let pid = std::process::id();
        let before = CpuTimes::read(pid).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        // The kernel adds to a running thread's time at its ticks.
        thread::sleep(Duration::from_millis(1));
        let used = CpuTimes::read(pid).unwrap().since(&before);
        assert!(used > Duration::from_millis(1), "{used:?}");
    }

    #[test]
    fn an_unknown_process_is_an_error() {
        assert!(CpuTimes::read(u32::MAX).is_err());
    }
}
