//! Reading an entry through the descriptor that it was opened with, which
//! stays good when the entry is evicted.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use fingerpost_core::{CacherError, Content, EntryName};
use futures_util::future::BoxFuture;
use rustix::buffer::spare_capacity;

use super::Store;
use super::buffers::{Buffer, Buffers};
use crate::sealed::{Header, Opened, READ_BYTES, blocks_of, within};

/// An entry's last use is noted as often as this at most: it costs a write.
const USE_NOTED_EVERY_MICROS: i64 = 300_000_000;

impl Store {
    /// Opens an entry. A small one is read and checked at once, a big one
    /// while it is read.
    pub(super) fn open(
        self: &Arc<Self>,
        name: &EntryName,
    ) -> Result<Option<Arc<dyn Content>>, CacherError> {
        let path = self.room.layout.path(name);
        let Some(file) = super::room::if_there(File::open(path))? else {
            return Ok(None);
        };
        let file = Arc::new(file);
        let metadata = file.metadata()?;
        let opened = match open_file(&file, name, metadata.len()) {
            Err(error @ CacherError::Damaged(_)) => {
                self.room.take_out_damaged(name, &file);
                return Err(error);
            }
            opened => opened?,
        };
        let now = self.room.clock.now();
        if self.keeper.is_some()
            && super::layout::modified(&metadata) < now.minus_micros(USE_NOTED_EVERY_MICROS)
        {
            // A directory that cannot be written to can be read from.
            let _ = super::layout::set_modified(&file, now);
        }
        Ok(Some(match opened {
            Opened::Whole(data) => Arc::new(data),
            Opened::Begun(header) => Arc::new(BigEntry {
                store: Arc::clone(self),
                name: *name,
                file,
                header,
            }),
        }))
    }
}

/// An entry that is checked while it is read, and goes when it turns out to be
/// damaged.
struct BigEntry {
    store: Arc<Store>,
    name: EntryName,
    file: Arc<File>,
    header: Header,
}

impl BigEntry {
    async fn read_or_remove(&self, offset: u64, max: usize) -> Result<Bytes, CacherError> {
        let (store, file) = (Arc::clone(&self.store), Arc::clone(&self.file));
        let header = self.header;
        let read = move || {
            let range = header.one_read(offset, max);
            read_checked(&store.buffers, &file, &header, &range)
        };
        let result = self.store.reads.run(read).await;
        if let Err(CacherError::Damaged(_)) = result {
            let (store, name, file) = (Arc::clone(&self.store), self.name, Arc::clone(&self.file));
            let remove = move || {
                store.room.take_out_damaged(&name, &file);
                Ok(())
            };
            self.store.writes.run(remove).await?;
        }
        result
    }
}

impl Content for BigEntry {
    fn len(&self) -> u64 {
        self.header.len()
    }

    fn read(&self, offset: u64, max: usize) -> BoxFuture<'_, Result<Bytes, CacherError>> {
        Box::pin(self.read_or_remove(offset, max))
    }
}

fn open_file(file: &File, name: &EntryName, len: u64) -> Result<Opened, CacherError> {
    let first = pread(file, 0, Opened::first_len(len))?;
    Opened::new(name, first, len)
}

/// Reads a range of an entry's data, which [`Header::one_read`] bounds. A long
/// one gets a buffer; a client that takes its time shall not hold a big one for
/// a few bytes.
fn read_checked(
    buffers: &Arc<Buffers>,
    file: &File,
    header: &Header,
    range: &Range<u64>,
) -> Result<Bytes, CacherError> {
    let blocks = blocks_of(range);
    let data = if range.end - range.start > READ_BYTES as u64 / 2 {
        read_blocks(buffers.take(), file, header, blocks)?
    } else {
        let place = header.place(blocks.clone());
        let sealed = pread(file, place.start, (place.end - place.start) as usize)?;
        header.unseal(blocks, sealed)?
    };
    Ok(data.slice(within(range)))
}

/// Reads each block behind the one before, over its checksum, so that nothing
/// has to be moved; and checks it while the processor has it at hand.
fn read_blocks(
    mut buffer: Buffer,
    file: &File,
    header: &Header,
    blocks: Range<u64>,
) -> Result<Bytes, CacherError> {
    let mut len = 0;
    for block in blocks {
        let place = header.place(block..block + 1);
        let sealed = &mut buffer.bytes()[len..][..(place.end - place.start) as usize];
        match file.read_exact_at(sealed, place.start) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(CacherError::Damaged(format!("ends in block {block}")));
            }
            read => read?,
        }
        len += header.check(block, sealed)?.len();
    }
    Ok(buffer.freeze(len))
}

/// Reads up to `max` bytes, fewer only at the end, into memory that nobody
/// had to clear.
fn pread(file: &File, offset: u64, max: usize) -> std::io::Result<Bytes> {
    let mut buffer = Vec::with_capacity(max);
    while buffer.len() < max {
        let at = offset.saturating_add(buffer.len() as u64);
        match rustix::io::pread(file, spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(max);
    Ok(buffer.into())
}
