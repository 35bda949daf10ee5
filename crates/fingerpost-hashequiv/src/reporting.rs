//! Reports.

use fingerpost_core::{Failure, Permission, Principal};
use fingerpost_hashequiv_proto::types::{Outhash, Unihash};

use crate::cache::CachedTask;
use crate::service::HashEquiv;
use crate::store::{Metadata, Report, Task};

/// A report as it arrived, its unihash checked.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The task.
    pub task: Task,
    /// What it produced.
    pub outhash: Option<Outhash>,
    /// The unihash that the client proposes.
    pub proposed: Unihash,
    /// Recipe, version and so on.
    pub metadata: Metadata,
    /// The listing behind the outhash.
    pub siginfo: Option<String>,
}

/// What a report is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportAnswer {
    /// The task's.
    pub unihash: Unihash,
    /// Whether the report was taken into the database.
    pub is_stored: bool,
}

impl HashEquiv {
    /// Takes a report and returns the task's unihash. Stored when the caller
    /// may and the server is not read-only; answered in any case, because
    /// BitBake relies on a report being a success.
    pub async fn report(
        &self,
        caller: &Principal,
        mut report: Reported,
    ) -> Result<ReportAnswer, Failure> {
        if let Some(name) = caller.name() {
            report.metadata.owner = Some(name.to_owned());
        }
        if self.config.read_only || !caller.allows(&[Permission::Read, Permission::Report]) {
            let unihash = self.answer_unstored(report).await?;
            let is_stored = false;
            return Ok(ReportAnswer { unihash, is_stored });
        }
        let upstream = self.upstream_word(&report).await?;
        // Taken before the write: a deletion after it makes the fill void.
        let fill = self.cache.begin_fill();
        let (task, outhash, proposed) = (
            report.task.clone(),
            report.outhash.clone(),
            report.proposed.clone(),
        );
        let settled = self
            .store
            .report(
                &self.at,
                Report {
                    task: report.task,
                    outhash: report.outhash,
                    proposed: report.proposed,
                    upstream,
                    metadata: report.metadata,
                    siginfo: report.siginfo,
                    now: self.now(),
                },
            )
            .await?;
        if let Some(upstream) = &self.upstream {
            upstream.forget_miss(&task, outhash.as_ref());
        }
        self.metrics.reports.inc();
        if settled.adopted {
            self.metrics.reports_adopted.inc();
            if settled.unihash != proposed {
                self.metrics.reports_matched.inc();
            }
        }
        if let (Some(method), Some(taskhash), Some(unihash)) = (
            self.method(task.method.as_str().as_bytes()),
            task.taskhash.as_bytes(),
            settled.unihash.as_bytes(),
        ) {
            let taskhash = *taskhash;
            self.cache
                .fill(fill, [(CachedTask { method, taskhash }, *unihash)]);
        }
        Ok(ReportAnswer {
            unihash: self.serve(settled.unihash).unwrap_or(proposed),
            is_stored: true,
        })
    }

    /// What an upstream says of the output, when that could change the verdict.
    async fn upstream_word(&self, report: &Reported) -> Result<Option<Unihash>, Failure> {
        let (Some(upstream), Some(outhash)) = (&self.upstream, &report.outhash) else {
            return Ok(None);
        };
        let unknown = self
            .store
            .is_unknown(&self.at, report.task.clone(), Some(outhash.clone()));
        if !unknown.await? {
            return Ok(None);
        }
        let row = upstream.output(&report.task, outhash).await;
        let unihash = row.and_then(|row| row.unihash).map(|(unihash, _)| unihash);
        Ok(unihash.filter(Unihash::is_valid))
    }

    async fn answer_unstored(&self, report: Reported) -> Result<Unihash, Failure> {
        self.metrics.reports_unstored.inc();
        let Some(outhash) = report.outhash else {
            return Ok(report.proposed);
        };
        let row = self.output(report.task, outhash, true).await?;
        let unihash = row.and_then(|row| row.unihash).map(|(unihash, _)| unihash);
        Ok(unihash
            .and_then(|unihash| self.serve(unihash))
            .unwrap_or(report.proposed))
    }

    /// Gives a task a unihash unless it has one; returns what it has now.
    pub async fn report_equiv(&self, task: Task, proposed: Unihash) -> Result<Unihash, Failure> {
        let now = self.now();
        let unihash = self
            .store
            .report_equiv(&self.at, task.clone(), proposed.clone(), now)
            .await?;
        if let Some(upstream) = &self.upstream {
            upstream.forget_miss(&task, None);
        }
        self.metrics.reports.inc();
        Ok(self.serve(unihash).unwrap_or(proposed))
    }
}
