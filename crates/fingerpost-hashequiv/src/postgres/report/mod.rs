//! Adding: reports of many connections in one transaction, one after the other.
//!
//! `seen` reads what decides about them, `settled` decides in memory, `stored` writes.

mod seen;
mod settled;
mod stored;

use std::sync::Arc;

use fingerpost_core::Timestamp;
use fingerpost_db::postgres::{Job, PostgresError};
use fingerpost_hashequiv_proto::types::Unihash;
use futures_util::future::try_join;
use parking_lot::Mutex;
use tokio::time::timeout;

use self::seen::Question;
use self::settled::{Group, Numbers};
use super::grouped::{Grouped, Limits};
use super::value::Hash as _;
use super::{PostgresStore, Shared, failed};
use crate::cache::MethodId;
use crate::copying::OutputCopy;
use crate::created::Created;
use crate::listings::{BaseListing, Family, Prepared};
use crate::namespace::{Chain, NamespaceId};
use crate::siginfo::{self, Digest};
use crate::store::{CopiedRow, Metadata, Report, Settled, StoreError, Task};

/// A group holds the lock of its namespace: others wait for it.
pub(super) const LIMITS: Limits<Entry> = Limits {
    groups: 1,
    weight: Entry::weight,
    group_weight: 1_000 * ENTRY_WEIGHT,
    waiting_weight: 20_000 * ENTRY_WEIGHT,
};
/// What an entry weighs beside its listing, bytes.
const ENTRY_WEIGHT: usize = 4096;

/// Something to be added, its listing encoded.
pub(super) struct Entry {
    method: MethodId,
    taskhash: Vec<u8>,
    rule: Rule,
    output: Option<NewOutput>,
    now: Timestamp,
}

/// How it is decided which unihash the task has.
enum Rule {
    Report {
        proposed: Unihash,
        upstream: Option<Unihash>,
    },
    Equiv {
        proposed: Unihash,
    },
    /// A row that an upstream has: the task keeps what it has, and may have none.
    Copied(Option<Unihash>),
}

/// A row of the relation O, to be added unless it is there.
struct NewOutput {
    outhash: Vec<u8>,
    created: Created,
    metadata: Metadata,
    listing: Option<(String, Prepared)>,
}

impl NewOutput {
    fn digest(&self) -> Option<&[u8]> {
        let (_, prepared) = self.listing.as_ref()?;
        Some(&prepared.digest.0)
    }

    /// The digest of the base that its listing needs.
    fn base(&self) -> Option<&[u8]> {
        let (_, prepared) = self.listing.as_ref()?;
        Some(&prepared.base.as_ref()?.digest.0)
    }
}

impl Entry {
    fn weight(&self) -> usize {
        let listing = self
            .output
            .as_ref()
            .and_then(|output| output.listing.as_ref());
        let bytes = listing.map_or(0, |(text, prepared)| match &prepared.encoded {
            Some(encoded) => encoded.data().len(),
            None => text.len(),
        });
        ENTRY_WEIGHT + bytes
    }
}

/// What an entry came to.
pub(super) struct Outcome {
    /// The unihash that the task has now, if it has one.
    unihash: Option<Unihash>,
    adopted: bool,
    new_output: bool,
}

/// The queue of each namespace that is written to.
pub(super) type Writer = Grouped<Entry, Outcome>;

impl PostgresStore {
    pub(super) async fn add_report(
        &self,
        at: &Chain,
        report: Report,
    ) -> Result<Settled, StoreError> {
        let proposed = report.proposed.clone();
        let listing = match report.outhash {
            Some(_) => self.shared.prepare_listing(at.own(), &report).await?,
            None => None,
        };
        let output = match &report.outhash {
            Some(outhash) => Some(NewOutput {
                outhash: outhash.to_column().ok_or(StoreError::TooLong)?,
                created: Created::At(report.now),
                metadata: report.metadata,
                listing,
            }),
            None => None,
        };
        let entry = Entry {
            output,
            rule: Rule::Report {
                proposed: report.proposed,
                upstream: report.upstream,
            },
            ..self.entry(&report.task, report.now).await?
        };
        let outcome = self.add(at, entry).await?;
        Ok(Settled {
            // A report always ends with one.
            unihash: outcome.unihash.unwrap_or(proposed),
            adopted: outcome.adopted,
            new_output: outcome.new_output,
        })
    }

    pub(super) async fn add_equiv(
        &self,
        at: &Chain,
        task: &Task,
        proposed: Unihash,
        now: Timestamp,
    ) -> Result<Unihash, StoreError> {
        let entry = Entry {
            rule: Rule::Equiv {
                proposed: proposed.clone(),
            },
            ..self.entry(task, now).await?
        };
        let outcome = self.add(at, entry).await?;
        Ok(outcome.unihash.unwrap_or(proposed))
    }

