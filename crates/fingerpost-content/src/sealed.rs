//! Entries in a form that shows damage: how they lie on disks and in stores of
//! others. Any range can be read and checked without the rest; truncation,
//! changed bytes and the bytes of another entry are noticed.

mod format;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fingerpost_core::{CacherError, Content, EntryName};
use futures_util::future::BoxFuture;

pub use self::format::sealed_len;
pub(crate) use self::format::{BLOCK, Header, READ_BYTES, blocks_of, within};
use self::format::{HEADER, READ_BLOCKS, STRIDE};
use crate::reading::read_exact;

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
        let first = read_exact(&*sealed, 0, Opened::first_len(len)).await?;
        match Opened::new(name, first, len)? {
            Opened::Whole(data) => Ok(Arc::new(data)),
            Opened::Begun(header) => Ok(Arc::new(Self { sealed, header })),
        }
    }

    async fn read_checked(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let range = self.header.one_read(offset, max);
        let blocks = blocks_of(&range);
        let place = self.header.place(blocks.clone());
        let sealed = read_exact(
            &*self.sealed,
            place.start,
            (place.end - place.start) as usize,
        );
        let data = self.header.unseal(blocks, sealed.await?)?;
        Ok(data.slice(within(&range)))
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

/// What the first bytes of a sealed entry give.
pub(crate) enum Opened {
    /// All of a small entry, checked.
    Whole(Bytes),
    /// What the blocks of a longer one are checked by.
    Begun(Header),
}

impl Opened {
    /// What has to be read of `sealed` bytes to open them.
    pub(crate) fn first_len(sealed: u64) -> usize {
        match usize::try_from(sealed) {
            Ok(whole) if sealed <= sealed_len(BLOCK as u64) => whole,
            _ => HEADER,
        }
    }

    /// Opens the entry of this name, of whose `sealed` bytes
    /// [`Opened::first_len`] were read.
    ///
    /// # Errors
    ///
    /// [`CacherError::Damaged`] if this is not the sealed form of that entry.
    pub(crate) fn new(name: &EntryName, first: Bytes, sealed: u64) -> Result<Self, CacherError> {
        let header = Header::decode(&first, name, sealed)?;
        if first.len() != Self::first_len(sealed) {
            return Err(format::damaged("cut short"));
        }
        if first.len() as u64 == sealed {
            let blocks = blocks_of(&(0..header.len()));
            return Ok(Self::Whole(header.unseal(blocks, first.slice(HEADER..))?));
        }
        Ok(Self::Begun(header))
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
