//! Looking up: memory, then the database, then the upstream.

use fingerpost_core::Failure;
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};

use crate::cache::CachedTask;
use crate::service::{HashEquiv, UPSTREAM_AT};
use crate::store::{CopiedOutput, CopiedRow, Found, OutputRow, Task};

impl HashEquiv {
    /// The unihashes of (method, taskhash) pairs, in order: what
    /// [`HashEquiv::cached_unihash`] did not know. The wait is bounded; the
    /// caller bounds the number of pairs.
    pub async fn unihashes(
        &self,
        keys: Vec<(String, String)>,
    ) -> Result<Vec<Option<Unihash>>, Failure> {
        let tasks = keys.into_iter().map(|(method, taskhash)| Task {
            method: Method::new(method),
            taskhash: Taskhash::parse(&taskhash),
        });
        self.unihashes_of(tasks.collect()).await
    }

    /// As [`HashEquiv::unihashes`], but asks memory first: for doors without a loop
    /// of their own.
    pub async fn remembered_unihashes(
        &self,
        keys: impl Iterator<Item = (&str, &str)>,
    ) -> Result<Vec<Option<Unihash>>, Failure> {
        let mut found: Vec<Option<Unihash>> = Vec::new();
        let (mut places, mut missing) = (Vec::new(), Vec::new());
        for (method, taskhash) in keys {
            let task = Task {
                method: Method::new(method),
                taskhash: Taskhash::parse(taskhash),
            };
            let remembered = self.remembered(&task);
            if remembered.is_none() {
                places.push(found.len());
                missing.push(task);
            }
            found.push(remembered);
        }
        let hits = (found.len() - missing.len()) as u64;
        self.metrics.cache_hits.inc_by(hits);
        self.metrics.unihashes_found.inc_by(hits);
        if !missing.is_empty() {
            for (place, unihash) in places.into_iter().zip(self.unihashes_of(missing).await?) {
                found[place] = unihash;
            }
        }
        Ok(found)
    }

    pub(crate) async fn unihashes_of(
        &self,
        tasks: Vec<Task>,
    ) -> Result<Vec<Option<Unihash>>, Failure> {
        let mut found = self.stored_unihashes(&tasks).await?;
        self.complete_from_upstream(&tasks, &mut found).await;
        let hits = found.iter().filter(|unihash| unihash.is_some()).count();
        self.metrics.unihashes_found.inc_by(hits as u64);
        self.metrics
            .unihashes_unknown
            .inc_by((found.len() - hits) as u64);
        Ok(found)
    }

    async fn stored_unihashes(&self, tasks: &[Task]) -> Result<Vec<Option<Unihash>>, Failure> {
        self.metrics.cache_misses.inc_by(tasks.len() as u64);
        let fill = self.cache.begin_fill();
        let found = self.store.unihashes(&self.at, tasks.to_vec()).await?;
        let cacheable = tasks.iter().zip(&found).filter_map(|(task, found)| {
            let found = found.as_ref()?;
            Some((
                CachedTask {
                    method: found.method.within(self.at.own()),
                    taskhash: *task.taskhash.as_bytes()?,
                },
                *found.unihash.as_bytes()?,
            ))
        });
        self.cache.fill(fill, cacheable);
        Ok(found
            .into_iter()
            .map(|found| self.servable(found))
            .collect())
    }

    /// A stored unihash of an old form ends a modern build, so it is a miss.
    fn servable(&self, found: Option<Found>) -> Option<Unihash> {
        found.and_then(|found| self.serve(found.unihash))
    }

    pub(crate) fn serve(&self, unihash: Unihash) -> Option<Unihash> {
        if unihash.is_valid() || self.config.serve_invalid_unihashes {
            return Some(unihash);
        }
        self.metrics.invalid_unihashes.inc();
        None
    }

    async fn complete_from_upstream(&self, tasks: &[Task], found: &mut [Option<Unihash>]) {
        let Some(upstream) = &self.upstream else {
            return;
        };
        let missing: Vec<usize> = (0..tasks.len())
            .filter(|&index| found[index].is_none())
            .collect();
        if missing.is_empty() {
            return;
        }
        let asked: Vec<Task> = missing.iter().map(|&index| tasks[index].clone()).collect();
        let answers = upstream.unihashes(&asked).await;
        let mut kept = Vec::new();
        for ((index, task), answer) in missing.into_iter().zip(asked).zip(answers) {
            let Some(unihash) = answer else { continue };
            if unihash.is_valid() {
                kept.push((task, unihash.clone()));
            }
            found[index] = self.serve(unihash);
        }
        if let Some(backfill) = &self.backfill {
            backfill.push(kept);
        }
    }

