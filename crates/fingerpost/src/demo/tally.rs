//! What builds noticed, counted by all builders together.

use std::collections::HashSet;
use std::time::Duration;

use fingerpost_hashequiv_client::ClientError;
use parking_lot::Mutex;

/// Counts, which only grow but for the longest wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) builds: u64,
    pub(super) failed: u64,
    /// Batches of look-ups, and the tasks in them.
    pub(super) batches: u64,
    pub(super) lookups: u64,
    /// Tasks that had a unihash.
    pub(super) found: u64,
    pub(super) reports: u64,
    /// Reports of an output that there was already, under another taskhash.
    pub(super) same_output: u64,
    /// Longest wait for the answer to a batch or to a report.
    pub(super) longest: Duration,
}

impl Counts {
    /// What came since; the longest wait stays as it is.
    pub(super) const fn since(&self, before: &Self) -> Self {
        Self {
            builds: self.builds - before.builds,
            failed: self.failed - before.failed,
            batches: self.batches - before.batches,
            lookups: self.lookups - before.lookups,
            found: self.found - before.found,
            reports: self.reports - before.reports,
            same_output: self.same_output - before.same_output,
            longest: self.longest,
        }
    }
}

/// Shared by all builders.
#[derive(Default)]
pub(super) struct Tally(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    counts: Counts,
    /// Tasks that were reported, by their taskhash.
    reported: HashSet<String>,
    /// Why the first build failed.
    trouble: Option<String>,
}

impl Tally {
    /// The counts so far; the longest wait begins anew.
    pub(super) fn begin(&self) -> Counts {
        let counts = &mut self.0.lock().counts;
        counts.longest = Duration::ZERO;
        *counts
    }

    pub(super) fn counts(&self) -> Counts {
        self.0.lock().counts
    }

    /// A batch was answered.
    pub(super) fn looked_up(&self, tasks: usize, found: usize, waited: Duration) {
        let counts = &mut self.0.lock().counts;
        counts.batches += 1;
        counts.lookups += tasks as u64;
        counts.found += found as u64;
        counts.longest = counts.longest.max(waited);
    }

    /// A report was answered.
    pub(super) fn reported(&self, taskhash: &str, is_same_output: bool, waited: Duration) {
        let counted = &mut *self.0.lock();
        counted.reported.insert(taskhash.to_owned());
        let counts = &mut counted.counts;
        counts.reports += 1;
        counts.same_output += u64::from(is_same_output);
        counts.longest = counts.longest.max(waited);
    }

    /// A wait ended without an answer.
    pub(super) fn waited_in_vain(&self, waited: Duration) {
        let counts = &mut self.0.lock().counts;
        counts.longest = counts.longest.max(waited);
    }

    /// A build has ended.
    pub(super) fn built(&self, outcome: Result<(), ClientError>) {
        let counted = &mut *self.0.lock();
        counted.counts.builds += 1;
        if let Err(error) = outcome {
            counted.counts.failed += 1;
            counted.trouble.get_or_insert_with(|| error.to_string());
        }
    }

    /// Why the first build failed, if one did.
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.lock().trouble.clone()
    }

    /// The tasks that were reported; they are not kept any longer.
    pub(super) fn take_reported(&self) -> Vec<String> {
        let reported = std::mem::take(&mut self.0.lock().reported);
        reported.into_iter().collect()
    }
}
