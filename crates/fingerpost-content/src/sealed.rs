//! Entries in a form that shows damage: how they lie on disks and in stores of
//! others. Any range can be read and checked without the rest; truncation,
//! changed bytes and the bytes of another entry are noticed.

mod format;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fingerpost_core::{CacherError, Content, EntryName};
use futures_util::future::BoxFuture;

pub(crate) use self::format::BLOCK;
pub use self::format::sealed_len;
use self::format::{HEADER, Header, STRIDE};
use crate::reading::read_exact;

/// Blocks that one read takes in, so that a reader has a bounded buffer: 1 MiB.
const READ_BLOCKS: u64 = 16;

/// The bytes of an entry out of its sealed form, checked whenever they are
/// read. One read fetches the blocks that cover it at once, up to 1 MiB.
#[derive(Debug)]
pub struct Sealed {
    sealed: Arc<dyn Content>,
    header: Header,
}

impl Sealed {
    /// Opens the entry of this name. One of 64 KiB and less is read and
    /// checked here as a whole; of a longer one only the header.
    ///
    /// # Errors
    ///
    /// [`CacherError::Damaged`] if this is not the sealed form of that entry;
    /// the errors of `sealed`.
    pub async fn open(
        name: &EntryName,
        sealed: Arc<dyn Content>,
    ) -> Result<Arc<dyn Content>, CacherError> {
        let len = sealed.len();
        let first = Self::first_len(len);
        let first = read_exact(&*sealed, 0, first).await?;
        Self::open_with(name, first, || sealed)
    }

    /// What has to be read of `sealed` bytes to open them.
    pub(crate) fn first_len(sealed: u64) -> usize {
        match usize::try_from(sealed) {
            Ok(whole) if sealed <= sealed_len(BLOCK as u64) => whole,
            _ => HEADER,
        }
    }

    /// Opens an entry of which [`Sealed::first_len`] bytes were read.
    pub(crate) fn open_with(
        name: &EntryName,
        first: Bytes,
        sealed: impl FnOnce() -> Arc<dyn Content>,
    ) -> Result<Arc<dyn Content>, CacherError> {
        if first.len() != HEADER {
            let header = Header::decode(&first, name, first.len() as u64)?;
            return Ok(Arc::new(header.unseal(0, first.slice(HEADER..))?));
        }
        let sealed = sealed();
        let header = Header::decode(&first, name, sealed.len())?;
        if header.len() == 0 {
            return Ok(Arc::new(Bytes::new()));
        }
        Ok(Arc::new(Self { sealed, header }))
    }

    async fn read_checked(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let len = self.header.len();
        if offset >= len {
            return Ok(Bytes::new());
        }
        let block = BLOCK as u64;
        let first = offset / block;
        let end = offset.saturating_add(max as u64).min(len);
        let behind = end.div_ceil(block).min(first + READ_BLOCKS);
        let place = self.header.place(first..behind);
        let sealed = read_exact(
            &*self.sealed,
            place.start,
            (place.end - place.start) as usize,
        );
        let data = self.header.unseal(first, sealed.await?)?;
        let skip = (offset - first * block) as usize;
        let end = (end - first * block).min(data.len() as u64) as usize;
        Ok(data.slice(skip..end))
    }
}

impl Content for Sealed {
    fn len(&self) -> u64 {
        self.header.len()
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(self.read_checked(offset, max))
    }
}

/// The sealed form of an entry, made while it is read: what is written to a
/// disk or sent to a store. Any place can be read again, as for a second try.
#[derive(Debug)]
pub struct Sealing {
    content: Arc<dyn Content>,
    header: Header,
}

impl Sealing {
    /// Seals `content` as the entry of this name.
    pub fn new(name: &EntryName, content: Arc<dyn Content>) -> Self {
        let header = Header::new(name, content.len());
        Self { content, header }
    }

    async fn read_sealed(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let len = self.len();
        if offset >= len {
            return Ok(Bytes::new());
        }
        let (blocks, end) = self.cover(offset, offset.saturating_add(max as u64).min(len));
        let block = BLOCK as u64;
        let data = blocks.start * block..(blocks.end * block).min(self.header.len());
        let data = read_exact(&*self.content, data.start, (data.end - data.start) as usize).await?;
        let mut place = self.header.place(blocks.clone());
        let header = self.header.encode();
        let mut sealed = BytesMut::with_capacity(HEADER + (place.end - place.start) as usize);
        if offset < HEADER as u64 {
            sealed.extend_from_slice(&header);
            place.start = 0;
        }
        self.header.seal(blocks.start, &data, &mut sealed);
        let range = (offset - place.start) as usize..(end - place.start) as usize;
        Ok(sealed.freeze().slice(range))
    }

    /// The blocks that sealed bytes lie in, and where to stop: between blocks
    /// if that is possible, so that reading on checks no block a second time.
    fn cover(&self, offset: u64, end: u64) -> (std::ops::Range<u64>, u64) {
        let header = HEADER as u64;
        if end <= header {
            return (0..0, end);
        }
        let first = offset.saturating_sub(header) / STRIDE;
        let behind = (end - header).div_ceil(STRIDE).min(first + READ_BLOCKS);
        let place = self.header.place(first..behind);
        if end >= place.end {
            return (first..behind, place.end);
        }
        let border = self.header.place(first..behind - 1).end;
        if border > offset {
            return (first..behind - 1, border);
        }
        (first..behind, end)
    }
}

impl Content for Sealing {
    fn len(&self) -> u64 {
        sealed_len(self.header.len())
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(self.read_sealed(offset, max))
    }
}

#[cfg(test)]
mod tests;
