//! What is put into the store behind.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fingerpost_core::{CacherError, Content, Spool, SpoolOptions};
use futures_util::future::BoxFuture;

use super::format::{Form, HEADER, Header, compress, encode_index};

/// An entry that is being compressed. All of it blocks.
pub(super) struct Shrinking {
    spool: Spool,
    lengths: Vec<u32>,
    taken: u64,
}

impl Shrinking {
    /// Begins with the first block of an entry of `len` plain bytes; gives it
    /// back if it does not get a tenth smaller.
    pub(super) fn begin(
        options: SpoolOptions,
        len: u64,
        first: Bytes,
    ) -> Result<Result<Self, Bytes>, CacherError> {
        let block = compress(&first)?;
        if block.len() > first.len() - first.len().div_ceil(10) {
            return Ok(Err(first));
        }
        let form = Form::Blocks;
        // What is limited is the plain length, of which this is a little more
        // at worst.
        let mut spool = Spool::new(SpoolOptions {
            bytes_max: u64::MAX,
            ..options
        });
        write(&mut spool, &Header { form, len }.encode())?;
        let shrinking = Self {
            spool,
            lengths: Vec::new(),
            taken: 0,
        };
        shrinking.put(&block, first.len()).map(Ok)
    }

    /// Plain bytes so far.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes in the next block.
    pub(super) fn add(self, plain: &Bytes) -> Result<Self, CacherError> {
        self.put(&compress(plain)?, plain.len())
    }

    fn put(mut self, block: &[u8], plain_len: usize) -> Result<Self, CacherError> {
        write(&mut self.spool, block)?;
        // A MiB and a little is the most that a block has.
        self.lengths.push(block.len() as u32);
        self.taken += plain_len as u64;
        Ok(self)
    }

    /// The whole compressed entry.
    pub(super) fn finish(mut self) -> Result<Arc<dyn Content>, CacherError> {
        write(&mut self.spool, &encode_index(&self.lengths))?;
        Ok(self.spool.content())
    }
}

/// The store behind is not to blame for want of room on the way there.
fn write(spool: &mut Spool, bytes: &[u8]) -> Result<(), CacherError> {
    spool.write(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => CacherError::Full,
        _ => error.into(),
    })
}

/// A compressed entry on its way into the store behind.
pub(super) struct Shrunk {
    stored: Arc<dyn Content>,
    plain: Arc<dyn Content>,
}

impl Shrunk {
    pub(super) const fn new(stored: Arc<dyn Content>, plain: Arc<dyn Content>) -> Self {
        Self { stored, plain }
    }
}

impl Content for Shrunk {
    fn len(&self) -> u64 {
        self.stored.len()
    }

    /// Whoever watches a store goes by how the plain bytes are read, and would
    /// take this one, which has read them all, for one that hangs. So they are
    /// read behind their end, which gives nothing and says that it goes on.
    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(async move {
            self.plain.read(self.plain.len(), 1).await?;
            self.stored.read(offset, max).await
        })
    }
}

/// A header and an entry as it is, of which the first bytes were read before.
pub(super) struct Raw {
    header: Bytes,
    first: Bytes,
    content: Arc<dyn Content>,
}

impl Raw {
    pub(super) fn new(first: Bytes, content: Arc<dyn Content>) -> Self {
        let (form, len) = (Form::Raw, content.len());
        let header = Bytes::copy_from_slice(&Header { form, len }.encode());
        Self {
            header,
            first,
            content,
        }
    }
}

impl Content for Raw {
    fn len(&self) -> u64 {
        self.content.len().saturating_add(HEADER as u64)
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        match offset.checked_sub(HEADER as u64) {
            None => self.header.read(offset, max),
            Some(offset) if offset < self.first.len() as u64 => self.first.read(offset, max),
            Some(offset) => self.content.read(offset, max),
        }
    }
}
