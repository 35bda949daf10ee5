//! Rows of the relation O on their way: everything but their task is known.
//!
//! They are appended to a plain file beside the target that is being made, in
//! the order in which they were read, and are read back in that order. The
//! import's record says how much of the file counts.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use fingerpost_core::Timestamp;
use fingerpost_hashequiv_proto::types::{Outhash, Taskhash};

use crate::cache::MethodId;
use crate::created::Created;

/// Bytes that are written together.
const BUFFER_BYTES: usize = 256 << 10;

/// A row without its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PendingRow {
    pub(super) id: i64,
    pub(super) method: MethodId,
    pub(super) metadata: Option<i64>,
    pub(super) siginfo: Option<i64>,
    pub(super) created: Created,
    /// Whether `created` is a number in the source, where it sorts before text.
    pub(super) created_is_number: bool,
    pub(super) taskhash: Taskhash,
    pub(super) outhash: Outhash,
}

/// The file, open for appending.
pub(super) struct RowFile {
    file: File,
    buffer: Vec<u8>,
    length: u64,
}

impl RowFile {
    /// Opens the file, makes it if it does not exist, and cuts it to `length`:
    /// what is behind was written after the last commit.
    pub(super) fn open(path: &Path, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)?;
        if file.metadata()?.len() < length {
            return Err(damaged());
        }
        file.set_len(length)?;
        Ok(Self {
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES * 2),
            length,
        })
    }

    /// Appends a row.
    pub(super) fn append(&mut self, row: &PendingRow) -> io::Result<()> {
        row.write(&mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands everything to the operating system; returns the file's length.
    pub(super) fn flush(&mut self) -> io::Result<u64> {
        self.file.write_all_at(&self.buffer, self.length)?;
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        self.file.flush()?;
        Ok(self.length)
    }
}

/// Reads the file from its beginning.
pub(super) struct RowReader {
    file: BufReader<io::Take<File>>,
    record: Vec<u8>,
    offset: u64,
}

impl RowReader {
    /// Opens the file, of which `length` bytes count.
    pub(super) fn open(path: &Path, length: u64) -> io::Result<Self> {
        let file = File::open(path)?.take(length);
        Ok(Self {
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            record: Vec::new(),
            offset: 0,
        })
    }

    /// The next row and its place in the file; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, PendingRow)>> {
        let offset = self.offset;
        let mut length = [0; 4];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let length = u32::from_le_bytes(length);
        self.record.resize(length as usize, 0);
        self.file.read_exact(&mut self.record)?;
        self.offset += 4 + u64::from(length);
        let row = PendingRow::read(&self.record).ok_or_else(damaged)?;
        Ok(Some((offset, row)))
    }
}

/// Reads the row at a place that [`RowReader::next`] told.
pub(super) fn read_at(file: &File, offset: u64) -> io::Result<PendingRow> {
    let mut length = [0; 4];
    file.read_exact_at(&mut length, offset)?;
    let mut record = vec![0; u32::from_le_bytes(length) as usize];
    file.read_exact_at(&mut record, offset + 4)?;
    PendingRow::read(&record).ok_or_else(damaged)
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "not what the import wrote; remove the files of the interrupted import",
    )
}

