//! What was deleted since a snapshot, so that a start without the server does not answer it.
//!
//! A stream of changes ([docs/snapshots.md](../../../../docs/snapshots.md)) without additions and end.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};

use fingerpost_snapshot::{Change, ChangeError, ChangeReader, ChangeWriter, Manifest, Since};

use super::place::{Place, sync};

const FILE: &str = "deleted.ndjson";
const NEW: &str = "deleted.new";

/// The log of a snapshot that is being followed.
pub(super) struct DeletionLog {
    writer: ChangeWriter<BufWriter<File>>,
    left: usize,
    position: u64,
}

impl DeletionLog {
    /// Begins one beside that of the snapshot before. More than `lines_max` lines are refused.
    pub(super) fn begin(
        place: &Place,
        manifest: &Manifest,
        lines_max: usize,
    ) -> Result<Self, ChangeError> {
        let file = File::create(place.file(NEW))?;
        let writer = ChangeWriter::new(BufWriter::new(file), &since(manifest))?;
        Ok(Self {
            writer,
            left: lines_max,
            position: manifest.position,
        })
    }

    /// Appends deletions, in their order and behind all others, durably.
    pub(super) fn append(&mut self, deletions: &[Change]) -> Result<(), ChangeError> {
        self.left = self
            .left
            .checked_sub(deletions.len())
            .ok_or(io::ErrorKind::FileTooLarge)
            .map_err(io::Error::from)?;
        for change in deletions {
            self.writer.write_change(change)?;
            self.position = change.position();
        }
        self.sync()
    }

    /// The position of the last deletion in it, or of the snapshot.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    fn sync(&mut self) -> Result<(), ChangeError> {
        let file = self.writer.get_mut();
        file.flush()?;
        Ok(file.get_ref().sync_data()?)
    }

    /// Takes the place of the log before.
    pub(super) fn commit(&mut self, place: &Place) -> Result<(), ChangeError> {
        self.sync()?;
        fs::rename(place.file(NEW), place.file(FILE))?;
        Ok(sync(place.path())?)
    }
}

/// What the log here has since this snapshot; `None` if there is none that can be read up to the
/// deletion at `position` at least.
pub(super) fn load(place: &Place, manifest: &Manifest, position: u64) -> Option<Vec<Change>> {
    let file = File::open(place.file(FILE)).ok()?;
    let (mut reader, begin) = ChangeReader::new(BufReader::new(file)).ok()?;
    if begin != since(manifest) {
        return None;
    }
    let mut changes = Vec::new();
    loop {
        match reader.next_change() {
            Ok(Some(change)) => changes.push(change),
            // A line that was not noted may have been written by half.
            Ok(None) | Err(ChangeError::Cut(_)) if reader.position() >= position => {
                return Some(changes);
            }
            _ => return None,
        }
    }
}

fn since(manifest: &Manifest) -> Since {
    Since {
        namespace: manifest.namespace.clone(),
        epoch: manifest.epoch,
        position: manifest.position,
    }
}
