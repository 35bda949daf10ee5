//! Moving in from `bitbake-hashserv`, and back.
//!
//! [`import()`] reads a database of the reference server, of any of its schema
//! versions, and makes a Fingerpost database of it: in bulk when the target
//! does not exist yet, row by row when it does. [`export()`] writes the
//! reference's current schema, so that rolling back is possible. Both work on
//! files beside running servers, from one snapshot each. [`import_postgres`]
//! takes a reference database that is in PostgreSQL.
//!
//! Nothing here prints or waits for anybody: what happens is told to a
//! [`Progress`] and summed up in a report. Memory does not grow with the number
//! of rows.

mod bulk_insert;
mod error;
mod export;
mod following;
mod import;
mod listings;
mod load;
mod merge;
mod oddity;
mod pipe;
mod postgres;
mod reference;
mod report;
mod scratch;
mod users;
mod work;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::ControlFlow;

pub use error::{ExportError, ImportError};
pub use export::{ExportReport, export};
pub use following::{Depth, Finished, FollowedSource, Following, Moved, Round};
pub use import::{ImportOptions, import};
pub use oddity::{Consequence, Oddity, OddityKind};
pub use postgres::import_postgres;
pub use reference::{Generation, generation_of};
pub use report::{ImportReport, ListingTally, Manner, Tally};

/// Is told how far a piece of work has come.
pub trait Progress {
    /// A stage begins. `total` is in the stage's unit and may be an estimate.
    fn begin(&mut self, stage: Stage, total: u64);

    /// `done` of the stage's total are done. `Break` ends the work at once, as
    /// if the process had been killed: an import goes on from there when it is
    /// run again.
    fn advance(&mut self, done: u64) -> ControlFlow<()>;

    /// Something that the operator should know now and not only at the end.
    fn note(&mut self, line: &str);
}

/// Hears nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: Stage, _: u64) {}

    fn advance(&mut self, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn note(&mut self, _: &str) {}
}

/// A piece of an import or export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Copies the tables of a database in PostgreSQL.
    Copying,
    /// Counts what an interrupted import has taken already.
    Comparing,
    /// Takes the relation U: which unihash a task has.
    Mappings,
    /// Takes the relation O: what was reported for a task.
    Outputs,
    /// Finds the tasks that rows of the relation O belong to.
    Matching,
    /// Puts rows of the relation O in their place.
    Placing,
    /// Builds the indexes.
    Indexes,
    /// Waits until everything is on disk.
    Syncing,
}

impl Stage {
    /// What the stage's total counts.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Indexes => "indexes",
            Self::Syncing => "files",
            _ => "rows",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copying => "Copying from PostgreSQL",
            Self::Comparing => "Comparing with the interrupted run",
            Self::Mappings => "Moving unihashes",
            Self::Outputs => "Moving outputs",
            Self::Matching => "Matching outputs with tasks",
            Self::Placing => "Placing outputs",
            Self::Indexes => "Building indexes",
            Self::Syncing => "Writing to disk",
        })
    }
}