impl PendingRow {
    /// Appends the row with its length in front.
    fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.method.0.to_le_bytes());
        // No row has the number 0.
        out.extend_from_slice(&self.metadata.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.siginfo.unwrap_or(0).to_le_bytes());
        match &self.created {
            Created::Never => out.push(0),
            Created::At(moment) => {
                out.push(1);
                out.extend_from_slice(&moment.0.to_le_bytes());
            }
            Created::Text(text) => {
                out.push(if self.created_is_number { 3 } else { 2 });
                put_text(out, text);
            }
        }
        put_hash(out, self.taskhash.as_bytes(), || self.taskhash.to_text());
        put_hash(out, self.outhash.as_bytes(), || self.outhash.to_text());
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn read(record: &[u8]) -> Option<Self> {
        let mut rest = record;
        let id = i64::from_le_bytes(take(&mut rest)?);
        let method = MethodId(u32::from_le_bytes(take(&mut rest)?));
        let metadata = Some(i64::from_le_bytes(take(&mut rest)?)).filter(|id| *id != 0);
        let siginfo = Some(i64::from_le_bytes(take(&mut rest)?)).filter(|id| *id != 0);
        let [form] = take(&mut rest)?;
        let created = match form {
            0 => Created::Never,
            1 => Created::At(Timestamp(i64::from_le_bytes(take(&mut rest)?))),
            2 | 3 => Created::Text(take_text(&mut rest)?.to_owned()),
            _ => return None,
        };
        let taskhash = take_hash(&mut rest, Taskhash::from_bytes, Taskhash::parse)?;
        let outhash = take_hash(&mut rest, Outhash::from_bytes, Outhash::parse)?;
        rest.is_empty().then_some(Self {
            id,
            method,
            metadata,
            siginfo,
            created,
            created_is_number: form == 3,
            taskhash,
            outhash,
        })
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_hash(out: &mut Vec<u8>, bytes: Option<&[u8; 32]>, text: impl FnOnce() -> String) {
    match bytes {
        Some(bytes) => {
            out.push(0);
            out.extend_from_slice(bytes);
        }
        None => {
            out.push(1);
            put_text(out, &text());
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = u32::from_le_bytes(take(rest)?);
    let (text, left) = rest.split_at_checked(length as usize)?;
    *rest = left;
    std::str::from_utf8(text).ok()
}

fn take_hash<T>(
    rest: &mut &[u8],
    of_bytes: impl FnOnce([u8; 32]) -> T,
    of_text: impl FnOnce(&str) -> T,
) -> Option<T> {
    match take(rest)? {
        [0] => take(rest).map(of_bytes),
        [1] => take_text(rest).map(of_text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, created: Created, hash: &str) -> PendingRow {
        PendingRow {
            id,
            method: MethodId(7),
            metadata: (id % 2 == 0).then_some(id / 2),
            siginfo: (id % 3 == 0).then_some(id / 3),
            created_is_number: false,
            created,
            taskhash: Taskhash::parse(hash),
            outhash: Outhash::parse(&hash.repeat(2)),
        }
    }

    #[test]
    fn rows_come_back_in_order_and_by_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows");
        let mut rows: Vec<PendingRow> = (1..3000)
            .map(|id| row(id, Created::At(Timestamp(id)), &format!("{id:032x}")))
            .collect();
        rows.push(row(-5, Created::Never, ""));
        rows.push(row(i64::MAX, Created::Text("2024 ä".into()), "odd"));
        rows.push(PendingRow {
            created_is_number: true,
            ..row(1, Created::Text("5".into()), &"a".repeat(64))
        });
        let mut file = RowFile::open(&path, 0).unwrap();
        rows.iter().for_each(|row| file.append(row).unwrap());
        let length = file.flush().unwrap();

        let mut reader = RowReader::open(&path, length).unwrap();
        let places = File::open(&path).unwrap();
        for row in &rows {
            let (offset, read) = reader.next().unwrap().unwrap();
            assert_eq!(read, *row);
            assert_eq!(read_at(&places, offset).unwrap(), *row);
        }
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn what_was_not_committed_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows");
        let mut file = RowFile::open(&path, 0).unwrap();
        file.append(&row(1, Created::Never, "a")).unwrap();
        let committed = file.flush().unwrap();
        file.append(&row(2, Created::Never, "b")).unwrap();
        file.flush().unwrap();
        let mut file = RowFile::open(&path, committed).unwrap();
        file.append(&row(3, Created::Never, "c")).unwrap();
        let length = file.flush().unwrap();
        let mut reader = RowReader::open(&path, length).unwrap();
        let mut ids = Vec::new();
        while let Some((_, row)) = reader.next().unwrap() {
            ids.push(row.id);
        }
        assert_eq!(ids, [1, 3]);
        assert!(RowFile::open(&path, length + 1).is_err());
    }
}
