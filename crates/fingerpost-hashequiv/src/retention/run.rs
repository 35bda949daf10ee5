//! Walking over the rows.
//!
//! Rows are read a page at a time by the database's readers, judged here, and deleted in
//! small transactions that look again whether each is still as it was seen. So what is
//! used meanwhile stays, and nothing has to be remembered: whoever begins again after
//! a stop or a crash finds what is left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::Clock;

use super::judge::Judge;
use super::keep::{Keep, KeepError};
use super::pace::Pace;
use super::policy::{Policy, Term};
use super::record::{Outcome, Report, RunRecord, Tally};
use super::rows::{Expired, Kind, RetainedPage, RetainedRow};
use crate::changes::ChoreLease;
use crate::service::HashEquiv;
use crate::store::{Store, StoreError};

/// Who deletes: one process at a time.
pub const LEASE: ChoreLease = ChoreLease {
    name: "retention",
    term: Duration::from_secs(30),
};
/// Rows of a page; a reader of the database takes some 2 ms for it.
const PAGE_ROWS: usize = 1000;
/// How often it is written how far a run is.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Rows that are shown of each term.
const EXAMPLES: usize = 5;

/// Something that a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Rows were looked at.
    Looked(u64),
    /// Rows went.
    Gone {
        /// Which.
        kind: Kind,
        /// Why.
        term: Term,
        /// How many.
        rows: u64,
        /// What they took in the file, about.
        bytes: u64,
    },
    /// The file system got bytes back.
    GaveBack(u64),
}

/// A run failed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A list of what stays cannot be used. Nothing was deleted.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Another process took over: this one was silent for too long.
    #[error("another process has taken over")]
    Lost,
}

/// Is told what a run does.
pub type Watch<'a> = &'a (dyn Fn(Event) + Sync);

/// A policy over the namespaces of a server. Whoever drops what it does stops it: at
/// most the transaction that is under way still happens.
pub struct Retention {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policy: Policy,
}

impl HashEquiv {
    /// A policy for all namespaces of the server that this one is of.
    pub fn retention(&self, policy: Policy) -> Retention {
        Retention {
            store: Arc::clone(&self.store),
            clock: Arc::clone(self.clock()),
            policy,
        }
    }
}

impl Retention {
    /// What a run would do now. Deletes nothing.
    pub async fn plan(&self, watch: Watch<'_>) -> Result<Report, RetentionError> {
        let mut report = Report::default();
        self.walk(&mut report, None, watch).await?;
        Ok(report)
    }

    /// Deletes what the policy says, unless another process does it: `None`.
    pub async fn run(&self, watch: Watch<'_>) -> Result<Option<Report>, RetentionError> {
        let now = self.clock.now();
        if !self.store.hold_lease(LEASE, now).await? {
            return Ok(None);
        }
        // Who wrote that it runs is dead: we have the lease.
        self.store.end_runs(now).await?;
        let mut record = RunRecord::begun(now);
        self.store.put_run(record.clone()).await?;
        let mut report = Report::default();
        let walked = self.walk(&mut report, Some(record.clone()), watch).await;
        record.ended = Some(self.clock.now());
        record.tell(&report);
        record.outcome = match &walked {
            Ok(()) => Outcome::Done,
            Err(error) => {
                record.why = error.to_string();
                Outcome::Failed
            }
        };
        self.store.put_run(record).await?;
        self.store.release_lease(LEASE).await?;
        walked.map(|()| Some(report))
    }

    /// The last runs, of whatever process, the newest first.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunRecord>, RetentionError> {
        Ok(self.store.runs(limit).await?)
    }

    /// Gives the lease back after a run was dropped, and says that it was.
    pub async fn stopped(&self) -> Result<(), RetentionError> {
        if self.store.hold_lease(LEASE, self.clock.now()).await? {
            self.store.end_runs(self.clock.now()).await?;
            self.store.release_lease(LEASE).await?;
        }
        Ok(())
    }

    async fn walk(
        &self,
        report: &mut Report,
        record: Option<RunRecord>,
        watch: Watch<'_>,
    ) -> Result<(), RetentionError> {
        let keeps = self.read_keeps().await?;
        let labels = self.store.labels().await?;
        let mut walk = Walk {
            store: &*self.store,
            clock: &*self.clock,
            judge: Judge::new(&self.policy, labels, keeps, self.clock.now()),
            pace: Pace::new(),
            held: Instant::now(),
            told: Instant::now(),
            record,
            watch,
            report,
        };
        for kind in Kind::ALL {
            if self.policy.concerns(kind) {
                walk.over(kind).await?;
            }
        }
        if walk.record.is_some() {
            walk.give_back().await?;
        }
        Ok(())
    }

    /// The list of each rule, read now.
    async fn read_keeps(&self) -> Result<Vec<Option<Keep>>, RetentionError> {
        let files: Vec<_> = self
            .policy
            .rules
            .iter()
            .map(|rule| rule.keep_file.clone())
            .collect();
        let reading = tokio::task::spawn_blocking(move || {
            let read = |file: Option<PathBuf>| file.as_deref().map(Keep::read).transpose();
            files.into_iter().map(read).collect::<Result<_, _>>()
        });
        Ok(reading.await.map_err(StoreError::database)??)
    }
}

/// A row that goes.
struct Going {
    row: RetainedRow,
    rule: usize,
    term: Term,
}

