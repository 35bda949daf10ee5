//! Numbers of revisions.

use std::fmt;

/// The number of a revision within its revlog, from zero. It means nothing in
/// another revlog, and another store of the same history numbers differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev(pub u32);

impl Rev {
    /// The most revisions of a revlog: its numbers are signed 32 bit integers.
    pub const COUNT_MAX: usize = i32::MAX as usize;

    /// The revision with this index; `None` over the range of revisions.
    pub fn from_index(index: usize) -> Option<Self> {
        match index < Self::COUNT_MAX {
            true => u32::try_from(index).ok().map(Self),
            false => None,
        }
    }

    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
