//! The bytes of an entry of a compressed store.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | `fpblocks` |
//! | 8..12 | version, 1 |
//! | 12..16 | plain bytes in a block, 1,048,576; 0: the entry is raw |
//! | 16..24 | plain bytes of the entry |
//! | 24..32 | xxh3-64 of the 24 bytes before |
//! | 32.. | a raw entry as it is, or blocks, each a zstd frame with a checksum |
//! | behind | with two blocks and more: the bytes of each in 4 bytes, and xxh3-64 of that |
//!
//! Numbers are little-endian. Every block but the last is full.

use std::ops::Range;

use bytes::Bytes;
use fingerpost_core::{CacherError, Content};
use twox_hash::XxHash3_64;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, compress_bound, get_error_name};

use crate::reading::read_exact;

/// Plain bytes of a block.
pub(super) const BLOCK: usize = 1 << 20;
const BLOCK_LOG: u32 = BLOCK.ilog2();
/// The fastest that is no special mode; the next ones save little.
const LEVEL: i32 = 1;
/// Bytes before the blocks.
pub(super) const HEADER: usize = 32;
/// Plain bytes of the longest entry, 1 TiB: its index takes 4 MiB.
pub(super) const LEN_MAX: u64 = 1 << 40;

const MAGIC: &[u8; 8] = b"fpblocks";
const VERSION: u32 = 1;
/// Bytes of a block's length in the index.
const ITEM: usize = 4;
const SUM: usize = 8;

/// How an entry is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Raw,
    /// In blocks.
    Blocks,
}

/// What an entry begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) form: Form,
    /// Plain bytes.
    pub(super) len: u64,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER] {
        let block = match self.form {
            Form::Raw => 0,
            Form::Blocks => BLOCK as u32,
        };
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&block.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.len.to_le_bytes());
        let sum = XxHash3_64::oneshot(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// # Errors
    ///
    /// [`CacherError::Damaged`] unless it is a header, and one that entries of
    /// `stored` bytes may have.
    fn decode(bytes: &[u8], stored: u64) -> Result<Self, CacherError> {
        let len = bytes.get(16..24).map(le_u64);
        let len = len.ok_or_else(|| damaged("shorter than a header"))?;
        let is_header = |header: &Self| header.encode() == *bytes;
        let headers = [Form::Raw, Form::Blocks].map(|form| Self { form, len });
        let header = headers.into_iter().find(is_header);
        let header = header.ok_or_else(|| damaged("not the header of a compressed entry"))?;
        let behind = stored - HEADER as u64;
        let fits = match header.form {
            Form::Raw => behind == len,
            // A frame has some bytes.
            Form::Blocks => {
                (1..=LEN_MAX).contains(&len) && behind > index_len(len) as u64 + blocks(len)
            }
        };
        match fits {
            true => Ok(header),
            false => Err(damaged("cut short or too long")),
        }
    }
}

/// Where everything is in an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// It is behind the header.
    Raw { len: u64 },
    /// In blocks, each from one of these places to the next.
    Blocks { len: u64, borders: Vec<u64> },
}

impl Layout {
    /// Reads and checks the header, and the index if there is one.
    ///
    /// # Errors
    ///
    /// [`CacherError::Damaged`] if this is no entry of this format; the errors
    /// of reading.
    pub(super) async fn read(stored: &dyn Content) -> Result<Self, CacherError> {
        let stored_len = stored.len();
        if stored_len < HEADER as u64 {
            return Err(damaged("shorter than a header"));
        }
        let header = read_exact(stored, 0, HEADER).await?;
        let Header { form, len } = Header::decode(&header, stored_len)?;
        if form == Form::Raw {
            return Ok(Self::Raw { len });
        }
        let index_at = stored_len - index_len(len) as u64;
        let index = read_exact(stored, index_at, index_len(len)).await?;
        let borders = borders(&index, index_at)?;
        Ok(Self::Blocks { len, borders })
    }

    pub(super) const fn len(&self) -> u64 {
        match self {
            Self::Raw { len } | Self::Blocks { len, .. } => *len,
        }
    }
}

