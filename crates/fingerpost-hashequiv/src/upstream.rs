//! A parent server, asked for what is not known here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_hashequiv_proto::types::{Method, Outhash, Unihash};
use foldhash::fast::RandomState;
use futures_util::future::BoxFuture;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::metrics::{SharedMetrics, UpstreamOutcome};
use crate::store::{OutputRow, Task};

/// The answer of an upstream.
pub type Asked<'a, T> = BoxFuture<'a, Result<T, UpstreamError>>;

/// The upstream gave no answer. The text is for the log.
#[derive(Clone, Debug, thiserror::Error)]
#[error("upstream: {0}")]
pub struct UpstreamError(pub String);

/// A parent server. Implementations may wait as long as they like: the service
/// bounds every question.
pub trait Upstream: Send + Sync + 'static {
    /// Whether questions are put to it now, or refused because it is known to be
    /// down. Cheap.
    fn is_up(&self) -> bool {
        true
    }

    /// The unihashes of tasks, in order; one for each.
    fn unihashes(&self, tasks: Vec<Task>) -> Asked<'_, Vec<Option<Unihash>>>;

    /// Whether any task has the unihash, in order; one for each.
    fn exist(&self, unihashes: Vec<Unihash>) -> Asked<'_, Vec<bool>>;

    /// The oldest output of a task that has a unihash.
    fn output_of_task(&self, task: Task) -> Asked<'_, Option<OutputRow>>;

    /// The oldest row of the output that has a unihash.
    fn output(&self, task: Task, outhash: Outhash) -> Asked<'_, Option<OutputRow>>;
}

/// How an upstream is asked.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamOptions {
    /// How long a question may take; after it local data alone is the answer.
    pub timeout: Duration,
    /// How long "the upstream does not know it" is believed.
    pub miss_ttl: Duration,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            miss_ttl: Duration::from_secs(30),
        }
    }
}

/// Misses that are remembered at most.
const MISSES_MAX: usize = 100_000;

/// What the upstream did not know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Missing {
    Task(Task),
    Output(Method, Outhash),
}

/// An upstream with every wait bounded and its misses briefly remembered. It
/// never fails: without an answer there is nothing to add to what is known here.
pub(crate) struct Bounded {
    upstream: Arc<dyn Upstream>,
    options: UpstreamOptions,
    misses: Cache<Missing, Instant, UnitWeighter, RandomState>,
    metrics: SharedMetrics,
}

impl Bounded {
    pub(crate) fn new(
        upstream: Arc<dyn Upstream>,
        options: UpstreamOptions,
        metrics: SharedMetrics,
    ) -> Self {
        Self {
            upstream,
            options,
            misses: Cache::with(
                MISSES_MAX,
                MISSES_MAX as u64,
                UnitWeighter,
                RandomState::default(),
                DefaultLifecycle::default(),
            ),
            metrics,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.upstream.is_up()
    }

    /// The unihashes of tasks, in order; only those that were missed lately are
    /// not asked for.
    pub(crate) async fn unihashes(&self, tasks: &[Task]) -> Vec<Option<Unihash>> {
        let mut found = vec![None; tasks.len()];
        let asked: Vec<usize> = (0..tasks.len())
            .filter(|&index| !self.missed(&Missing::Task(tasks[index].clone())))
            .collect();
        if asked.is_empty() {
            return found;
        }
        let question = asked.iter().map(|&index| tasks[index].clone()).collect();
        let Some(answers) = self.bound(self.upstream.unihashes(question)).await else {
            return found;
        };
        for (&index, answer) in asked.iter().zip(answers) {
            if answer.is_none() {
                self.remember(Missing::Task(tasks[index].clone()));
            }
            found[index] = answer;
        }
        found
    }

    /// Whether any task has the unihash, in order.
    pub(crate) async fn exist(&self, unihashes: Vec<Unihash>) -> Vec<bool> {
        let count = unihashes.len();
        let mut answers = self
            .bound(self.upstream.exist(unihashes))
            .await
            .unwrap_or_default();
        answers.resize(count, false);
        answers
    }

    /// The oldest output of a task.
    pub(crate) async fn output_of_task(&self, task: &Task) -> Option<OutputRow> {
        // A task that is not known has no output either, but not the reverse:
        // so a miss here is not remembered.
        if self.missed(&Missing::Task(task.clone())) {
            return None;
        }
        self.bound(self.upstream.output_of_task(task.clone()))
            .await?
    }

    /// The oldest row of an output.
    pub(crate) async fn output(&self, task: &Task, outhash: &Outhash) -> Option<OutputRow> {
        let missing = Missing::Output(task.method.clone(), outhash.clone());
        if self.missed(&missing) {
            return None;
        }
        let answer = self
            .bound(self.upstream.output(task.clone(), outhash.clone()))
            .await?;
        if answer.is_none() {
            self.remember(missing);
        }
        answer
    }

    /// Stops believing that a task, and its output, are unknown.
    pub(crate) fn forget_miss(&self, task: &Task, outhash: Option<&Outhash>) {
        self.misses.remove(&Missing::Task(task.clone()));
        if let Some(outhash) = outhash {
            self.misses
                .remove(&Missing::Output(task.method.clone(), outhash.clone()));
        }
    }

    fn missed(&self, missing: &Missing) -> bool {
        let lately = self
            .misses
            .get(missing)
            .is_some_and(|at| at.elapsed() < self.options.miss_ttl);
        if lately {
            self.metrics.upstream_misses_remembered.inc();
        }
        lately
    }

    fn remember(&self, missing: Missing) {
        self.misses.insert(missing, Instant::now());
    }

    async fn bound<T>(&self, question: Asked<'_, T>) -> Option<T> {
        self.metrics.upstream_questions.inc();
        let started = Instant::now();
        let answered = tokio::time::timeout(self.options.timeout, question).await;
        let outcome = match &answered {
            Ok(Ok(_)) => "answered",
            Ok(Err(_)) => "failed",
            Err(_) => "timed_out",
        };
        self.metrics
            .upstream_durations
            .get_or_create(&UpstreamOutcome { outcome })
            .observe(started.elapsed());
        match answered {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                self.metrics.upstream_failures.inc();
                tracing::debug!(%error, "The upstream failed; answering from local data");
                None
            }
            Err(_) => {
                self.metrics.upstream_timeouts.inc();
                tracing::debug!("The upstream was too slow; answering from local data");
                None
            }
        }
    }
}
