//! What reports wait for: the file's groups, or transactions of PostgreSQL.

use super::{Between, Latency, Sample, has};

/// How a database takes writes.
pub(super) struct Writes {
    /// Commits a second.
    pub(super) commits: f64,
    pub(super) commit: Latency,
    /// Mean writes in a commit.
    pub(super) group: Option<f64>,
    /// Writes that wait for the file; with PostgreSQL, whatever waits for a connection.
    pub(super) waiting: f64,
}

impl Writes {
    pub(super) fn between(both: &Between<'_>) -> Self {
        match both.now.value("fingerpost_postgresql_up") {
            Some(_) => Self::of_postgresql(both),
            None => Self::of_file(both),
        }
    }

    fn of_file(both: &Between<'_>) -> Self {
        let groups = both.rate("fingerpost_database_groups_total");
        let jobs = both.rate("fingerpost_database_group_jobs_total");
        let waiting = both.now.value("fingerpost_database_write_queue");
        Self {
            commits: both.rate("fingerpost_database_commits_total"),
            commit: both.latency("fingerpost_database_commit_duration_seconds", &|_| true),
            group: (groups > 0.0).then(|| jobs / groups),
            waiting: waiting.unwrap_or_default(),
        }
    }

    fn of_postgresql(both: &Between<'_>) -> Self {
        let is_report = |sample: &Sample| has(sample, "work", &["report"]);
        let done = |sample: &Sample| is_report(sample) && has(sample, "outcome", &["done"]);
        let jobs = "fingerpost_postgresql_jobs_total";
        let commits = both.growth(jobs, &done) / both.seconds;
        let reports = both.rate("fingerpost_hashequiv_reports_total");
        let name = "fingerpost_postgresql_connections_waited_for";
        Self {
            commits,
            commit: both.latency("fingerpost_postgresql_job_duration_seconds", &is_report),
            group: (commits > 0.0).then(|| reports / commits),
            waiting: both.now.value(name).unwrap_or_default(),
        }
    }
}
