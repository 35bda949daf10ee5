//! What changed since a snapshot: lines of JSON, in the order of the change sequence.
//!
//! The first line says since when, the last one up to where. A stream that ends without it was
//! cut, and is resumed from the position of the last line that was read.

mod line;

use std::io::{self, BufRead, Read as _, Write};

use crate::manifest::is_name;
use crate::{Hash, NUMBER_MAX};

use line::Line;

/// Bytes of a line at most, its line feed included.
pub const LINE_BYTES_MAX: usize = 4096;

/// Where a stream of changes begins: at a snapshot, or where an earlier stream was read to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The namespace, 1 to [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) bytes.
    pub namespace: String,
    /// The deletion epoch at the beginning, at most [`NUMBER_MAX`].
    pub epoch: u64,
    /// The position behind which the first change is, at most [`NUMBER_MAX`].
    pub position: u64,
}

/// A change. Each has a position, above that of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A taskhash has this unihash from now on, whatever it had.
    Adopted {
        /// Position of the change.
        position: u64,
        /// The method, 1 to [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) bytes.
        method: String,
        /// The taskhash.
        taskhash: Hash,
        /// Its unihash.
        unihash: Hash,
    },
    /// A taskhash has no unihash any more.
    Deleted {
        /// Position of the change.
        position: u64,
        /// The method, as above.
        method: String,
        /// The taskhash.
        taskhash: Hash,
    },
    /// The deletion epoch is this from now on.
    Epoch {
        /// Position of the change.
        position: u64,
        /// The epoch, above the one before and at most [`NUMBER_MAX`].
        epoch: u64,
    },
}

impl Change {
    /// Its position.
    pub const fn position(&self) -> u64 {
        match self {
            Self::Adopted { position, .. }
            | Self::Deleted { position, .. }
            | Self::Epoch { position, .. } => *position,
        }
    }
}

/// A stream of changes cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The other end or the system failed.
    #[error("cannot read or write changes")]
    Io(#[from] io::Error),
    /// The stream ends in the middle.
    #[error("the changes are cut off after position {0}")]
    Cut(u64),
    /// A line is longer than [`LINE_BYTES_MAX`], no line of such a stream, or not in its one spelling.
    #[error("after position {0}: not a line of changes")]
    Malformed(u64),
    /// A position or epoch is not above the one before, or something is out of its range.
    #[error("after position {0}: out of order or range")]
    Order(u64),
}

/// Where a stream is, for both ends.
#[derive(Clone, Copy, Debug)]
struct Progress {
    position: u64,
    epoch: u64,
}

impl Progress {
    fn begin(since: &Since) -> Result<Self, ChangeError> {
        let numbers_fit = since.position <= NUMBER_MAX && since.epoch <= NUMBER_MAX;
        if !numbers_fit || !is_name(&since.namespace) {
            return Err(ChangeError::Order(0));
        }
        Ok(Self {
            position: since.position,
            epoch: since.epoch,
        })
    }

    fn accept(&mut self, change: &Change) -> Result<(), ChangeError> {
        let position = change.position();
        let mut fits = self.position < position && position <= NUMBER_MAX;
        match change {
            Change::Adopted { method, .. } | Change::Deleted { method, .. } => {
                fits &= is_name(method);
            }
            Change::Epoch { epoch, .. } => {
                fits &= self.epoch < *epoch && *epoch <= NUMBER_MAX;
                if fits {
                    self.epoch = *epoch;
                }
            }
        }
        if !fits {
            return Err(ChangeError::Order(self.position));
        }
        self.position = position;
        Ok(())
    }

    fn end(&mut self, position: u64) -> Result<(), ChangeError> {
        if position < self.position || position > NUMBER_MAX {
            return Err(ChangeError::Order(self.position));
        }
        self.position = position;
        Ok(())
    }
}

/// Writes a stream of changes. Nothing is buffered here.
pub struct ChangeWriter<W> {
    out: W,
    line: Vec<u8>,
    progress: Progress,
}

impl<W: Write> ChangeWriter<W> {
    /// Begins a stream.
    pub fn new(out: W, since: &Since) -> Result<Self, ChangeError> {
        let progress = Progress::begin(since)?;
        let mut writer = Self {
            out,
            line: Vec::new(),
            progress,
        };
        writer.write(&Line::of_since(since))?;
        Ok(writer)
    }

    /// Writes a change, whose position must be above that of the one before.
    pub fn write_change(&mut self, change: &Change) -> Result<(), ChangeError> {
        self.progress.accept(change)?;
        self.write(&Line::of_change(change))
    }

    /// What is written to: a server takes the bytes out of a `Vec` piece by piece.
    pub const fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the stream, which told everything up to `position`. Flushes, and gives back what was written to.
    pub fn end(mut self, position: u64) -> Result<W, ChangeError> {
        self.progress.end(position)?;
        self.write(&Line::End { end: position })?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write(&mut self, line: &Line) -> Result<(), ChangeError> {
        self.line.clear();
        line.write(&mut self.line);
        Ok(self.out.write_all(&self.line)?)
    }
}

/// Reads a stream of changes, of which it holds one line.
pub struct ChangeReader<R> {
    input: R,
    line: Vec<u8>,
    progress: Progress,
    ended: bool,
}

impl<R: BufRead> ChangeReader<R> {
    /// Reads the first line.
    pub fn new(input: R) -> Result<(Self, Since), ChangeError> {
        let progress = Progress {
            position: 0,
            epoch: 0,
        };
        let mut reader = Self {
            input,
            line: Vec::new(),
            progress,
            ended: false,
        };
        let since = reader
            .line()?
            .into_since()
            .ok_or(ChangeError::Malformed(0))?;
        reader.progress = Progress::begin(&since)?;
        Ok((reader, since))
    }

    /// The next change; `None` once all were told, and then [`position`](Self::position) is where the
    /// next stream begins. What is behind the last line is not read.
    pub fn next_change(&mut self) -> Result<Option<Change>, ChangeError> {
        if self.ended {
            return Ok(None);
        }
        let line = self.line()?;
        if let Line::End { end } = line {
            self.progress.end(end)?;
            self.ended = true;
            return Ok(None);
        }
        let malformed = ChangeError::Malformed(self.progress.position);
        let change = line.into_change().ok_or(malformed)?;
        self.progress.accept(&change)?;
        Ok(Some(change))
    }

    /// Up to where everything was told.
    pub const fn position(&self) -> u64 {
        self.progress.position
    }

    /// The deletion epoch at that position.
    pub const fn epoch(&self) -> u64 {
        self.progress.epoch
    }

    fn line(&mut self) -> Result<Line, ChangeError> {
        let position = self.progress.position;
        self.line.clear();
        let mut bounded = (&mut self.input).take(LINE_BYTES_MAX as u64);
        bounded.read_until(b'\n', &mut self.line)?;
        if self.line.last() != Some(&b'\n') {
            return Err(match self.line.len() {
                LINE_BYTES_MAX => ChangeError::Malformed(position),
                _ => ChangeError::Cut(position),
            });
        }
        Line::parse(&self.line).ok_or(ChangeError::Malformed(position))
    }
}

#[cfg(test)]
mod tests;
