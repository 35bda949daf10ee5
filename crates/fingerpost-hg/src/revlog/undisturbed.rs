//! Whether what is read from an open file is what was verified of it.

use super::{Data, Revlog};
use crate::store::FileStamp;

impl Revlog {
    /// Whether nothing was written to the file with the data since it was
    /// opened. Then what was read of it before this is asked is what
    /// [`Revlog::is_verified`] speaks of.
    ///
    /// A strip cuts the file off and lets it grow again, and under one who
    /// still reads the old revlog other bytes are where the verified ones were:
    /// perhaps those of a secret changeset. So who uses stored bytes because
    /// they were verified once asks this *after* reading them, and otherwise
    /// verifies what was read. A commit that only appends is told no better; it
    /// costs some hashes. Revlogs whose data is in memory are always
    /// undisturbed.
    pub fn is_undisturbed(&self) -> bool {
        match (&self.data, self.stamps) {
            (Data::Memory(_), _) => true,
            (Data::File(file), Some([_, opened])) => {
                rustix::fs::fstat(file).is_ok_and(|now| FileStamp::of(&now) == opened)
            }
            (Data::File(_), None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Revision, RevlogWriter, empty_repository, open_store};
    use crate::{Rev, Revlog, RevlogName, StoreError, Texts};

    fn written(text: &str) -> RevlogWriter {
        let mut revlog = RevlogWriter::new(false, true);
        revlog.add(Revision::root(text.as_bytes(), 0));
        revlog
    }

    #[test]
    fn verified_bytes_that_were_written_over_are_verified_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = empty_repository(dir.path());
        written("public").write_filelog(&store, "f");
        let opened = open_store(dir.path());
        let revlog = Revlog::open(&opened, RevlogName::Filelog(b"f")).unwrap();
        assert_eq!(&Texts::new(0).text(&revlog, Rev(0)).unwrap()[..], b"public");
        assert!(revlog.is_verified(Rev(0)) && revlog.is_undisturbed());
        written("secret, which is longer").write_filelog(&store, "f");
        assert!(!revlog.is_undisturbed());
        let error = Texts::new(0).text(&revlog, Rev(0)).unwrap_err();
        let is_seen = matches!(
            error,
            StoreError::HashMismatch { .. } | StoreError::CorruptRevision { .. }
        );
        assert!(is_seen && error.may_be_stale(), "{error}");
    }
}