/// Plain bytes of the block that begins at a place of an entry.
pub(super) fn block_len(len: u64, start: u64) -> usize {
    (BLOCK as u64).min(len.saturating_sub(start)) as usize
}

fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK as u64)
}

/// Bytes of the index of an entry of `len` plain bytes, [`LEN_MAX`] at most.
fn index_len(len: u64) -> usize {
    match blocks(len) {
        0..=1 => 0,
        blocks => blocks as usize * ITEM + SUM,
    }
}

/// What stands behind blocks of these lengths.
pub(super) fn encode_index(lengths: &[u32]) -> Vec<u8> {
    let mut index = Vec::new();
    if lengths.len() > 1 {
        index.extend(lengths.iter().flat_map(|len| len.to_le_bytes()));
        index.extend(XxHash3_64::oneshot(&index).to_le_bytes());
    }
    index
}

/// Where blocks begin, and where the last one ends, which has to be `index_at`.
fn borders(index: &[u8], index_at: u64) -> Result<Vec<u64>, CacherError> {
    let lengths = match index.split_last_chunk::<SUM>() {
        None => return checked(vec![HEADER as u64, index_at], index_at),
        Some((lengths, sum)) if XxHash3_64::oneshot(lengths).to_le_bytes() == *sum => lengths,
        Some(_) => return Err(damaged("the index has another checksum")),
    };
    let mut end = HEADER as u64;
    let lengths = lengths.chunks_exact(ITEM).map(|item| {
        let mut len = [0; ITEM];
        len.copy_from_slice(item);
        end += u64::from(u32::from_le_bytes(len));
        end
    });
    checked(
        [HEADER as u64].into_iter().chain(lengths).collect(),
        index_at,
    )
}

/// Blocks of possible lengths that take up all the room there is.
fn checked(borders: Vec<u64>, end: u64) -> Result<Vec<u64>, CacherError> {
    let range = 1..=compress_bound(BLOCK) as u64;
    let possible = borders
        .windows(2)
        .all(|pair| range.contains(&(pair[1] - pair[0])));
    match possible && borders.last() == Some(&end) {
        true => Ok(borders),
        false => Err(damaged("the blocks do not fill the entry")),
    }
}

/// A block's place in the entry.
pub(super) fn place(borders: &[u64], block: u64) -> Option<Range<u64>> {
    let block = usize::try_from(block).ok()?;
    Some(*borders.get(block)?..*borders.get(block + 1)?)
}

/// A block of these bytes. Takes some milliseconds.
pub(super) fn compress(plain: &[u8]) -> Result<Vec<u8>, CacherError> {
    let mut context = CCtx::try_create().ok_or_else(no_memory)?;
    for parameter in [
        CParameter::CompressionLevel(LEVEL),
        CParameter::ChecksumFlag(true),
    ] {
        context.set_parameter(parameter).map_err(refused)?;
    }
    let mut block = Vec::with_capacity(compress_bound(plain.len()));
    context.compress2(&mut block, plain).map_err(refused)?;
    Ok(block)
}

/// The `len` plain bytes of a block.
///
/// # Errors
///
/// [`CacherError::Damaged`] if it has others.
pub(super) fn decompress(block: &[u8], len: usize) -> Result<Bytes, CacherError> {
    let mut context = DCtx::try_create().ok_or_else(no_memory)?;
    let window = DParameter::WindowLogMax(BLOCK_LOG);
    context.set_parameter(window).map_err(refused)?;
    // It writes no further than this.
    let mut plain = Vec::with_capacity(len);
    let read = context.decompress(&mut plain, block);
    read.map_err(|code| damaged(get_error_name(code)))?;
    match plain.len() == len {
        true => Ok(plain.into()),
        false => Err(damaged("a block has another length")),
    }
}

fn le_u64(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(bytes);
    u64::from_le_bytes(number)
}

fn damaged(what: &str) -> CacherError {
    CacherError::Damaged(what.to_owned())
}

fn refused(code: usize) -> CacherError {
    CacherError::Other(format!("zstd: {}", get_error_name(code)))
}

fn no_memory() -> CacherError {
    CacherError::Other("zstd: no memory".to_owned())
}
