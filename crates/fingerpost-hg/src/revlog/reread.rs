//! Comparing an index in memory with the file it came from.

use super::{Revlog, read_index};
use crate::error::StoreError;
use crate::store::{Store, io_error, read_at};

/// How much of a file is compared at once.
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
        let mut read = Vec::new();
        let mut offset = 0;
        for entries in self.index.entries_from(0) {
            for piece in entries.chunks(PIECE_BYTES) {
                read.clear();
                read_at(&file.file, &mut read, piece.len(), offset)
                    .map_err(|source| io_error(&self.file, "cannot read it", source))?;
                if read != piece {
                    return Ok(false);
                }
                offset += piece.len() as u64;
            }
        }
        Ok(true)
    }
}