struct Walk<'a> {
    store: &'a dyn Store,
    clock: &'a dyn Clock,
    judge: Judge<'a>,
    pace: Pace,
    /// When the lease was taken or prolonged.
    held: Instant,
    /// When the record was written.
    told: Instant,
    /// The run; without one nothing is deleted.
    record: Option<RunRecord>,
    watch: Watch<'a>,
    report: &'a mut Report,
}

impl Walk<'_> {
    async fn over(&mut self, kind: Kind) -> Result<(), RetentionError> {
        if self.judge.begin(kind) {
            let mut next = Some(0);
            while let Some(after) = next {
                let page = self.page(kind, after).await?;
                page.rows.iter().for_each(|row| self.judge.add(row));
                next = page.next;
            }
            self.judge.settle();
        }
        let mut next = Some(0);
        while let Some(after) = next {
            let page = self.page(kind, after).await?;
            next = page.next;
            let mut going = Vec::new();
            for row in page.rows {
                if let Some((rule, term)) = self.judge.verdict(&row) {
                    going.push(Going { row, rule, term });
                }
            }
            match self.record {
                Some(_) => self.expire(kind, going).await?,
                None => self.count(kind, going.iter()),
            }
        }
        Ok(())
    }

    async fn page(&mut self, kind: Kind, after: i64) -> Result<RetainedPage, RetentionError> {
        let began = Instant::now();
        let page = self.store.retained(kind, after, PAGE_ROWS).await?;
        let looked = page.rows.len() as u64;
        self.report.looked += looked;
        (self.watch)(Event::Looked(looked));
        let waiting = self.store.waiting_jobs();
        let rest = self.pace.after_read(began.elapsed(), waiting);
        self.rest(rest).await?;
        Ok(page)
    }

    async fn expire(&mut self, kind: Kind, going: Vec<Going>) -> Result<(), RetentionError> {
        let mut left = &going[..];
        while !left.is_empty() {
            let batch = &left[..left.len().min(self.pace.rows())];
            let rows = batch.iter().map(|one| one.row.clone()).collect();
            let began = Instant::now();
            let now = self.clock.now();
            let expired = self.store.expire(kind, rows, LEASE, now).await?;
            self.held = began;
            let Expired::Looked { looked, gone } = expired else {
                return Err(RetentionError::Lost);
            };
            self.count(kind, gone.iter().filter_map(|place| batch.get(*place)));
            let looked = looked.clamp(1, batch.len());
            left = &left[looked..];
            let waiting = self.store.waiting_jobs();
            let rest = self.pace.after_batch(looked, began.elapsed(), waiting);
            self.rest(rest).await?;
        }
        Ok(())
    }

    /// Gives freed pages back, a little at a time.
    async fn give_back(&mut self) -> Result<(), RetentionError> {
        loop {
            let began = Instant::now();
            let bytes = self.store.give_back().await?;
            if bytes == 0 {
                return Ok(());
            }
            self.report.given_back_bytes += bytes;
            (self.watch)(Event::GaveBack(bytes));
            let waiting = self.store.waiting_jobs();
            let rest = self.pace.after_write(began.elapsed(), waiting);
            self.rest(rest).await?;
        }
    }

    fn count<'g>(&mut self, kind: Kind, gone: impl Iterator<Item = &'g Going>) {
        let mut counted: Vec<(usize, Term, u64, u64)> = Vec::new();
        for Going { row, rule, term } in gone {
            let number = rule + 1;
            let tally = tally(&mut self.report.gone, number, kind, *term);
            tally.rows += 1;
            tally.bytes += row.bytes;
            if tally.examples.len() < EXAMPLES {
                let name = self.judge.name(row);
                tally.examples.push(name);
            }
            let known = counted
                .iter_mut()
                .find(|one| (one.0, one.1) == (number, *term));
            match known {
                Some((_, _, rows, bytes)) => {
                    *rows += 1;
                    *bytes += row.bytes;
                }
                None => counted.push((number, *term, 1, row.bytes)),
            }
        }
        for (_, term, rows, bytes) in counted {
            (self.watch)(Event::Gone {
                kind,
                term,
                rows,
                bytes,
            });
        }
    }

    /// Leaves the database to others, and keeps the lease.
    async fn rest(&mut self, rest: Duration) -> Result<(), RetentionError> {
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
        let Some(record) = &mut self.record else {
            return Ok(());
        };
        if self.told.elapsed() > TELL_EVERY {
            self.told = Instant::now();
            record.tell(self.report);
            self.store.put_run(record.clone()).await?;
        }
        if self.held.elapsed() < LEASE.term / 4 {
            return Ok(());
        }
        self.held = Instant::now();
        match self.store.hold_lease(LEASE, self.clock.now()).await? {
            true => Ok(()),
            false => Err(RetentionError::Lost),
        }
    }
}

/// The tally of a rule, a kind and a term, in its place.
fn tally(gone: &mut Vec<Tally>, rule: usize, kind: Kind, term: Term) -> &mut Tally {
    let place =
        gone.binary_search_by_key(&(rule, kind, term), |one| (one.rule, one.kind, one.term));
    let place = place.unwrap_or_else(|place| {
        let (rows, bytes) = (0, 0);
        let tally = Tally {
            rule,
            kind,
            term,
            rows,
            bytes,
            examples: Vec::new(),
        };
        gone.insert(place, tally);
        place
    });
    &mut gone[place]
}
