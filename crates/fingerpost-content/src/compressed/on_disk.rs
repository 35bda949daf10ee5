//! The store on disk, whether its entries are compressed or not.

use std::sync::Arc;

use fingerpost_core::{Cacher, CacherError, EntryName, SpoolOptions, Timestamp};

use super::Compressed;
use crate::{Disk, Found, Removal};

/// A store on disk, and how it is gone through: as it is, or compressed. All
/// who use the same directory for the same entries go through this one, else
/// one would not find what the other has.
#[derive(Clone, Debug)]
pub struct OnDisk {
    disk: Arc<Disk>,
    compressed: Option<Arc<Compressed>>,
}

impl OnDisk {
    /// Entries as they are.
    pub const fn plain(disk: Arc<Disk>) -> Self {
        let compressed = None;
        Self { disk, compressed }
    }

    /// Entries in [`Compressed`].
    pub fn compressed(disk: Arc<Disk>, spool: SpoolOptions) -> Self {
        let compressed = Compressed::new(Arc::clone(&disk) as _, spool);
        Self {
            disk,
            compressed: Some(Arc::new(compressed)),
        }
    }

    /// What entries are found in, stored in and removed from.
    pub fn store(&self) -> Arc<dyn Cacher> {
        match &self.compressed {
            Some(compressed) => Arc::clone(compressed) as _,
            None => Arc::clone(&self.disk) as _,
        }
    }

    /// [`Disk::pin`] of the entry that the store has under this name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn pin(&self, name: &EntryName, until: Timestamp) -> Result<bool, CacherError> {
        self.disk.pin(&self.turned(*name), until).await
    }

    /// [`Disk::find`] of the entry that the store has under this name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn find(&self, name: &EntryName) -> Result<Option<Found>, CacherError> {
        let found = self.disk.find(&self.turned(*name)).await?;
        Ok(found.map(|found| self.renamed(found)))
    }

    /// [`Disk::remove_unpinned`] of the entry that the store has under this name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn remove_unpinned(&self, name: &EntryName) -> Result<Removal, CacherError> {
        self.disk.remove_unpinned(&self.turned(*name)).await
    }

    /// [`Disk::list`] with the names that the store has. What lay there before
    /// entries were compressed is listed too, though the store does not give it.
    /// The order is that on disk: of two names that differ in their last bit
    /// alone, either may be the first.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn list(
        &self,
        after: Option<EntryName>,
        max: usize,
    ) -> Result<Vec<Found>, CacherError> {
        let after = after.map(|name| self.turned(name));
        let listed = self.disk.list(after, max).await?;
        let renamed = listed.into_iter().map(|found| self.renamed(found));
        Ok(renamed.collect())
    }

    const fn renamed(&self, mut found: Found) -> Found {
        found.name = self.turned(found.name);
        found
    }

    /// A name on disk out of one of the store, and the other way round.
    const fn turned(&self, name: EntryName) -> EntryName {
        match self.compressed {
            Some(_) => name.twin(),
            None => name,
        }
    }
}
