//! Whether a row goes.
//!
//! Numbers and sizes become days: rows are counted by the day of their last use, and the
//! day is found from which on they fit. So nothing is sorted, whatever the database has.

use std::collections::{BTreeMap, HashMap};

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};

use super::keep::Keep;
use super::labels::{Labels, glob_matches};
use super::policy::{Policy, Rule, Term, Terms};
use super::rows::{Kind, RetainedRow};
use crate::cache::MethodId;
use crate::namespace::NamespaceId;
use crate::query::{Column, Conditions};

/// A last use is noted up to a day late: `uses` says why.
const NOTED_LATE_DAYS: i64 = 1;
const DAY_MICROS: i64 = 86_400_000_000;

/// The rows that a term of number or size is about.
type Pair = (NamespaceId, MethodId);

/// A policy with everything that it needs to judge rows at one moment.
pub(super) struct Judge<'a> {
    policy: &'a Policy,
    labels: Labels,
    stays: Vec<Stays>,
    now: Timestamp,
    kind: Kind,
    /// The place of the rule of each pair that was met.
    rules: HashMap<Pair, Option<usize>>,
    sums: HashMap<Pair, Sums>,
    edges: HashMap<Pair, Vec<Edge>>,
}

impl<'a> Judge<'a> {
    /// With the list of each rule.
    pub(super) fn new(
        policy: &'a Policy,
        labels: Labels,
        keeps: Vec<Option<Keep>>,
        now: Timestamp,
    ) -> Self {
        let stays = policy.rules.iter().zip(keeps);
        let stays = stays.map(|(rule, keep)| Stays::of(rule, keep, &labels));
        Self {
            stays: stays.collect(),
            policy,
            labels,
            now,
            kind: Kind::Mappings,
            rules: HashMap::new(),
            sums: HashMap::new(),
            edges: HashMap::new(),
        }
    }

    /// Begins with rows of another kind; whether they must be summed up first.
    pub(super) fn begin(&mut self, kind: Kind) -> bool {
        self.kind = kind;
        self.sums.clear();
        self.edges.clear();
        let mut rules = self.policy.rules.iter();
        rules.any(|rule| rule.terms(kind).need_sums())
    }

    /// Adds a row to the sums.
    pub(super) fn add(&mut self, row: &RetainedRow) {
        let Some((rule, terms)) = self.terms_of(row) else {
            return;
        };
        if !terms.need_sums() {
            return;
        }
        let is_pinned = self.stays[rule].pins(row);
        if !is_pinned && self.by_time(&terms, row).is_some() {
            return;
        }
        let sums = self.sums.entry((row.namespace, row.method)).or_default();
        let sum = match is_pinned {
            true => &mut sums.pinned,
            false => sums.by_day.entry(used_day(row)).or_default(),
        };
        sum.rows += 1;
        sum.bytes = sum.bytes.saturating_add(row.bytes);
    }

    /// Finds the days, once all rows were added.
    pub(super) fn settle(&mut self) {
        let sums = std::mem::take(&mut self.sums);
        for (pair, sums) in sums {
            let Some(rule) = self.rules.get(&pair).copied().flatten() else {
                continue;
            };
            let terms = self.policy.rules[rule].terms(self.kind);
            self.edges.insert(pair, sums.edges(terms));
        }
    }

    /// The place of the rule by which the row goes, and the term; `None` if it stays.
    /// To be asked once for each row, in their order.
    pub(super) fn verdict(&mut self, row: &RetainedRow) -> Option<(usize, Term)> {
        let (rule, terms) = self.terms_of(row)?;
        if terms.is_empty() || self.stays[rule].pins(row) {
            return None;
        }
        if let Some(term) = self.by_time(&terms, row) {
            return Some((rule, term));
        }
        let edges = self.edges.get_mut(&(row.namespace, row.method))?;
        let (day, bytes) = (used_day(row), row.bytes);
        // Each takes the row off what is over, whichever says that it goes.
        let over = edges.iter_mut().filter_map(|edge| edge.takes(day, bytes));
        over.min().map(|term| (rule, term))
    }

    /// Namespace, method and taskhash of a row, for people.
    pub(super) fn name(&self, row: &RetainedRow) -> String {
        let mut namespaces = self.labels.namespaces.iter();
        let mut methods = self.labels.methods.iter();
        let namespace = namespaces.find(|(id, _)| *id == row.namespace);
        let method = methods.find(|(id, _)| *id == row.method);
        let name = |found: Option<&String>| found.cloned().unwrap_or_default();
        format!(
            "{} {} {}",
            name(namespace.map(|(_, name)| name)),
            name(method.map(|(_, name)| name)),
            row.taskhash
        )
    }

    fn terms_of(&mut self, row: &RetainedRow) -> Option<(usize, Terms)> {
        let pair = (row.namespace, row.method);
        let rule = match self.rules.get(&pair) {
            Some(known) => *known,
            None => {
                let found = self.rule_of(pair);
                self.rules.insert(pair, found);
                found
            }
        }?;
        Some((rule, *self.policy.rules[rule].terms(self.kind)))
    }