    /// Keeps rows of an upstream. Each is atomic; all are stored when it returns.
    pub(super) async fn add_copies(
        &self,
        at: NamespaceId,
        rows: Vec<CopiedRow>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let at = Chain::only(at);
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            entries.push(self.copied(row, now).await?);
        }
        let added = entries.into_iter().map(|entry| self.add(&at, entry));
        futures_util::future::try_join_all(added).await?;
        Ok(())
    }

    /// Stores outputs as they lie in another database, in their order.
    pub(super) async fn add_output_copies(
        &self,
        at: NamespaceId,
        copies: Vec<OutputCopy>,
    ) -> Result<(), StoreError> {
        let chain = Chain::only(at);
        let mut entries = Vec::with_capacity(copies.len());
        for copy in copies {
            let now = Timestamp(0);
            let report = copy.as_report();
            let listing = self.shared.prepare_listing(at, &report).await?;
            let output = NewOutput {
                outhash: copy.row.outhash.to_column().ok_or(StoreError::TooLong)?,
                created: Created::from_text(copy.row.created.as_deref()),
                metadata: copy.row.metadata,
                listing,
            };
            entries.push(Entry {
                output: Some(output),
                ..self.entry(&report.task, now).await?
            });
        }
        let added = entries.into_iter().map(|entry| self.add(&chain, entry));
        futures_util::future::try_join_all(added).await?;
        Ok(())
    }

    async fn copied(&self, row: CopiedRow, now: Timestamp) -> Result<Entry, StoreError> {
        let output = match row.output {
            None => None,
            Some(output) => Some(NewOutput {
                outhash: output.outhash.to_column().ok_or(StoreError::TooLong)?,
                created: Created::from_text(output.created.as_deref()),
                metadata: output.metadata,
                listing: output.siginfo.map(alone),
            }),
        };
        Ok(Entry {
            output,
            rule: Rule::Copied(row.unihash),
            ..self.entry(&row.task, now).await?
        })
    }

    /// An entry of a task, which says nothing yet.
    async fn entry(&self, task: &Task, now: Timestamp) -> Result<Entry, StoreError> {
        let taskhash = task.taskhash.to_column().ok_or(StoreError::TooLong)?;
        Ok(Entry {
            method: self.shared.intern_method(&task.method).await?,
            taskhash,
            rule: Rule::Copied(None),
            output: None,
            now,
        })
    }

    /// Waits as long as a job may take; who is not answered by then knows nothing of what
    /// became of it.
    async fn add(&self, at: &Chain, entry: Entry) -> Result<Outcome, StoreError> {
        if self.is_in_trouble() {
            // Whoever reports goes on building without; waiting helps nobody.
            return Err(failed(PostgresError::NoAnswer));
        }
        let limit = self.shared.db.settings().deadline;
        let added = timeout(limit, self.writer(at).ask(entry)).await;
        added.unwrap_or(Err(PostgresError::Timeout)).map_err(failed)
    }

    /// The queue of the chain's own namespace. Copied rows look along no chain, and
    /// need none, so they may use the one that is there.
    fn writer(&self, at: &Chain) -> Writer {
        let mut writers = self.writers.lock();
        let writer = writers.entry(at.own()).or_insert_with(|| {
            let shared = Arc::clone(&self.shared);
            let chain = shared.chain_of(at.own()).unwrap_or_else(|| at.clone());
            Grouped::new(LIMITS, move |entries| {
                let (shared, chain) = (Arc::clone(&shared), chain.clone());
                Box::pin(async move { add_group(&shared, &chain, &entries).await })
            })
        });
        writer.clone()
    }
}

/// A listing without a family: it is compressed by itself and no base for others.
fn alone(text: String) -> (String, Prepared) {
    let prepared = Prepared {
        digest: Digest::of(text.as_bytes()),
        encoded: Some(siginfo::Encoded::Base(siginfo::encode_fresh(
            text.as_bytes(),
        ))),
        base: None,
        family: None,
    };
    (text, prepared)
}

/// Stores a group, or its first part.
async fn add_group(
    shared: &Arc<Shared>,
    chain: &Chain,
    entries: &[Arc<Entry>],
) -> Result<Vec<Outcome>, PostgresError> {
    // A second report of the same thing keeps what it finds: it may be done again.
    let job = Job::new("report").idempotent();
    let options = shared.options;
    // Of the run that was committed, which is the last.
    let new_bases = Mutex::new(Vec::new());
    let bases = &new_bases;
    let outcomes = shared
        .db
        .transaction(job, |tx| async move {
            let at = chain.own();
            let question = Question::of(chain, entries, &options);
            Numbers::prepare(&tx, at).await?;
            question.prepare(&tx).await?;
            // The question goes out behind the lock, is begun when that was got, and then
            // sees what whoever had it before stored.
            let locked = Numbers::locked(&tx, at);
            let (numbers, seen) = try_join(locked, question.ask(&tx)).await?;
            let mut group = Group::new(numbers, options);
            for (entry, seen) in entries.iter().zip(&seen) {
                if !group.settle(entry, seen) {
                    break;
                }
            }
            let (outcomes, writes) = group.into_parts();
            stored::write(&tx, at, &writes).await?;
            *bases.lock() = writes.into_bases();
            Ok(outcomes)
        })
        .await?;
    shared.grew(outcomes.len());
    for (family, base) in new_bases.into_inner() {
        shared.bases.put(family, base);
    }
    Ok(outcomes)
}

/// A base that was stored.
type NewBase = (Family, Arc<BaseListing>);
