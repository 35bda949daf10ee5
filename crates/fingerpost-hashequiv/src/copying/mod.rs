//! Moving a live database into another one, of whatever kind.
//!
//! [`copy`] takes every namespace with its mappings, outputs, listings, signatures, marks and
//! users. It may run beside servers that go on writing to the source, be stopped at any time and
//! be run again: what is new since then is taken over. With [`CopyOptions::finish`], when
//! nobody writes to the source any more, it takes the rest, compares both, and the target is
//! complete.
//!
//! Rows are taken in the order in which the source numbered them, so the oldest output of a
//! task is the oldest there too. What was deleted meanwhile is known from the source's log of
//! changes, or is found by comparing.

mod catching_up;
mod error;
mod run;
mod state;
mod verifying;

use std::collections::HashMap;

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::Unihash;

pub use self::error::CopyError;
pub use self::run::{CopyOptions, CopyProgress, CopyReport, copy};
use crate::namespace::NamespaceId;
use crate::paging::OutputKey;
use crate::store::{OutputRow, Report, Stored, Task};

/// A row of the relation U with all that there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingCopy {
    /// Its place in the order of its namespace.
    pub place: i64,
    /// The task.
    pub task: Task,
    /// Its unihash, valid or not.
    pub unihash: Unihash,
    /// When it was stored.
    pub created: Timestamp,
    /// Day (since 1970) of the last use that was noted.
    pub used_day: i64,
    /// The collection that marked it, by its number in its database; 0 for none.
    pub collection: i64,
}

/// A row of the relation O with all that there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputCopy {
    /// The row, with its listing and without its task's unihash.
    pub row: OutputRow,
    /// The texts of its signatures, the oldest first.
    pub signatures: Vec<String>,
}

impl OutputCopy {
    /// What names the row.
    pub fn key(&self) -> OutputKey {
        OutputKey {
            task: Task {
                method: self.row.method.clone(),
                taskhash: self.row.taskhash.clone(),
            },
            outhash: self.row.outhash.clone(),
        }
    }

    /// What its listing is encoded by.
    pub(crate) fn as_report(&self) -> Report {
        Report {
            task: self.key().task,
            outhash: None,
            proposed: Unihash::parse(""),
            upstream: None,
            metadata: self.row.metadata.clone(),
            siginfo: self.row.siginfo.clone(),
            now: Timestamp(0),
        }
    }
}

/// Some rows, and where to go on.
#[derive(Clone, Debug)]
pub struct CopyPage<T> {
    /// In their order.
    pub rows: Vec<T>,
    /// What to ask for next, if there are more.
    pub next: Option<i64>,
}

/// A start of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its number in its database.
    pub id: i64,
    /// The mark.
    pub mark: String,
    /// When it began.
    pub started: Timestamp,
}

/// The collections of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collections {
    /// All of them, the oldest first.
    pub all: Vec<Collection>,
    /// The one that is running.
    pub running: Option<i64>,
}

/// Rows of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Of the relation U.
    pub mappings: u64,
    /// Of the relation O.
    pub outputs: u64,
    /// Of those, with a listing.
    pub listings: u64,
    /// Signatures.
    pub signatures: u64,
}

/// The part of a [`Store`](crate::Store) that gives and takes rows as they are. As there,
/// every method is atomic and sees one namespace alone.
pub trait CopyStore: Send + Sync + 'static {
    /// Mappings after the place `after`, at most `limit`.
    fn mapping_copies(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<MappingCopy>>;

    /// The mappings of tasks, in order.
    fn mapping_copies_of(
        &self,
        at: NamespaceId,
        tasks: Vec<Task>,
    ) -> Stored<'_, Vec<Option<MappingCopy>>>;

    /// Outputs after the one numbered `after`, at most `limit`.
    fn output_copies(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<OutputCopy>>;

    /// What names the outputs after the one numbered `after`, at most `limit`.
    fn output_keys(
        &self,
        at: NamespaceId,
        after: i64,
        limit: usize,
    ) -> Stored<'_, CopyPage<OutputKey>>;

    /// The signatures of outputs, in order; `None` of one that is not there.
    fn signatures_of(
        &self,
        at: NamespaceId,
        keys: Vec<OutputKey>,
    ) -> Stored<'_, Vec<Option<Vec<String>>>>;

    /// The highest number of an output, 0 if there is none. Cheap.
    fn newest_output(&self, at: NamespaceId) -> Stored<'_, i64>;

    /// The collections of a namespace.
    fn collections(&self, at: NamespaceId) -> Stored<'_, Collections>;

    /// Counts the rows of a namespace, all of them one by one if need be.
    fn row_counts(&self, at: NamespaceId) -> Stored<'_, RowCounts>;

    /// Stores mappings; a task that has one has the given one afterwards.
    fn put_mappings(&self, at: NamespaceId, rows: Vec<MappingCopy>) -> Stored<'_, ()>;

    /// Stores outputs that are not there, in this order, and their signatures.
    fn put_outputs(&self, at: NamespaceId, rows: Vec<OutputCopy>) -> Stored<'_, ()>;

    /// Gives outputs these signatures and no others; those that are not there get none.
    fn put_signature_texts(
        &self,
        at: NamespaceId,
        signed: Vec<(OutputKey, Vec<String>)>,
    ) -> Stored<'_, ()>;

    /// Removes the mappings of tasks.
    fn drop_mappings(&self, at: NamespaceId, tasks: Vec<Task>) -> Stored<'_, ()>;

    /// Removes outputs.
    fn drop_outputs(&self, at: NamespaceId, keys: Vec<OutputKey>) -> Stored<'_, ()>;

    /// Stores collections that are not there, and which one is running. Gives their
    /// numbers here by their numbers there.
    fn put_collections(
        &self,
        at: NamespaceId,
        collections: Collections,
    ) -> Stored<'_, HashMap<i64, i64>>;

    /// How far a copy into this database is, in the words of who makes it.
    fn copy_state(&self) -> Stored<'_, Option<String>>;

    /// Keeps that, or forgets it.
    fn put_copy_state(&self, state: Option<String>) -> Stored<'_, ()>;
}