    /// A namespace that is not served here has none, a method that came just now neither.
    fn rule_of(&self, (namespace, method): Pair) -> Option<usize> {
        let mut namespaces = self.labels.namespaces.iter();
        let (_, namespace) = namespaces.find(|(id, _)| *id == namespace)?;
        let mut methods = self.labels.methods.iter();
        let (_, method) = methods.find(|(id, _)| *id == method)?;
        self.policy.rules.iter().position(|rule| {
            glob_matches(&rule.namespace, namespace) && glob_matches(&rule.method, method)
        })
    }

    fn by_time(&self, terms: &Terms, row: &RetainedRow) -> Option<Term> {
        let days = |days: u64| i64::try_from(days).unwrap_or(i64::MAX);
        if let (Some(most), Some(created)) = (terms.max_age_days, row.created) {
            let term = days(most).saturating_mul(DAY_MICROS);
            if created < self.now.minus_micros(term) {
                return Some(Term::Age);
            }
        }
        if let (Some(most), Some(used)) = (terms.unused_days, row.used_day()) {
            let last = self.now.day().saturating_sub(days(most));
            if used < last.saturating_sub(NOTED_LATE_DAYS) {
                return Some(Term::Unused);
            }
        }
        None
    }
}

/// The day by which rows are ordered; those of which nothing is known are the first.
fn used_day(row: &RetainedRow) -> i64 {
    row.used_day().unwrap_or(i64::MIN)
}

/// What stays by a rule.
struct Stays {
    pins: Vec<Pin>,
    keep: Option<Keep>,
}

/// Conditions with names resolved.
#[derive(Default)]
struct Pin {
    method: Option<MethodId>,
    taskhash: Option<Taskhash>,
    unihash: Option<Unihash>,
    collections: Option<Vec<i64>>,
}

impl Stays {
    fn of(rule: &Rule, keep: Option<Keep>, labels: &Labels) -> Self {
        let pins = rule.pins.iter().filter_map(|pin| Pin::of(pin, labels));
        Self {
            pins: pins.collect(),
            keep,
        }
    }

    fn pins(&self, row: &RetainedRow) -> bool {
        let is_kept = |keep: &Keep| {
            let mapping = row.mapping.as_ref();
            mapping.is_some_and(|mapping| keep.contains(&mapping.unihash))
        };
        self.pins.iter().any(|pin| pin.matches(row)) || self.keep.as_ref().is_some_and(is_kept)
    }
}

impl Pin {
    /// `None` if no row can match.
    fn of(conditions: &Conditions, labels: &Labels) -> Option<Self> {
        let mut pin = Self::default();
        for (column, value) in &conditions.0 {
            match column {
                Column::Method => {
                    let mut methods = labels.methods.iter();
                    let (id, _) = methods.find(|(_, name)| name == value)?;
                    pin.method = Some(*id);
                }
                Column::Taskhash => pin.taskhash = Some(Taskhash::parse(value)),
                Column::Unihash => pin.unihash = Some(Unihash::parse(value)),
                Column::GcMark => {
                    let marked = labels.marks.iter().filter(|(_, mark)| mark == value);
                    pin.collections = Some(marked.map(|(id, _)| *id).collect());
                }
                // Refused when the policy was checked.
                _ => return None,
            }
        }
        (!conditions.is_empty()).then_some(pin)
    }

    fn matches(&self, row: &RetainedRow) -> bool {
        let Some(mapping) = &row.mapping else {
            return false;
        };
        let marked = |collections: &Vec<i64>| collections.contains(&mapping.collection);
        self.method.is_none_or(|method| method == row.method)
            && self
                .taskhash
                .as_ref()
                .is_none_or(|hash| *hash == row.taskhash)
            && self
                .unihash
                .as_ref()
                .is_none_or(|hash| *hash == mapping.unihash)
            && self.collections.as_ref().is_none_or(marked)
    }
}

/// Rows and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    rows: u64,
    bytes: u64,
}

/// What a pair has.
#[derive(Default)]
struct Sums {
    pinned: Sum,
    by_day: BTreeMap<i64, Sum>,
}

impl Sums {
    fn edges(&self, terms: &Terms) -> Vec<Edge> {
        let rows = terms.max_rows.and_then(|most| {
            let room = most.saturating_sub(self.pinned.rows);
            self.edge(Term::Rows, room, |sum| sum.rows)
        });
        let bytes = terms.max_bytes.and_then(|most| {
            let room = most.saturating_sub(self.pinned.bytes);
            self.edge(Term::Bytes, room, |sum| sum.bytes)
        });
        rows.into_iter().chain(bytes).collect()
    }

    /// The last day that does not fit as a whole into `room`, counted from today.
    fn edge(&self, term: Term, mut room: u64, size: fn(&Sum) -> u64) -> Option<Edge> {
        for (day, sum) in self.by_day.iter().rev() {
            let size = size(sum);
            if size > room {
                let over = size - room;
                return Some(Edge {
                    term,
                    day: *day,
                    over,
                });
            }
            room -= size;
        }
        None
    }
}

/// Rows of before `day` go, and of that day as many as are over.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    term: Term,
    day: i64,
    over: u64,
}

impl Edge {
    fn takes(&mut self, day: i64, bytes: u64) -> Option<Term> {
        if day < self.day {
            return Some(self.term);
        }
        if day > self.day || self.over == 0 {
            return None;
        }
        let size = match self.term {
            Term::Bytes => bytes,
            _ => 1,
        };
        self.over = self.over.saturating_sub(size);
        Some(self.term)
    }
}

#[cfg(test)]
mod tests;
