//! What an import came to.

use serde::{Deserialize, Serialize};

use super::Oddity;
use super::oddity::Oddities;
use super::reference::Generation;

/// How rows were brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// Into a new file, which appears under its name when it is complete.
    Fresh,
    /// Into a database that existed; its own rows stay.
    Merged,
    /// Nothing was written.
    DryRun,
}

/// Rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rows read.
    pub read: u64,
    /// Rows that are new in the target (in a dry run: that could be taken).
    pub added: u64,
    /// Rows whose key the target had; its own row stays.
    pub present: u64,
    /// Rows not taken, invalid unihashes that were dropped included.
    pub left_out: u64,
}

/// The listings (`outhash_siginfo`) of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingTally {
    /// Rows that have one.
    pub read: u64,
    /// Bytes of their text.
    pub text_bytes: u64,
    /// Different texts that were stored.
    pub stored: u64,
    /// Bytes that they take compressed.
    pub stored_bytes: u64,
}

/// What an import came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Schema version of the source.
    pub generation: Generation,
    /// How rows were brought in.
    pub manner: Manner,
    /// Whether an interrupted run was continued.
    pub resumed: bool,
    /// The relation U.
    pub mappings: Tally,
    /// Unihashes that are not 64 lower-case hex digits.
    pub invalid_unihashes: u64,
    /// The relation O.
    pub outputs: Tally,
    /// Listings.
    pub listings: ListingTally,
    /// Users.
    pub users: Tally,
    /// The running collection's mark, when there is one and it was taken.
    pub mark: Option<String>,
    /// Things that an operator should read.
    pub notes: Vec<String>,
    pub(super) oddities: Oddities,
}

impl ImportReport {
    pub(super) fn new(generation: Generation, manner: Manner) -> Self {
        Self {
            generation,
            manner,
            resumed: false,
            mappings: Tally::default(),
            invalid_unihashes: 0,
            outputs: Tally::default(),
            listings: ListingTally::default(),
            users: Tally::default(),
            mark: None,
            notes: Vec::new(),
            oddities: Oddities::default(),
        }
    }

    /// Values that could not be taken as they were.
    pub fn oddities(&self) -> &[Oddity] {
        &self.oddities.0
    }
}
