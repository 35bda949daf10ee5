//! The store on disk, whether its entries are compressed or not.

use std::sync::Arc;

use fingerpost_core::{Cacher, CacherError, EntryName, SpoolOptions, Timestamp};

use super::Compressed;
use crate::{Disk, Found};

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

    /// [`Disk::list`] with the names that the store has. What lay there before
    /// entries were compressed is listed too, though the store does not give it.
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
        let mut found = self.disk.list(after, max).await?;
        for found in &mut found {
            found.name = self.turned(found.name);
        }
        Ok(found)
    }

    /// A name on disk out of one of the store, and the other way round.
    const fn turned(&self, name: EntryName) -> EntryName {
        match self.compressed {
            Some(_) => name.twin(),
            None => name,
        }
    }
}
