//! Deciding about a group in memory, each entry seeing the ones before it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fingerpost_db::postgres::{PostgresError, Session};
use fingerpost_hashequiv_proto::types::Unihash;

use super::super::day;
use super::super::listing::NewListing;
use super::super::methods::column;
use super::super::value::Hash as _;
use super::seen::Seen;
use super::{Entry, NewBase, NewOutput, Outcome, Rule};
use crate::cache::MethodId;
use crate::created::Created;
use crate::listings::BaseListing;
use crate::namespace::NamespaceId;
use crate::store::StoreOptions;
use fingerpost_hashequiv_proto::rules::{self, Evidence, Verdict};

/// The row of a namespace, which is locked until the transaction ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) sequence: i64,
    pub(super) output_id: i64,
    /// 0 when none is running.
    pub(super) collection: i32,
}

impl Numbers {
    const LOCK: &str = "
        SELECT sequence, output_id, coalesce(collection, 0)
          FROM namespace WHERE id = $1 FOR UPDATE";

    pub(super) async fn prepare(tx: &Session, at: NamespaceId) -> Result<(), PostgresError> {
        tx.prepare(Self::LOCK, &[&column(at.0)]).await
    }

    /// Locks the row: from here on nobody else writes to the namespace.
    pub(super) async fn locked(tx: &Session, at: NamespaceId) -> Result<Self, PostgresError> {
        let row = tx.query_one(Self::LOCK, &[&column(at.0)]).await?;
        Ok(Self {
            sequence: row.get(0),
            output_id: row.get(1),
            collection: row.get(2),
        })
    }
}

type TaskKey = (MethodId, Vec<u8>);
type OutputKey = (MethodId, Vec<u8>, Vec<u8>);

/// A group while it is decided about.
pub(super) struct Group {
    options: StoreOptions,
    numbers: Numbers,
    /// Mappings that the group added.
    mappings: HashMap<TaskKey, Unihash>,
    /// Rows of the relation O that the group added, and tasks that have some.
    outputs: HashSet<OutputKey>,
    tasks_with_outputs: HashSet<TaskKey>,
    /// The oldest row of an output that the group added and whose task has a unihash.
    matches: HashMap<(MethodId, Vec<u8>), Unihash>,
    listings: HashSet<[u8; 16]>,
    /// What a later entry would see is not known any more.
    ends: bool,
    outcomes: Vec<Outcome>,
    writes: Writes,
}

/// What is to be written.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) mappings: Vec<NewMapping>,
    pub(super) outputs: Vec<NewRow>,
    pub(super) listings: Vec<NewListing>,
    pub(super) bases: Vec<NewBase>,
    /// Methods of the bases.
    pub(super) base_methods: Vec<MethodId>,
    /// Mappings by their sequence that are used today, and those to be marked.
    pub(super) used: Vec<i64>,
    pub(super) remarked: Vec<i64>,
    pub(super) today: i32,
    pub(super) numbers: Option<Numbers>,
}

pub(super) struct NewMapping {
    pub(super) method: MethodId,
    pub(super) taskhash: Vec<u8>,
    pub(super) unihash: Vec<u8>,
    pub(super) sequence: i64,
    pub(super) created: i64,
}

pub(super) struct NewRow {
    pub(super) id: i64,
    pub(super) entry: Arc<Entry>,
}

impl Writes {
    pub(super) fn into_bases(self) -> Vec<NewBase> {
        self.bases
    }
}

impl Group {
    pub(super) fn new(numbers: Numbers, options: StoreOptions) -> Self {
        Self {
            options,
            numbers,
            mappings: HashMap::new(),
            outputs: HashSet::new(),
            tasks_with_outputs: HashSet::new(),
            matches: HashMap::new(),
            listings: HashSet::new(),
            ends: false,
            outcomes: Vec::new(),
            writes: Writes::default(),
        }
    }

    /// Decides about the next entry; `false` if it has to come again in another group.
    pub(super) fn settle(&mut self, entry: &Arc<Entry>, seen: &Seen) -> bool {
        if self.ends {
            return false;
        }
        let key = (entry.method, entry.taskhash.clone());
        let added = self.mappings.get(&key).cloned();
        let existing = added.or_else(|| Some(seen.own.as_ref()?.unihash.clone()));
        let adopted = match self.verdict(entry, seen, existing.as_ref()) {
            Some(Verdict::Adopt(unihash)) => Some(unihash),
            _ => None,
        };
        if adopted.is_none() {
            self.touch(entry, seen);
        }
        if let Some(unihash) = &adopted {
            // Older outputs of the task count as matches from now on: which one is the
            // oldest of an output has to be looked up again.
            self.ends = seen.has_outputs || self.tasks_with_outputs.contains(&key);
            self.add_mapping(entry, key, unihash);
        }
        let unihash = existing.or_else(|| adopted.clone());
        let new_output = match &entry.output {
            Some(output) => self.add_output(entry, output, seen, unihash.as_ref()),
            None => false,
        };
        self.outcomes.push(Outcome {
            unihash,
            adopted: adopted.is_some(),
            new_output,
        });
        true
    }

