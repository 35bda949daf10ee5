//! Opening revlogs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::index::{BadEntry, Index};
use super::node_map::NodeMap;
use super::{Data, Revlog, RevlogName, inline};
use crate::error::StoreError;
use crate::store::{Limits, Store, StoreFile, io_error, read_new};

/// The low half of the header: the version.
const VERSION: u32 = 1;
/// Header flag: the data of each revision follows its entry.
const INLINE: u32 = 1 << 16;
/// Header flag: the base field of an entry is the base of its delta.
const GENERAL_DELTA: u32 = 1 << 17;

/// So often a revlog is opened again that is replaced while it is opened.
const OPEN_TRIES: usize = 4;

impl Revlog {
    /// Opens a revlog. A file that does not exist, or cannot, is a revlog
    /// without revisions: [`Revlog::exists`] tells.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the header or an entry of the index, a limit
    /// that the index is over, or what the system said.
    pub fn open(store: &Store, name: RevlogName<'_>) -> Result<Self, StoreError> {
        let limits = *store.limits();
        let Some(file) = name.index_file(store) else {
            return Ok(Self::empty(name.to_string(), limits));
        };
        for _ in 0..OPEN_TRIES {
            if let Some(revlog) = Self::open_once(store, &file, name)? {
                return Ok(revlog);
            }
        }
        Err(StoreError::Changing { file })
    }

    /// Opens a revlog, unless its index is replaced meanwhile: the data may then
    /// be that of the other index.
    fn open_once(
        store: &Store,
        file: &str,
        name: RevlogName<'_>,
    ) -> Result<Option<Self>, StoreError> {
        let limits = *store.limits();
        let Some(index) = store.open_file(file)? else {
            return Ok(Some(Self::empty(file.to_owned(), limits)));
        };
        let bytes = read_index(file, &index, &limits)?;
        let mut revlog = Self::parse(file.to_owned(), bytes, limits)?;
        revlog.memory = Some(store.verified().clone());
        revlog.stamps = Some([index.stamp; 2]);
        if !revlog.inline && !revlog.is_empty() {
            let data = revlog.open_data(store, name)?;
            let now = store.stamp(file)?;
            if !now.is_some_and(|now| index.stamp.may_have_grown_to(&now)) {
                return Ok(None);
            }
            revlog.stamps = Some([index.stamp, data.stamp]);
            revlog.data = Data::File(data.file);
            revlog.open_node_map(store, name);
        }
        Ok(Some(revlog))
    }

    /// Reads a revlog from the bytes of its index and, if it is not inline, of
    /// its data. `file` is its name in errors.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the header or an entry of the index.
    pub fn from_bytes(
        file: &str,
        index: Vec<u8>,
        data: Vec<u8>,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let mut revlog = Self::parse(file.to_owned(), index, limits)?;
        if !revlog.inline {
            revlog.data = Data::Memory(data.into_boxed_slice());
        }
        Ok(revlog)
    }

    pub(super) fn empty(file: String, limits: Limits) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            file,
            inline: false,
            general_delta: false,
            index: Index::default(),
            index_bytes: 0,
            node_map: None,
            data: Data::Memory(Box::default()),
            stamps: None,
            limits,
            memory: None,
            verified: OnceLock::new(),
        }
    }

    pub(super) fn bad_entry(&self, bad: BadEntry) -> StoreError {
        let what = format!("the entry of revision {}: {}", bad.rev, bad.what);
        StoreError::Corrupt {
            file: self.file.clone(),
            what,
        }
    }

    pub(super) fn parse(file: String, bytes: Vec<u8>, limits: Limits) -> Result<Self, StoreError> {
        let mut revlog = Self::empty(file, limits);
        revlog.index_bytes = bytes.len() as u64;
        let Some(header) = bytes.first_chunk() else {
            return Ok(revlog);
        };
        let header = u32::from_be_bytes(*header);
        if header & !(INLINE | GENERAL_DELTA) != VERSION {
            let file = revlog.file;
            return Err(StoreError::UnsupportedFormat { file, header });
        }
        revlog.inline = header & INLINE != 0;
        revlog.general_delta = header & GENERAL_DELTA != 0;
        let entries = match revlog.inline {
            false => bytes,
            true => {
                let (entries, data) =
                    inline::take_apart(&bytes).map_err(|bad| revlog.bad_entry(bad))?;
                revlog.data = Data::Memory(data.into_boxed_slice());
                entries
            }
        };
        revlog.index = Index::default()
            .extended(entries)
            .map_err(|bad| revlog.bad_entry(bad))?;
        Ok(revlog)
    }

    /// Opens the nodemap if the repository keeps one.
    pub(super) fn open_node_map(&mut self, store: &Store, name: RevlogName<'_>) {
        let name = match name {
            RevlogName::Changelog => "00changelog",
            RevlogName::Manifest => "00manifest",
            RevlogName::Tree(_) | RevlogName::Filelog(_) => return,
        };
        if store.requirements().contains("persistent-nodemap") {
            self.node_map = NodeMap::open(store, name, self).map(Arc::new);
        }
    }

    /// Opens the data file, which must be as long as the index says: a writer
    /// appends the data first.
    pub(super) fn open_data(
        &self,
        store: &Store,
        name: RevlogName<'_>,
    ) -> Result<StoreFile, StoreError> {
        let file = name.data_file(store).unwrap_or_default();
        let Some(data) = store.open_file(&file)? else {
            return Err(StoreError::Missing { file });
        };
        let end = self.data_end();
        if data.stamp.size < end {
            let what = format!("it has {} bytes of {end}", data.stamp.size);
            return Err(StoreError::Corrupt { file, what });
        }
        Ok(data)
    }
}

/// Reads a whole index as it was when it was opened.
pub(super) fn read_index(
    file: &str,
    index: &StoreFile,
    limits: &Limits,
) -> Result<Vec<u8>, StoreError> {
    let len = check_index_len(file, index.stamp.size, limits)?;
    read_new(&index.file, len, 0).map_err(|source| io_error(file, "cannot read it", source))
}

/// The length of an index that is within the limit.
pub(super) fn check_index_len(
    file: &str,
    bytes: u64,
    limits: &Limits,
) -> Result<usize, StoreError> {
    let limit = limits.index_bytes_max;
    match usize::try_from(bytes) {
        Ok(len) if bytes <= limit => Ok(len),
        _ => Err(StoreError::TooLarge {
            file: file.to_owned(),
            what: "an index",
            bytes,
            limit,
        }),
    }
}
