//! Where the follower was, for the next start.

use std::fs::File;
use std::io::{self, Read as _};

use serde::{Deserialize, Serialize};

use super::place::{Place, write};
use super::shared::Fallbacks;
use crate::state::DeletionEpoch;

const FILE: &str = "followed.json";
const BYTES_MAX: u64 = 16 << 10;

/// Where the follower was. What it tells others and what it keeps on disk is at least as far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The namespace, as the server calls it.
    pub(super) namespace: String,
    /// The server's data: 32 hex digits.
    history: String,
    /// Its deletion epoch, all of which was heard of.
    pub(super) epoch: u64,
    /// Up to where all who hear of changes will not forget that they did.
    pub(super) position: u64,
    /// Whether its reads look into others as well, as was told to those who hear of changes.
    pub(super) fallbacks: Fallbacks,
    /// When the server last told everything, in seconds since 1970. None: too long ago.
    pub(super) current: Option<u64>,
    /// The snapshot that was followed, if the log has all that was deleted since.
    pub(super) snapshot: Option<String>,
    /// The position of the last deletion in that log.
    pub(super) logged: u64,
}

impl Note {
    pub(super) fn new(namespace: String, epoch: DeletionEpoch, position: u64) -> Self {
        Self {
            namespace,
            history: format!("{:032x}", u128::from_be_bytes(epoch.history)),
            epoch: epoch.epoch,
            position,
            fallbacks: Fallbacks::NotKnown,
            current: None,
            snapshot: None,
            logged: 0,
        }
    }

    /// The note here, if there is one that can be read.
    pub(super) fn load(place: &Place) -> Option<Self> {
        let mut bytes = Vec::new();
        let file = File::open(place.file(FILE)).ok()?;
        file.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let note: Self = serde_json::from_slice(&bytes).ok()?;
        note.epoch().map(|_| note)
    }

    pub(super) fn save(&self, place: &Place) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).expect("numbers and words");
        write(&place.file(FILE), &bytes)
    }

    pub(super) fn remove(place: &Place) -> io::Result<()> {
        match std::fs::remove_file(place.file(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn epoch(&self) -> Option<DeletionEpoch> {
        let history = u128::from_str_radix(&self.history, 16).ok()?;
        Some(DeletionEpoch {
            history: history.to_be_bytes(),
            epoch: self.epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::make(dir.path(), None).unwrap();
        assert_eq!(Note::load(&place), None);
        let epoch = DeletionEpoch {
            history: [7; 16],
            epoch: 3,
        };
        let note = Note {
            current: Some(5),
            snapshot: Some("a".to_owned()),
            ..Note::new("main".to_owned(), epoch, 9)
        };
        note.save(&place).unwrap();
        assert_eq!(Note::load(&place), Some(note.clone()));
        assert_eq!(note.epoch(), Some(epoch));
        std::fs::write(place.file(FILE), "{\"namespace\":").unwrap();
        assert_eq!(Note::load(&place), None);
        Note::remove(&place).unwrap();
        Note::remove(&place).unwrap();
    }
}