    fn verdict(&self, entry: &Entry, seen: &Seen, existing: Option<&Unihash>) -> Option<Verdict> {
        match &entry.rule {
            Rule::Report { proposed, upstream } => {
                let evidence = Evidence {
                    existing,
                    inherited: seen.inherited.as_ref(),
                    oldest_match: self.oldest_match(entry, seen),
                    upstream: upstream.as_ref(),
                };
                Some(rules::settle(proposed, evidence))
            }
            Rule::Equiv { proposed } => Some(rules::settle_equiv(
                proposed,
                existing,
                seen.inherited.as_ref(),
            )),
            Rule::Copied(unihash) => match (existing, unihash) {
                (None, Some(unihash)) => Some(Verdict::Adopt(unihash.clone())),
                _ => None,
            },
        }
    }

    /// What the group added is newer than anything that was there before it.
    fn oldest_match<'a>(&'a self, entry: &Entry, seen: &'a Seen) -> Option<&'a Unihash> {
        let output = entry.output.as_ref()?;
        let of_group = || self.matches.get(&(entry.method, output.outhash.clone()));
        seen.own_match
            .as_ref()
            .or_else(of_group)
            .or(seen.further_match.as_ref())
    }

    fn add_mapping(&mut self, entry: &Entry, key: TaskKey, unihash: &Unihash) {
        self.numbers.sequence += 1;
        self.writes.mappings.push(NewMapping {
            method: entry.method,
            taskhash: entry.taskhash.clone(),
            // Only valid ones are adopted, and those that are stored already.
            unihash: unihash.to_column().unwrap_or_default(),
            sequence: self.numbers.sequence,
            created: entry.now.0,
        });
        self.writes.today = self.writes.today.max(day(entry.now));
        self.mappings.insert(key, unihash.clone());
    }

    /// Notes that a task is in use: by the day, so that it costs one write a day.
    fn touch(&mut self, entry: &Entry, seen: &Seen) {
        let (Rule::Report { .. }, Some(own)) = (&entry.rule, &seen.own) else {
            return;
        };
        let today = day(entry.now);
        if own.used_day < today {
            self.writes.used.push(own.sequence);
            self.writes.today = self.writes.today.max(today);
        }
        if self.options.remark_on_report {
            self.writes.remarked.push(own.sequence);
        }
    }

    /// Adds a row of the relation O unless it is there.
    fn add_output(
        &mut self,
        entry: &Arc<Entry>,
        output: &NewOutput,
        seen: &Seen,
        unihash: Option<&Unihash>,
    ) -> bool {
        let key = (entry.method, entry.taskhash.clone(), output.outhash.clone());
        if seen.has_output || !self.outputs.insert(key) {
            return false;
        }
        self.tasks_with_outputs
            .insert((entry.method, entry.taskhash.clone()));
        let counts =
            |unihash: &&Unihash| unihash.is_valid() || self.options.match_invalid_unihashes;
        if let Some(unihash) = unihash.filter(counts) {
            self.matches
                .entry((entry.method, output.outhash.clone()))
                .or_insert_with(|| unihash.clone());
        }
        self.add_listing(entry.method, output, seen);
        self.numbers.output_id += 1;
        self.writes.outputs.push(NewRow {
            id: self.numbers.output_id,
            entry: Arc::clone(entry),
        });
        true
    }

    fn add_listing(&mut self, method: MethodId, output: &NewOutput, seen: &Seen) {
        let Some((text, prepared)) = &output.listing else {
            return;
        };
        if seen.has_listing || !self.listings.insert(prepared.digest.0) {
            return;
        }
        let listing = NewListing::of(text, prepared, seen.has_base);
        if let (None, Some(family)) = (listing.base, &prepared.family) {
            let base = BaseListing {
                digest: listing.digest,
                text: text.clone(),
                stored_bytes: listing.data.len(),
            };
            self.writes.bases.push((family.clone(), Arc::new(base)));
            self.writes.base_methods.push(method);
        }
        self.writes.listings.push(listing);
    }

    /// The outcomes in the order of the entries, and what is to be written.
    pub(super) fn into_parts(self) -> (Vec<Outcome>, Writes) {
        let mut writes = self.writes;
        writes.numbers = Some(self.numbers);
        (self.outcomes, writes)
    }
}

/// The two columns of a time.
pub(super) fn created_columns(created: &Created) -> (Option<i64>, Option<&[u8]>) {
    match created {
        Created::At(moment) => (Some(moment.0), None),
        Created::Text(text) => (None, Some(text.as_bytes())),
        Created::Never => (None, None),
    }
}
