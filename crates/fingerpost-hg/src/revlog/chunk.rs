//! The stored form of a revision: a delta or a full text, perhaps compressed.

use std::fs::File;
use std::io::{self, Cursor};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe;

use super::entry::FLAGS_KNOWN;
use super::{Data, Rev, Revlog};
use crate::error::StoreError;
use crate::store::{io_error, read_at};

/// Buffers and decompressors for reading chunks, to be used again and again.
/// It holds at most the read-ahead and the largest chunk that it met.
#[derive(Default)]
pub struct Scratch {
    window: Window,
    inflated: Vec<u8>,
    inflate: Inflate,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// A piece of one data file.
#[derive(Default)]
struct Window {
    revlog: u64,
    start: u64,
    /// How many of the bytes are of the file.
    filled: usize,
    bytes: Vec<u8>,
}

/// The decompressors, made when they are first needed.
#[derive(Default)]
struct Inflate {
    zlib: Option<Decompress>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

/// How a chunk is packed, and what of it is the content.
enum Packed<'a> {
    Literal(&'a [u8]),
    Zlib(&'a [u8]),
    Zstd(&'a [u8]),
}

impl Revlog {
    /// The stored form of a revision, decompressed: the full text if
    /// [`Revlog::delta_base`] is `None`, otherwise a delta against that.
    ///
    /// # Errors
    ///
    /// Returns an error for a number that is not in the index, flags that are
    /// unknown, bytes that do not decompress, or a limit.
    pub fn chunk<'a>(&'a self, rev: Rev, scratch: &'a mut Scratch) -> Result<&'a [u8], StoreError> {
        let Scratch {
            window,
            inflated,
            inflate,
        } = scratch;
        match unpack(self.stored(rev, window)?) {
            Ok(Packed::Literal(bytes)) => Ok(bytes),
            Ok(packed) => {
                forget_large(inflated, 0);
                inflated.clear();
                self.inflate(rev, packed, inflate, inflated)?;
                Ok(inflated)
            }
            Err(what) => Err(self.corrupt(rev, what)),
        }
    }

    /// Appends what [`Revlog::chunk`] returns to `out`.
    pub(crate) fn append_chunk(
        &self,
        rev: Rev,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let Scratch {
            window, inflate, ..
        } = scratch;
        match unpack(self.stored(rev, window)?) {
            Ok(packed) => self.inflate(rev, packed, inflate, out),
            Err(what) => Err(self.corrupt(rev, what)),
        }
    }

    fn inflate(
        &self,
        rev: Rev,
        packed: Packed<'_>,
        inflate: &mut Inflate,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let (expected, limit) = self.inflated_len(rev);
        match packed {
            Packed::Literal(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Packed::Zlib(bytes) => inflate.zlib(bytes, expected, limit, out),
            Packed::Zstd(bytes) => inflate.zstd(bytes, limit, out),
        }
        .map_err(|bad| match bad {
            BadChunk::Broken(what) => self.corrupt(rev, what),
            BadChunk::TooLarge(_) if (limit as u64) < self.limits.chunk_bytes_max => {
                self.corrupt(rev, "its text is longer than the index says")
            }
            BadChunk::TooLarge(bytes) => StoreError::TooLarge {
                file: self.file.clone(),
                what: "a stored revision",
                bytes,
                limit: limit as u64,
            },
        })
    }

    /// How long the content of a chunk will be, roughly, and at most.
    fn inflated_len(&self, rev: Rev) -> (usize, usize) {
        let max = usize::try_from(self.limits.chunk_bytes_max).unwrap_or(usize::MAX);
        let guess = (self.stored_len(rev) as usize).saturating_mul(4);
        match (self.delta_base(rev), self.text_len(rev)) {
            (None, Some(len)) => (len as usize, max.min(len as usize)),
            _ => (guess, max),
        }
    }

    /// The bytes of a revision as they are in the file.
    fn stored<'a>(&'a self, rev: Rev, window: &'a mut Window) -> Result<&'a [u8], StoreError> {
        self.check_readable(rev)?;
        let offset = self.index.entry(rev).offset(rev.index());
        let len = self.stored_len(rev) as usize;
        match &self.data {
            Data::Memory(data) => {
                let rest = usize::try_from(offset).ok().and_then(|at| data.get(at..));
                rest.and_then(|rest| rest.get(..len))
                    .ok_or_else(|| self.corrupt(rev, "its data is beyond the end"))
            }
            Data::File(file) => {
                let ahead = self.limits.read_ahead_bytes;
                let read = window.read(self.id, file, offset, len, ahead);
                read.map_err(|source| io_error(&self.file, "cannot read its data", source))?
                    .ok_or_else(|| self.corrupt(rev, "its data is beyond the end of the file"))
            }
        }
    }

    fn check_readable(&self, rev: Rev) -> Result<(), StoreError> {
        let flags = self.flags(rev);
        let file = || self.file.clone();
        if self.checked(rev.0).is_none() {
            let what = format!("there is no revision {rev}");
            return Err(StoreError::Corrupt { file: file(), what });
        }
        if flags & !FLAGS_KNOWN != 0 {
            return Err(StoreError::UnknownFlags {
                file: file(),
                rev,
                flags,
            });
        }
        let (bytes, limit) = (u64::from(self.stored_len(rev)), self.limits.chunk_bytes_max);
        if bytes > limit {
            let what = "a stored revision";
            return Err(StoreError::TooLarge {
                file: file(),
                what,
                bytes,
                limit,
            });
        }
        Ok(())
    }

    pub(crate) fn corrupt(&self, rev: Rev, what: &str) -> StoreError {
        StoreError::CorruptRevision {
            file: self.file.clone(),
            rev,
            node: self.node(rev),
            what: what.to_owned(),
        }
    }
}

/// What is in a chunk, by its first byte.
fn unpack(bytes: &[u8]) -> Result<Packed<'_>, &'static str> {
    match bytes.split_first() {
        None | Some((0, _)) => Ok(Packed::Literal(bytes)),
        Some((b'u', rest)) => Ok(Packed::Literal(rest)),
        Some((b'x', _)) => Ok(Packed::Zlib(bytes)),
        Some((b'(', _)) => Ok(Packed::Zstd(bytes)),
        Some(_) => Err("its data is packed in an unknown way"),
    }
}

/// Why a chunk has no content.
enum BadChunk {
    Broken(&'static str),
    TooLarge(u64),
}

impl Inflate {
    /// Appends the content of a zlib stream, which is at most `limit` bytes.
    fn zlib(
        &mut self,
        bytes: &[u8],
        expected: usize,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), BadChunk> {
        let broken = BadChunk::Broken("its zlib stream is broken");
        let zlib = self.zlib.get_or_insert_with(|| Decompress::new(true));
        zlib.reset(true);
        let start = out.len();
        let mut room = expected.clamp(64, limit.max(64));
        loop {
            // One byte over the limit shows that there is more.
            let room_max = (limit + 1).saturating_sub(out.len() - start);
            reserve(out, room.min(room_max))?;
            let rest = bytes.get(zlib.total_in() as usize..).unwrap_or_default();
            let (read, written) = (zlib.total_in(), out.len());
            let Ok(status) = zlib.decompress_vec(rest, out, FlushDecompress::Finish) else {
                return Err(broken);
            };
            if out.len() - start > limit {
                return Err(BadChunk::TooLarge((out.len() - start) as u64));
            }
            match status {
                Status::StreamEnd if zlib.total_in() == bytes.len() as u64 => return Ok(()),
                Status::StreamEnd => return Err(BadChunk::Broken("bytes follow its zlib stream")),
                _ if (read, written) == (zlib.total_in(), out.len())
                    && out.capacity() > out.len() =>
                {
                    return Err(broken);
                }
                _ => room = room.saturating_mul(2),
            }
        }
    }

    /// Appends the content of a zstd frame, which is at most `limit` bytes.
    fn zstd(&mut self, bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), BadChunk> {
        let broken = |_| BadChunk::Broken("its zstd frame is broken");
        let len = zstd_safe::get_frame_content_size(bytes)
            .map_err(|_| BadChunk::Broken("its zstd frame is broken"))?;
        let room = match len {
            Some(len) => usize::try_from(len).unwrap_or(usize::MAX),
            // Mercurial does not record the length of texts over a megabyte;
            // the headers of the frame's blocks bound it.
            None => {
                let bound = zstd_safe::decompress_bound(bytes).map_err(broken)?;
                limit.min(usize::try_from(bound).unwrap_or(usize::MAX))
            }
        };
        if room > limit {
            return Err(BadChunk::TooLarge(room as u64));
        }
        let start = out.len();
        reserve(out, room)?;
        let no_memory = |_| BadChunk::Broken("there is no memory for zstd");
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(no_memory)?),
        };
        let mut cursor = Cursor::new(&mut *out);
        cursor.set_position(start as u64);
        match zstd.decompress_to_buffer(bytes, &mut cursor) {
            Err(_) => Err(BadChunk::Broken("its zstd frame is broken")),
            Ok(_) if out.len() - start > limit => {
                Err(BadChunk::TooLarge((out.len() - start) as u64))
            }
            Ok(_) => Ok(()),
        }
    }
}

/// Makes room for exactly so many more bytes.
fn reserve(out: &mut Vec<u8>, room: usize) -> Result<(), BadChunk> {
    out.try_reserve(room)
        .map_err(|_| BadChunk::TooLarge(room as u64))
}

impl Window {
    /// Bytes of a file; `None` if it ends before. What lies directly after the
    /// last bytes is read ahead, twice as much each time.
    fn read(
        &mut self,
        revlog: u64,
        file: &File,
        offset: u64,
        len: usize,
        ahead_max: usize,
    ) -> io::Result<Option<&[u8]>> {
        let end = self.start + self.filled as u64;
        let same = self.revlog == revlog && self.filled > 0;
        let inside = same && self.start <= offset && offset + len as u64 <= end;
        if !inside && len > 0 {
            let follows = same && self.start <= offset && offset <= end;
            let ahead = match follows {
                true => self.filled.saturating_mul(2),
                false => READ_BYTES_MIN,
            };
            self.fill(file, offset, len.max(ahead.min(ahead_max)))?;
            self.revlog = revlog;
        }
        let filled = &self.bytes[..self.filled];
        let from = offset.checked_sub(self.start).map(|at| at as usize);
        Ok(match len {
            0 => Some(&[]),
            _ => from.and_then(|from| filled.get(from..from + len)),
        })
    }

    fn fill(&mut self, file: &File, offset: u64, len: usize) -> io::Result<()> {
        forget_large(&mut self.bytes, len);
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        // An error leaves nothing that looks like bytes of the file.
        (self.start, self.filled) = (offset, 0);
        self.filled = read_at(file, &mut self.bytes[..len], offset)?;
        Ok(())
    }
}

/// Gives a buffer back that is much larger than what is needed now, so that
/// one large revision does not stay in memory for as long as its reader.
pub(crate) fn forget_large(buffer: &mut Vec<u8>, needed: usize) {
    if buffer.capacity() > needed.saturating_mul(2).max(BUFFER_BYTES_KEPT) {
        *buffer = Vec::new();
    }
}

/// Buffers of so many bytes are always kept.
const BUFFER_BYTES_KEPT: usize = 4 << 20;
/// How much is read of a file in which nothing was read before, in bytes.
const READ_BYTES_MIN: usize = 16 << 10;
