//! How far jobs are that take long.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::namespace::NamespaceId;
use crate::service::HashEquiv;

/// A job that goes over many rows in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// How far the jobs of one kind are that run in a namespace, in this process.
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
pub struct Progress(Mutex<HashMap<Key, Counters>>);

type Key = (NamespaceId, Job);

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    running: u64,
    rows: u64,
}

/// A job that runs until this is dropped.
#[derive(Debug)]
pub struct Step<'a> {
    progress: &'a Progress,
    key: Key,
}

impl Progress {
    /// Begins a job in a namespace.
    pub fn begin(&self, at: NamespaceId, job: Job) -> Step<'_> {
        let (progress, key) = (self, (at, job));
        self.0.lock().entry(key).or_default().running += 1;
        Step { progress, key }
    }

    /// The jobs that run in a namespace now.
    pub fn running(&self, at: NamespaceId) -> Vec<Running> {
        let jobs = self.0.lock();
        let of = |job| {
            let Counters { running, rows } = *jobs.get(&(at, job))?;
            Some(Running {
                job,
                count: running,
                rows,
            })
        };
        Job::ALL.into_iter().filter_map(of).collect()
    }
}

impl Step<'_> {
    /// Adds rows that a batch changed.
    pub fn add(&self, rows: u64) {
        if let Some(counters) = self.progress.0.lock().get_mut(&self.key) {
            counters.rows += rows;
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let mut jobs = self.progress.0.lock();
        if let Some(counters) = jobs.get_mut(&self.key) {
            counters.running -= 1;
            if counters.running == 0 {
                jobs.remove(&self.key);
            }
        }
    }
}

impl HashEquiv {
    /// The jobs over many rows of this namespace that run in this process. Cheap.
    pub fn running_jobs(&self) -> Vec<Running> {
        self.store.progress().running(self.at.own())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_told_of_where_and_while_it_runs() {
        let (progress, here) = (Progress::default(), NamespaceId::DEFAULT);
        let check = |wanted: Option<(u64, u64)>| {
            let told = progress.running(here).pop();
            assert_eq!(told.map(|one| (one.count, one.rows)), wanted);
        };
        let first = progress.begin(here, Job::Sweep);
        first.add(200);
        let second = progress.begin(here, Job::Sweep);
        second.add(1);
        let elsewhere = progress.begin(NamespaceId(2), Job::Sweep);
        elsewhere.add(5000);
        check(Some((2, 201)));
        drop((first, second));
        check(None);
        let _again = progress.begin(here, Job::Sweep);
        check(Some((1, 0)));
    }
}
