//! Importing while the reference goes on writing.
//!
//! A first round imports everything. Later ones compare the reference's rows, in
//! the order of their ids, with a [`record`] of those that were taken, and do to
//! the target what was done to the source: [`comparing`] finds what is new, gone
//! or marked otherwise, [`applying`] does it, [`settling`] sees to it that the
//! oldest row has the least id, and [`healing`] that the target has the recorded
//! rows and no others. After [`Following::finish`] the target is what an import
//! of the source as it is then would have made.

mod applying;
mod comparing;
mod copied;
mod healing;
mod outputs;
mod record;
mod round;
mod seal;
mod settling;
mod source;
mod users;

use std::path::{Path, PathBuf};

use self::record::Record;
pub use self::source::FollowedSource;
use super::{ImportError, ImportOptions, Progress};

/// How much a round looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Rows with higher ids than any before, users, and the running collection.
    New,
    /// Every row's id, key and mark.
    All,
}

/// What rounds did to one relation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Rows that were added to the target, or found there by the first round.
    pub added: u64,
    /// Rows that were removed.
    pub removed: u64,
    /// Rows whose mark was changed.
    pub marked: u64,
}

/// What a round came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// What it looked at: everything where something less would not have done.
    pub depth: Depth,
    /// The relation U.
    pub mappings: Moved,
    /// The relation O.
    pub outputs: Moved,
    /// Users that were added, changed or removed.
    pub users: u64,
    /// Rows that the target had or lacked against expectation, which was put right:
    /// somebody else wrote to it.
    pub healed: u64,
    /// Things that an operator should read.
    pub notes: Vec<String>,
}

/// What the target has at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The last round.
    pub round: Round,
    /// Rows of the relation U.
    pub mappings: u64,
    /// Rows of the relation O.
    pub outputs: u64,
    /// Users.
    pub users: u64,
    /// The running collection's mark.
    pub mark: Option<String>,
}

/// A target that follows a reference database. Holds the lock of `TARGET.following`:
/// nobody else follows into the target meanwhile.
#[derive(Debug)]
pub struct Following<'a> {
    source: FollowedSource<'a>,
    target: PathBuf,
    options: ImportOptions<'a>,
    record: Record,
}

impl<'a> Following<'a> {
    /// Begins to follow into `target`, which must not exist, or goes on. Reads
    /// nothing yet. Of the options, the namespace must be the default one and
    /// nothing can be rehearsed.
    ///
    /// # Errors
    ///
    /// [`ImportError::NotFollowed`] when the target exists and follows nobody,
    /// [`ImportError::FollowsOther`] when it follows another source or by other
    /// options, [`ImportError::Running`] when somebody else does this now.
    pub fn begin(
        source: FollowedSource<'a>,
        target: &Path,
        options: &ImportOptions<'a>,
    ) -> Result<Self, ImportError> {
        // SQLite takes some relative names for something else.
        let target = std::path::absolute(target).map_err(ImportError::io(target))?;
        let record = Record::open(&target, &source.name(), options)?;
        Ok(Self {
            source,
            target,
            options: *options,
            record,
        })
    }

    /// Takes over what changed since the last round. After an error, and after a
    /// kill, the next round goes on from there.
    ///
    /// # Errors
    ///
    /// See [`ImportError`]; [`ImportError::TooOldToFollow`] for a source with tables
    /// of before 2021.
    pub fn round(
        &mut self,
        depth: Depth,
        now: fingerpost_core::Timestamp,
        progress: &mut dyn Progress,
    ) -> Result<Round, ImportError> {
        self.options.now = now;
        let (round, _) = round::run(self, depth, progress)?;
        Ok(round)
    }

    /// Takes over everything that is left, and ends the following. To be called
    /// when the reference was stopped.
    ///
    /// # Errors
    ///
    /// [`ImportError::StillWritten`] when somebody wrote to the source meanwhile: the
    /// target goes on following, and this can be called again. Else as
    /// [`Following::round`].
    pub fn finish(mut self, progress: &mut dyn Progress) -> Result<Finished, ImportError> {
        let (round, taken) = round::run(&mut self, Depth::All, progress)?;
        if !self.source.stands_still(taken)? {
            return Err(ImportError::StillWritten {
                path: self.source.name().into(),
            });
        }
        let finished = round::count(&self.target, round)?;
        self.record.remove()?;
        Ok(finished)
    }
}
