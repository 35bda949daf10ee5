//! The bytes of a dump. Numbers are big-endian.
//!
//! | what | bytes |
//! | --- | --- |
//! | magic `fplookup`, version | 8 + 4 |
//! | when it was written, microseconds since 1970 | 8 |
//! | the history of the database | 16 |
//! | number of namespaces; for each its number, position, epoch, and how many it falls back to with their numbers | 1; 4 + 8 + 8 + 1 + 4 each |
//! | number of methods; for each its number, and its name with the length in front | 4; 4 + 1 + name |
//! | the entries: place of the namespace above, with bit 7 set if the unihash is the taskhash; place of the method above; the hour (since 1970, its lower 16 bits) when it was looked up; taskhash; unihash unless bit 7 is set | 1 + 2 + 2 + 32 + 32 each |
//! | number of entries | 8 |
//! | SHA-256 of everything before | 32 |

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use fingerpost_core::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Unusable;
use crate::cache::{MethodId, Remembered};
use crate::changes::Cut;
use crate::namespace::{CHAIN_MAX, Chain, NAMESPACES_MAX, NamespaceId};

const MAGIC: &[u8; 8] = b"fplookup";
const VERSION: u32 = 1;
const DIGEST_BYTES: u64 = 32;
const COUNT_BYTES: u64 = 8;
const SAME: u8 = 0x80;
/// Bytes that are written, or checked, at a time.
const STEP_BYTES: usize = 1 << 20;
/// Methods that one dump names at most: their places are 16 bits.
pub(super) const METHODS_MAX: usize = 65_536;

/// A namespace as it was before the first entry was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// It and what its reads fell back to.
    pub(super) chain: Chain,
    /// Where its changes were.
    pub(super) cut: Cut,
}

/// What is in front of the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) written: Timestamp,
    pub(super) history: [u8; 16],
    /// At most [`NAMESPACES_MAX`].
    pub(super) places: Vec<Place>,
    /// At most [`METHODS_MAX`], with names of 1 to 255 bytes.
    pub(super) methods: Vec<(MethodId, String)>,
}

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The place of its namespace in the header.
    pub(super) place: u8,
    /// The place of its method there.
    pub(super) method: u16,
    pub(super) taskhash: [u8; 32],
    pub(super) remembered: Remembered,
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(self.written.0.to_be_bytes());
        bytes.extend(self.history);
        bytes.push(self.places.len() as u8);
        for place in &self.places {
            bytes.extend(place.chain.own().0.to_be_bytes());
            bytes.extend(place.cut.position.to_be_bytes());
            bytes.extend(place.cut.epoch.to_be_bytes());
            bytes.push(place.chain.further().len() as u8);
            for further in place.chain.further() {
                bytes.extend(further.0.to_be_bytes());
            }
        }
        bytes.extend((self.methods.len() as u32).to_be_bytes());
        for (id, name) in &self.methods {
            bytes.extend(id.0.to_be_bytes());
            bytes.push(name.len() as u8);
            bytes.extend(name.as_bytes());
        }
        bytes
    }

    /// Reads what follows magic and version.
    fn read(from: &mut impl Read) -> Result<Self, Unusable> {
        let written = Timestamp(i64::from_be_bytes(array(from)?));
        let history = array(from)?;
        let [count] = array(from)?;
        if usize::from(count) > NAMESPACES_MAX {
            return Err(Unusable::Damaged("too many namespaces"));
        }
        let places = (0..count)
            .map(|_| read_place(from))
            .collect::<Result<_, _>>()?;
        let count = u32::from_be_bytes(array(from)?) as usize;
        if count > METHODS_MAX {
            return Err(Unusable::Damaged("too many methods"));
        }
        let methods = (0..count)
            .map(|_| read_method(from))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            written,
            history,
            places,
            methods,
        })
    }
}

fn read_place(from: &mut impl Read) -> Result<Place, Unusable> {
    let own = namespace(from)?;
    let position = u64::from_be_bytes(array(from)?);
    let epoch = u64::from_be_bytes(array(from)?);
    let [further] = array(from)?;
    if usize::from(further) > CHAIN_MAX {
        return Err(Unusable::Damaged("a chain is too long"));
    }
    let further: Vec<_> = (0..further)
        .map(|_| namespace(from))
        .collect::<Result<_, _>>()?;
    Ok(Place {
        chain: Chain::new(own, &further),
        cut: Cut { position, epoch },
    })
}

fn namespace(from: &mut impl Read) -> Result<NamespaceId, Unusable> {
    Ok(NamespaceId(u32::from_be_bytes(array(from)?)))
}

fn read_method(from: &mut impl Read) -> Result<(MethodId, String), Unusable> {
    let id = MethodId(u32::from_be_bytes(array(from)?));
    let [length] = array(from)?;
    let mut name = vec![0; usize::from(length)];
    fill(from, &mut name)?;
    let name = String::from_utf8(name);
    Ok((id, name.map_err(|_| Unusable::Damaged("a method's name"))?))
}

fn array<const N: usize>(from: &mut impl Read) -> Result<[u8; N], Unusable> {
    let mut bytes = [0; N];
    fill(from, &mut bytes)?;
    Ok(bytes)
}

