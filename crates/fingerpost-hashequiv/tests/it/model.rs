//! The relations as section 8 to 11 of the protocol's description have them,
//! without storage: what the service must be indistinguishable from.

use std::collections::BTreeMap;

use fingerpost_hashequiv_proto::rules::{Evidence, settle, settle_equiv};
use fingerpost_hashequiv_proto::types::Unihash;

use crate::world::{hash, name};

/// One operation on the relations, in short names.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Report {
        task: String,
        output: String,
        proposed: String,
    },
    ReportEquiv {
        task: String,
        proposed: String,
    },
    LookUp {
        task: String,
    },
    RemoveTask {
        task: String,
    },
    RemoveUnihash {
        unihash: String,
    },
    Mark {
        mark: String,
        unihash: String,
    },
    Sweep {
        mark: String,
    },
}

/// What an operation answered.
pub(crate) type Answer = Option<String>;

/// The relations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// U: taskhash → (unihash, mark).
    pub(crate) unihashes: BTreeMap<String, (String, String)>,
    /// O: (taskhash, outhash), in the order of insertion.
    pub(crate) outputs: Vec<(String, String)>,
    mark: Option<String>,
}

impl Model {
    /// Applies an operation and answers it.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Answer {
        self.apply_along(&[], operation)
    }

    /// Applies an operation where reads fall back to `further`, nearest first.
    pub(crate) fn apply_along(&mut self, further: &[Self], operation: &Operation) -> Answer {
        match operation {
            Operation::Report {
                task,
                output,
                proposed,
            } => Some(self.report(further, task, output, proposed)),
            Operation::ReportEquiv { task, proposed } => {
                Some(self.report_equiv(further, task, proposed))
            }
            Operation::LookUp { task } => {
                let mut chain = std::iter::once(&*self).chain(further);
                chain.find_map(|model| model.unihashes.get(task).map(|row| row.0.clone()))
            }
            Operation::RemoveTask { task } => {
                let before = self.unihashes.len() + self.outputs.len();
                self.unihashes.remove(task);
                self.outputs.retain(|row| row.0 != *task);
                Some((before - self.unihashes.len() - self.outputs.len()).to_string())
            }
            Operation::RemoveUnihash { unihash } => {
                let before = self.unihashes.len();
                self.unihashes.retain(|_, row| row.0 != *unihash);
                Some((before - self.unihashes.len()).to_string())
            }
            Operation::Mark { mark, unihash } => {
                self.mark = Some(mark.clone());
                let marked = self.unihashes.values_mut().filter(|row| row.0 == *unihash);
                Some(marked.map(|row| row.1.clone_from(mark)).count().to_string())
            }
            Operation::Sweep { mark } => {
                if self.mark.as_ref() != Some(mark) {
                    return None;
                }
                self.mark = None;
                let before = self.unihashes.len();
                self.unihashes.retain(|_, row| row.1 == *mark);
                Some((before - self.unihashes.len()).to_string())
            }
        }
    }

    fn report(&mut self, further: &[Self], task: &str, output: &str, proposed: &str) -> String {
        let existing = self.unihash(task);
        let inherited = further.iter().find_map(|model| model.unihash(task));
        let mut chain = std::iter::once(&*self).chain(further);
        let oldest_match = chain.find_map(|model| {
            let mut equal = model.outputs.iter().filter(|row| row.1 == output);
            equal.find_map(|row| model.unihash(&row.0))
        });
        let evidence = Evidence {
            existing: existing.as_ref(),
            inherited: inherited.as_ref(),
            oldest_match: oldest_match.as_ref(),
            upstream: None,
        };
        let verdict = settle(&Unihash::parse(&hash(proposed)), evidence);
        let row = (task.to_owned(), output.to_owned());
        if !self.outputs.contains(&row) {
            self.outputs.push(row);
        }
        self.keep(task, verdict.unihash())
    }

    fn report_equiv(&mut self, further: &[Self], task: &str, proposed: &str) -> String {
        let existing = self.unihash(task);
        let inherited = further.iter().find_map(|model| model.unihash(task));
        let proposed = Unihash::parse(&hash(proposed));
        let verdict = settle_equiv(&proposed, existing.as_ref(), inherited.as_ref());
        self.keep(task, verdict.unihash())
    }

    fn unihash(&self, task: &str) -> Option<Unihash> {
        let row = self.unihashes.get(task)?;
        Some(Unihash::parse(&hash(&row.0)))
    }

    fn keep(&mut self, task: &str, unihash: &Unihash) -> String {
        let unihash = name(&unihash.to_text());
        let mark = self.mark.clone().unwrap_or_default();
        let row = self
            .unihashes
            .entry(task.to_owned())
            .or_insert((unihash, mark));
        row.0.clone()
    }
}
