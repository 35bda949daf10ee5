//! Comparing an index in memory with the file it came from.

use super::Revlog;
use super::entry::ENTRY_BYTES;
use super::open::read_index;
use crate::error::StoreError;
use crate::store::{Store, io_error, read_at};

/// How much of a file is compared at once: whole entries.
const PIECE_BYTES: usize = 1 << 20;

impl Revlog {
    /// Whether the file still begins with every entry of this index, whatever
    /// its stamp says. Reads all of the index.
    ///
    /// # Errors
    ///
    /// As [`Revlog::open`].
    pub(crate) fn is_prefix_of_file(&self, store: &Store) -> Result<bool, StoreError> {
        let Some(file) = store.open_file(&self.file)? else {
            return Ok(self.is_empty());
        };
        if self.inline {
            let bytes = read_index(&self.file, &file, &self.limits)?;
            let whole = Self::parse(self.file.clone(), bytes, self.limits)?;
            return Ok(self.begins(&whole));
        }
        let mut left = self.len() * ENTRY_BYTES;
        let mut entries = self.index.entries(self.len());
        let mut offset = 0;
        let mut read = Vec::new();
        while left > 0 {
            let wanted = left.min(PIECE_BYTES);
            read.resize(wanted, 0);
            let got = read_at(&file.file, &mut read, offset)
                .map_err(|source| io_error(&self.file, "cannot read it", source))?;
            let on_disk = read.as_chunks::<ENTRY_BYTES>().0;
            if got < wanted || !on_disk.iter().all(|entry| entries.next() == Some(entry)) {
                return Ok(false);
            }
            left -= wanted;
            offset += wanted as u64;
        }
        Ok(true)
    }
}