    /// Whether any task has the unihash, in order.
    pub async fn exist(&self, unihashes: Vec<String>) -> Result<Vec<bool>, Failure> {
        let unihashes: Vec<Unihash> = unihashes.iter().map(|text| Unihash::parse(text)).collect();
        let mut known = self.store.exist(&self.at, unihashes.clone()).await?;
        let Some(upstream) = &self.upstream else {
            return Ok(known);
        };
        let missing: Vec<usize> = (0..known.len()).filter(|&index| !known[index]).collect();
        if missing.is_empty() {
            return Ok(known);
        }
        let asked = missing
            .iter()
            .map(|&index| unihashes[index].clone())
            .collect();
        for (index, answer) in missing.into_iter().zip(upstream.exist(asked).await) {
            known[index] = answer;
        }
        Ok(known)
    }

    /// The unihash of one task, as `get` answers it. What an upstream says is
    /// stored at once.
    pub async fn unihash(&self, task: &Task) -> Result<Option<Unihash>, Failure> {
        if let Some(unihash) = self.remembered(task) {
            self.metrics.cache_hits.inc();
            self.metrics.unihashes_found.inc();
            return Ok(Some(unihash));
        }
        let tasks = std::slice::from_ref(task);
        let mut found = self.stored_unihashes(tasks).await?.pop().flatten();
        if found.is_none()
            && let Some(upstream) = &self.upstream
            && let Some(unihash) = upstream.unihashes(tasks).await.pop().flatten()
        {
            self.keep(task, Some(&unihash), None).await?;
            found = self.serve(unihash);
        }
        match found {
            Some(_) => self.metrics.unihashes_found.inc(),
            None => self.metrics.unihashes_unknown.inc(),
        };
        Ok(found)
    }

    fn remembered(&self, task: &Task) -> Option<Unihash> {
        let method = self.method(task.method.as_str().as_bytes())?;
        let taskhash = task.taskhash.as_bytes()?;
        if !self.cache_is_fresh() {
            return None;
        }
        self.cached_unihash(method, taskhash)
            .map(Unihash::from_bytes)
    }

    /// The oldest output of a task, as `get` with `all` answers it.
    pub async fn output_of_task(&self, task: Task) -> Result<Option<OutputRow>, Failure> {
        if let Some(row) = self.store.output_of_task(&self.at, task.clone()).await? {
            return Ok(Some(row));
        }
        let Some(upstream) = &self.upstream else {
            return Ok(None);
        };
        let row = upstream.output_of_task(&task).await;
        self.keep_row(row.as_ref()).await?;
        Ok(row)
    }

    /// The oldest row of (method, outhash), as `get-outhash` answers it; the
    /// upstream is always asked for the form with a unihash.
    pub async fn output(
        &self,
        task: Task,
        outhash: Outhash,
        with_unihash: bool,
    ) -> Result<Option<OutputRow>, Failure> {
        let method = task.method.clone();
        let local = self
            .store
            .output(&self.at, method, outhash.clone(), with_unihash, false);
        if let Some(row) = local.await? {
            return Ok(Some(row));
        }
        let Some(upstream) = &self.upstream else {
            return Ok(None);
        };
        let row = upstream.output(&task, &outhash).await;
        self.keep_row(row.as_ref()).await?;
        Ok(row)
    }

    async fn keep_row(&self, row: Option<&OutputRow>) -> Result<(), Failure> {
        let Some(row) = row else {
            return Ok(());
        };
        let task = Task {
            method: row.method.clone(),
            taskhash: row.taskhash.clone(),
        };
        let output = CopiedOutput {
            outhash: row.outhash.clone(),
            created: row.created.clone(),
            metadata: row.metadata.clone(),
            siginfo: row.siginfo.clone(),
        };
        let unihash = row.unihash.as_ref().map(|(unihash, _)| unihash);
        self.keep(&task, unihash, Some(output)).await
    }

    /// Keeps what an upstream said; invalid unihashes are not kept. A failing
    /// database does not take the answer from the client.
    async fn keep(
        &self,
        task: &Task,
        unihash: Option<&Unihash>,
        output: Option<CopiedOutput>,
    ) -> Result<(), Failure> {
        if self.config.read_only {
            return Ok(());
        }
        let row = CopiedRow {
            task: task.clone(),
            unihash: unihash.filter(|unihash| unihash.is_valid()).cloned(),
            output,
        };
        if row.unihash.is_none() {
            tracing::warn!(taskhash = %task.taskhash, "The upstream's unihash is invalid");
            return Ok(());
        }
        let kept = self.store.copy_rows(UPSTREAM_AT, vec![row], self.now());
        match kept.await {
            Ok(()) => {
                self.metrics.shared.backfilled.inc();
            }
            Err(error) => tracing::warn!(%error, "The upstream's answer was not kept"),
        }
        Ok(())
    }
}
