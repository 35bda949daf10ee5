//! How much of a store is held in memory at a time.

/// Limits for reading a store. What goes over one is refused with
/// [`crate::StoreError::TooLarge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest text of a revision, in bytes. Default: 1 GiB.
    pub text_bytes_max: u64,
    /// The longest stored piece of a revision once it is decompressed, in
    /// bytes; a delta may be a little longer than the text that it makes.
    /// Default: 1 GiB and 64 MiB.
    pub chunk_bytes_max: u64,
    /// The largest index, and the largest inline revlog with its data, in
    /// bytes. Default: 512 MiB, which is 8 million revisions.
    pub index_bytes_max: u64,
    /// How many bytes of decompressed deltas are collected before they are
    /// applied. Default: 1 MiB.
    pub delta_bytes_batch: usize,
    /// How much is read ahead of a file at once, in bytes, when its revisions
    /// are read in order. Default: 128 KiB.
    pub read_ahead_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes_max: 1 << 30,
            chunk_bytes_max: (1 << 30) + (64 << 20),
            index_bytes_max: 512 << 20,
            delta_bytes_batch: 1 << 20,
            read_ahead_bytes: 128 << 10,
        }
    }
}
