//! Following a revlog's file as it changes.

use super::entry::ENTRY_BYTES;
use super::open::{check_index_len, read_index};
use super::{Data, Revlog, RevlogName};
use crate::error::StoreError;
use crate::store::{Store, io_error, read_new};

/// What became of a revlog's file.
#[derive(Debug)]
pub enum Refreshed {
    /// It is the same.
    Unchanged,
    /// Revisions were appended; those before are the same.
    Grown(Revlog),
    /// It was stripped, rewritten, or otherwise changed: nothing that was
    /// remembered of it holds.
    Replaced(Revlog),
}

impl Revlog {
    /// Looks whether the file that this was read from has changed. `name` is
    /// the one that it was opened by.
    ///
    /// It has grown if it is the same file, longer, and its last revision's
    /// entry is still the same.
    ///
    /// # Errors
    ///
    /// As [`Revlog::open`].
    pub fn refresh(&self, store: &Store, name: RevlogName<'_>) -> Result<Refreshed, StoreError> {
        let now = match store.stamp(&self.file)? {
            None if !self.exists() => return Ok(Refreshed::Unchanged),
            now => now,
        };
        let before = self.stamps.map(|[index, _]| index);
        if now == before && self.data_is_same(store, name)? {
            return Ok(Refreshed::Unchanged);
        }
        let grown = match (before, now) {
            (Some(before), Some(now)) => before.may_have_grown_to(&now) && before != now,
            _ => false,
        };
        if grown && let Some(grown) = self.grown(store, name)? {
            return Ok(Refreshed::Grown(grown));
        }
        Self::open(store, name).map(Refreshed::Replaced)
    }

    /// Whether the data file is as it was; an inline revlog has none. Data
    /// that was only appended is of revisions that the index does not have yet.
    pub(crate) fn data_is_same(
        &self,
        store: &Store,
        name: RevlogName<'_>,
    ) -> Result<bool, StoreError> {
        let (Data::File(_), Some([_, before])) = (&self.data, self.stamps) else {
            return Ok(true);
        };
        let now = store.stamp(&name.data_file(store).unwrap_or_default())?;
        Ok(now.is_some_and(|now| {
            now == before || before.size < now.size && before.may_have_grown_to(&now)
        }))
    }

    /// This revlog with what was appended to its file, unless it is not only
    /// longer.
    fn grown(&self, store: &Store, name: RevlogName<'_>) -> Result<Option<Self>, StoreError> {
        let Some(file) = store.open_file(&self.file)? else {
            return Ok(None);
        };
        let Some([before, data_before]) = self.stamps else {
            return Ok(None);
        };
        let Some(last) = self.tip().filter(|_| before.may_have_grown_to(&file.stamp)) else {
            return Ok(None);
        };
        if self.inline {
            let bytes = read_index(&self.file, &file, &self.limits)?;
            let mut whole = Self::parse(self.file.clone(), bytes, self.limits)?;
            whole.stamps = Some([file.stamp; 2]);
            whole.memory.clone_from(&self.memory);
            return Ok((whole.inline && self.begins(&whole)).then_some(whole));
        }
        let start = last.index() * ENTRY_BYTES;
        let len = usize::try_from(file.stamp.size)
            .unwrap_or(usize::MAX)
            .saturating_sub(start);
        check_index_len(&self.file, file.stamp.size, &self.limits)?;
        let mut entries = read_new(&file.file, len, start as u64)
            .map_err(|source| io_error(&self.file, "cannot read it", source))?;
        if !entries.starts_with(self.index.entry(last).0) {
            return Ok(None);
        }
        entries.drain(..ENTRY_BYTES);
        let mut grown = Self::empty(self.file.clone(), self.limits);
        grown.index_bytes = file.stamp.size;
        grown.general_delta = self.general_delta;
        grown.memory.clone_from(&self.memory);
        grown.index = self
            .index
            .extended(entries)
            .map_err(|bad| self.bad_entry(bad))?;
        let data = grown.open_data(store, name)?;
        if !data_before.may_have_grown_to(&data.stamp) {
            return Ok(None);
        }
        grown.stamps = Some([file.stamp, data.stamp]);
        grown.data = Data::File(data.file);
        grown.open_node_map(store, name);
        Ok(Some(grown))
    }

    /// Whether another revlog begins with all revisions of this one.
    pub(super) fn begins(&self, other: &Self) -> bool {
        let same = |rev| self.index.entry(rev).0 == other.index.entry(rev).0;
        self.general_delta == other.general_delta
            && self.len() <= other.len()
            && self.revs().all(same)
    }
}
