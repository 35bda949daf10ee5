//! How far jobs are that take long.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::service::HashEquiv;

/// A job that goes over many rows in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// `remove`.
    Remove,
    /// `gc-mark`.
    Mark,
    /// `gc-sweep`.
    Sweep,
    /// `clean-unused`.
    CleanUnused,
}

impl Job {
    /// Every job.
    pub const ALL: [Self; 4] = [Self::Remove, Self::Mark, Self::Sweep, Self::CleanUnused];

    /// The name of its command.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Mark => "gc-mark",
            Self::Sweep => "gc-sweep",
            Self::CleanUnused => "clean-unused",
        }
    }
}

/// How far the jobs of one kind are that run in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which kind.
    pub job: Job,
    /// How many of them run.
    pub count: u64,
    /// Rows that they changed since none of them ran.
    pub rows: u64,
}

/// The jobs of this process.
#[derive(Debug, Default)]
pub struct Progress([Counters; Job::ALL.len()]);

#[derive(Debug, Default)]
struct Counters {
    running: AtomicU64,
    rows: AtomicU64,
}

/// A job that runs until this is dropped.
#[derive(Debug)]
pub struct Step<'a>(&'a Counters);

impl Progress {
    /// Begins a job.
    pub fn begin(&self, job: Job) -> Step<'_> {
        let counters = &self.0[job as usize];
        if counters.running.fetch_add(1, Ordering::Relaxed) == 0 {
            counters.rows.store(0, Ordering::Relaxed);
        }
        Step(counters)
    }

    /// The jobs that run now.
    pub fn running(&self) -> Vec<Running> {
        let all = Job::ALL.into_iter().zip(&self.0);
        let read = all.map(|(job, counters)| Running {
            job,
            count: counters.running.load(Ordering::Relaxed),
            rows: counters.rows.load(Ordering::Relaxed),
        });
        read.filter(|running| running.count > 0).collect()
    }
}

impl Step<'_> {
    /// Adds rows that a batch changed.
    pub fn add(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HashEquiv {
    /// The jobs over many rows that run in this process. Cheap.
    pub fn running_jobs(&self) -> Vec<Running> {
        self.store.progress().running()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_of_while_it_runs() {
        let progress = Progress::default();
        let check = |wanted: Option<(u64, u64)>| {
            let told = progress.running().pop().map(|one| (one.count, one.rows));
            assert_eq!(told, wanted);
        };
        let first = progress.begin(Job::Sweep);
        first.add(200);
        let second = progress.begin(Job::Sweep);
        second.add(1);
        check(Some((2, 201)));
        drop((first, second));
        check(None);
        let _again = progress.begin(Job::Sweep);
        check(Some((1, 0)));
    }
}