fn fill(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), Unusable> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Unusable::Damaged("it ends too soon"),
        _ => Unusable::Io(error),
    })
}

/// Writes a dump, a step at a time.
pub(super) struct Writer<W> {
    out: W,
    digest: Sha256,
    waiting: Vec<u8>,
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, header: &Header) -> Self {
        Self {
            out,
            digest: Sha256::new(),
            waiting: header.bytes(),
            entries: 0,
            bytes: 0,
        }
    }

    /// Adds an entry; nothing is written yet.
    pub(super) fn put(&mut self, entry: &Entry) {
        let is_same = entry.taskhash == entry.remembered.unihash;
        let waiting = &mut self.waiting;
        waiting.push(entry.place | if is_same { SAME } else { 0 });
        waiting.extend(entry.method.to_be_bytes());
        waiting.extend(entry.remembered.hour.to_be_bytes());
        waiting.extend(entry.taskhash);
        if !is_same {
            waiting.extend(entry.remembered.unihash);
        }
        self.entries += 1;
    }

    /// Whether enough waits for a step.
    pub(super) const fn is_due(&self) -> bool {
        self.waiting.len() >= STEP_BYTES
    }

    /// Writes what waits.
    pub(super) fn step(&mut self) -> io::Result<()> {
        self.digest.update(&self.waiting);
        self.bytes += self.waiting.len() as u64;
        self.out.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    /// Writes the end; the number of bytes in all.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.waiting.extend(self.entries.to_be_bytes());
        self.step()?;
        let digest: [u8; 32] = self.digest.finalize().into();
        self.out.write_all(&digest)?;
        Ok(self.bytes + DIGEST_BYTES)
    }
}

/// Reads a dump that is whole.
pub(super) struct Reader {
    from: BufReader<File>,
    pub(super) header: Header,
    /// Entries that are still to come.
    pub(super) left: u64,
}

impl Reader {
    /// Checks all of a file before any of it is believed. `rest` is called after each
    /// MiB with the time that it took. Blocks.
    pub(super) fn open(mut file: File, rest: impl Fn(Duration)) -> Result<Self, Unusable> {
        let length = file.metadata().map_err(Unusable::Io)?.len();
        let mut start = [0; MAGIC.len() + 4];
        fill(&mut file, &mut start)?;
        let (magic, version) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(Unusable::Damaged("it is no dump"));
        }
        if version != VERSION.to_be_bytes() {
            return Err(Unusable::Version);
        }
        let body = length.saturating_sub(DIGEST_BYTES);
        check_digest(&mut file, body, rest)?;
        let end = body.saturating_sub(COUNT_BYTES);
        seek(&mut file, SeekFrom::Start(end))?;
        let left = u64::from_be_bytes(array(&mut file)?);
        seek(&mut file, SeekFrom::Start(start.len() as u64))?;
        let mut from = BufReader::with_capacity(64 << 10, file);
        let header = Header::read(&mut from)?;
        Ok(Self { from, header, left })
    }

    /// The next entries, at most `limit`; none at the end. Blocks.
    pub(super) fn next(&mut self, limit: usize) -> Result<Vec<Entry>, Unusable> {
        let count = self.left.min(limit as u64);
        self.left -= count;
        (0..count).map(|_| self.entry()).collect()
    }

    fn entry(&mut self) -> Result<Entry, Unusable> {
        let [place] = array(&mut self.from)?;
        let method = u16::from_be_bytes(array(&mut self.from)?);
        let hour = u16::from_be_bytes(array(&mut self.from)?);
        let taskhash = array(&mut self.from)?;
        let unihash = match place & SAME {
            0 => array(&mut self.from)?,
            _ => taskhash,
        };
        let place = place & !SAME;
        let is_known = usize::from(place) < self.header.places.len()
            && usize::from(method) < self.header.methods.len();
        if !is_known {
            return Err(Unusable::Damaged("an entry of no namespace or method"));
        }
        Ok(Entry {
            place,
            method,
            taskhash,
            remembered: Remembered { unihash, hour },
        })
    }
}

fn seek(file: &mut File, to: SeekFrom) -> Result<(), Unusable> {
    file.seek(to).map(drop).map_err(Unusable::Io)
}

/// Compares the digest behind the first `body` bytes with theirs.
fn check_digest(file: &mut File, body: u64, rest: impl Fn(Duration)) -> Result<(), Unusable> {
    seek(file, SeekFrom::Start(0))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; STEP_BYTES];
    let mut left = body;
    while left > 0 {
        let began = Instant::now();
        let step = left.min(STEP_BYTES as u64) as usize;
        fill(file, &mut buffer[..step])?;
        digest.update(&buffer[..step]);
        left -= step as u64;
        rest(began.elapsed());
    }
    let wanted: [u8; 32] = array(file)?;
    let found: [u8; 32] = digest.finalize().into();
    match found == wanted {
        true => Ok(()),
        false => Err(Unusable::Damaged("its checksum is wrong")),
    }
}

#[cfg(test)]
mod tests;
