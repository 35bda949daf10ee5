//! A builder, as BitBake asks: batches of look-ups over one connection when a build
//! begins, then a connection for each report of a task that had to be built.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_hashequiv_client::{Client, ClientError, ClientOptions, request};
use fingerpost_hashequiv_proto::client::Report;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::tally::Tally;
use super::tasks::{METHOD, Task, Tasks};

/// Tasks that a build works on at a time.
pub(super) const THREADS: usize = 8;
/// Look-ups of one batch; a build has one for each layer of its tasks.
pub(super) const BATCH: usize = 250;

/// Makes one build after the other.
pub(super) struct Builder {
    options: ClientOptions,
    tasks: Tasks,
    tally: Arc<Tally>,
}

/// When a build begins, and how long it takes if nobody is waited for.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) begin: Instant,
    pub(super) lasts: Duration,
}

impl Builder {
    pub(super) const fn new(options: ClientOptions, tasks: Tasks, tally: Arc<Tally>) -> Self {
        Self {
            options,
            tasks,
            tally,
        }
    }

    /// Builds some tasks; what goes wrong is counted.
    pub(super) async fn build(&mut self, tasks: usize, pace: Pace) {
        let tasks = self.tasks.build(tasks);
        let built = match self.look_up(tasks, pace).await {
            Ok(unknown) => self.report(unknown, pace).await,
            Err(error) => Err(error),
        };
        self.tally.built(built);
    }

    /// Those without a unihash, which have to be built.
    async fn look_up(&self, tasks: Vec<Task>, pace: Pace) -> Result<Vec<Task>, ClientError> {
        let mut client = Client::new(self.options.clone());
        let batches = tasks.len().div_ceil(BATCH);
        let mut unknown = Vec::new();
        for (number, batch) in tasks.chunks(BATCH).enumerate() {
            sleep_until(pace.lookup(number, batches)).await;
            let keys: Vec<_> = batch.iter().map(|it| (METHOD, &it.taskhash)).collect();
            let asked = Instant::now();
            let unihashes = client.unihashes(&keys).await;
            let waited = asked.elapsed();
            let unihashes = unihashes.inspect_err(|_| self.tally.waited_in_vain(waited))?;
            let before = unknown.len();
            let answered = batch.iter().zip(&unihashes);
            let missing = answered.filter(|(_, unihash)| unihash.is_none());
            unknown.extend(missing.map(|(task, _)| task.clone()));
            let found = batch.len() - (unknown.len() - before);
            self.tally.looked_up(batch.len(), found, waited);
        }
        Ok(unknown)
    }

    /// Builds and reports, several at a time.
    async fn report(&self, tasks: Vec<Task>, pace: Pace) -> Result<(), ClientError> {
        let tasks = Arc::new(tasks);
        let mut threads = JoinSet::new();
        for thread in 0..THREADS {
            let (options, tally) = (self.options.clone(), Arc::clone(&self.tally));
            let tasks = Arc::clone(&tasks);
            threads.spawn(async move {
                let own = (thread..tasks.len()).step_by(THREADS);
                for number in own {
                    sleep_until(pace.report(number, tasks.len())).await;
                    report(&options, &tasks[number], &tally).await?;
                }
                Ok(())
            });
        }
        threads.join_all().await.into_iter().collect()
    }
}

impl Pace {
    /// When a batch is due: they are asked in the first third of a build.
    fn lookup(&self, number: usize, of: usize) -> Instant {
        self.begin + part(self.lasts / 3, number, of)
    }

    /// When a task is done: in the rest of it.
    fn report(&self, number: usize, of: usize) -> Instant {
        let first = self.lasts / 3;
        self.begin + first + part(self.lasts - first, number, of)
    }
}

fn part(of: Duration, number: usize, count: usize) -> Duration {
    of.mul_f64(number as f64 / count.max(1) as f64)
}

/// From a process of the task's own, as BitBake has it: a new connection.
async fn report(options: &ClientOptions, task: &Task, tally: &Tally) -> Result<(), ClientError> {
    let report = Report {
        taskhash: &task.taskhash,
        method: METHOD,
        outhash: &task.outhash,
        unihash: &task.taskhash,
        pn: Some(&task.recipe),
        task: Some("do_compile"),
        ..Report::default()
    };
    let asked = Instant::now();
    let answer = Client::new(options.clone())
        .call(&request::report(&report))
        .await;
    let waited = asked.elapsed();
    let row = answer.inspect_err(|_| tally.waited_in_vain(waited))?;
    let is_same_output = row.unihash.to_text() != task.taskhash;
    tally.reported(&task.taskhash, is_same_output, waited);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_come_before_reports_and_all_within_the_time() {
        let begin = Instant::now();
        let pace = Pace {
            begin,
            lasts: Duration::from_secs(6),
        };
        let second = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(pace.lookup(0, 4), second(0));
        assert_eq!(pace.lookup(2, 4), second(1));
        assert_eq!(pace.report(0, 4), second(2));
        assert_eq!(pace.report(2, 4), second(4));
        assert!(pace.report(3, 4) < second(6));
    }
}
