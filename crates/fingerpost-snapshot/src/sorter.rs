//! Rows in order, however many there are: sorted runs in one temporary file, merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::Hash;
use crate::side::Signed;

/// Rows of a run: memory holds one, 11 MiB and as much again for sorting, and 200 bytes more for each
/// row with a signature.
const RUN_ROWS: usize = 1 << 17;

/// Runs at most: half a thousand million rows, and their buffers stay small.
const RUNS_MAX: usize = 4096;

/// Bytes of the buffers of all runs together while they are merged.
const BUFFERS_BYTES: usize = 16 << 20;
const BUFFER_BYTES_MIN: usize = 4 << 10;
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// Bytes that are written together.
const WRITE_BYTES: usize = 256 << 10;

/// A row with the number of its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortRow {
    pub(crate) method: u8,
    pub(crate) taskhash: Hash,
    pub(crate) unihash: Hash,
    pub(crate) signed: Option<Box<Signed>>,
}

impl SortRow {
    const fn key(&self) -> (u8, &Hash) {
        (self.method, &self.taskhash)
    }
}

/// Takes rows in any order.
pub(crate) struct Sorter {
    run_rows: usize,
    rows: Vec<SortRow>,
    /// Without a name: it is gone when it is closed, or we are killed.
    file: File,
    /// Where each run ends, and the next one begins.
    ends: Vec<u64>,
}

impl Sorter {
    /// A sorter whose file is in `directory`.
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            run_rows: RUN_ROWS,
            rows: Vec::new(),
            file: tempfile::tempfile_in(directory)?,
            ends: Vec::new(),
        })
    }

    /// Takes a row. It takes the place of one with its method and taskhash that came earlier.
    pub(crate) fn push(&mut self, row: SortRow) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() < self.run_rows {
            return Ok(());
        }
        self.end_run()
    }

    fn end_run(&mut self) -> io::Result<()> {
        if self.ends.len() == RUNS_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too many rows"));
        }
        // Stable: of equal keys, the last one came last.
        self.rows.sort_by(|a, b| a.key().cmp(&b.key()));
        let mut out = io::BufWriter::with_capacity(WRITE_BYTES, &self.file);
        let mut end = self.ends.last().copied().unwrap_or(0);
        let mut record = Vec::new();
        let mut rows = self.rows.drain(..).peekable();
        while let Some(row) = rows.next() {
            if rows.peek().is_some_and(|next| next.key() == row.key()) {
                continue;
            }
            record.clear();
            write(&row, &mut record);
            out.write_all(&record)?;
            end += record.len() as u64;
        }
        out.flush()?;
        drop((rows, out));
        self.ends.push(end);
        Ok(())
    }

    /// The rows in order of the number of their method, and then of taskhash; none has the method and taskhash of another.
    pub(crate) fn finish(mut self) -> io::Result<Sorted> {
        if !self.rows.is_empty() {
            self.end_run()?;
        }
        let share = BUFFERS_BYTES / self.ends.len().max(1);
        let buffer_bytes = share.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let runs = starts
            .zip(&self.ends)
            .map(|(start, end)| Run::new(start, *end, buffer_bytes))
            .collect();
        let mut sorted = Sorted {
            file: self.file,
            runs,
            heap: BinaryHeap::new(),
        };
        for run in 0..sorted.runs.len() {
            sorted.advance(run)?;
        }
        Ok(sorted)
    }
}

/// Rows in order.
pub(crate) struct Sorted {
    file: File,
    runs: Vec<Run>,
    /// The least key first; of equal keys that of the latest run.
    heap: BinaryHeap<(Reverse<(u8, Hash)>, usize)>,
}

impl Sorted {
    /// The next row; `None` behind the last.
    pub(crate) fn next(&mut self) -> io::Result<Option<SortRow>> {
        let Some((Reverse(key), run)) = self.heap.pop() else {
            return Ok(None);
        };
        let row = self.runs[run].row.take();
        self.advance(run)?;
        // Those of earlier runs came earlier.
        while let Some((Reverse(other), older)) = self.heap.peek()
            && *other == key
        {
            let older = *older;
            self.heap.pop();
            self.advance(older)?;
        }
        Ok(row)
    }

    /// Reads the next row of a run into its place.
    fn advance(&mut self, number: usize) -> io::Result<()> {
        let run = &mut self.runs[number];
        run.row = run.read(&self.file)?;
        if let Some(row) = &run.row {
            self.heap
                .push((Reverse((row.method, row.taskhash)), number));
        }
        Ok(())
    }
}

/// A run that is read.
struct Run {
    /// The row that is in the heap.
    row: Option<SortRow>,
    /// What of it was read from the file and not taken.
    buffer: Vec<u8>,
    taken: usize,
    /// What of the file is its own and was not read.
    start: u64,
    end: u64,
    buffer_bytes: usize,
}

impl Run {
    const fn new(start: u64, end: u64, buffer_bytes: usize) -> Self {
        Self {
            row: None,
            buffer: Vec::new(),
            taken: 0,
            start,
            end,
            buffer_bytes,
        }
    }

    fn read(&mut self, file: &File) -> io::Result<Option<SortRow>> {
        if self.buffer.len() - self.taken < RECORD_BYTES_MAX && self.start < self.end {
            self.fill(file)?;
        }
        let mut rest = &self.buffer[self.taken..];
        if rest.is_empty() {
            return Ok(None);
        }
        let row = read(&mut rest).ok_or(io::ErrorKind::InvalidData)?;
        self.taken = self.buffer.len() - rest.len();
        Ok(Some(row))
    }

    fn fill(&mut self, file: &File) -> io::Result<()> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let have = self.buffer.len();
        let left = usize::try_from(self.end - self.start).unwrap_or(usize::MAX);
        let more = left.min(self.buffer_bytes - have);
        self.buffer.resize(have + more, 0);
        file.read_exact_at(&mut self.buffer[have..], self.start)?;
        self.start += more as u64;
        Ok(())
    }
}

const EQUAL: u8 = 1;
const SIGNED: u8 = 2;

/// Method and flags, three hashes, a length and a text.
const RECORD_BYTES_MAX: usize = 2 + 3 * 32 + 1 + fingerpost_signatures::SIGNATURE_BYTES_MAX;

fn write(row: &SortRow, out: &mut Vec<u8>) {
    let is_equal = row.unihash == row.taskhash;
    let equal = if is_equal { EQUAL } else { 0 };
    let signed = if row.signed.is_some() { SIGNED } else { 0 };
    out.extend_from_slice(&[row.method, equal | signed]);
    out.extend_from_slice(&row.taskhash);
    if !is_equal {
        out.extend_from_slice(&row.unihash);
    }
    if let Some(signed) = &row.signed {
        out.extend_from_slice(&signed.outhash);
        // At most 124 bytes.
        out.push(signed.signature.len() as u8);
        out.extend_from_slice(signed.signature.as_bytes());
    }
}

fn read(rest: &mut &[u8]) -> Option<SortRow> {
    let [method, flags] = *take(rest)?;
    let taskhash = *take(rest)?;
    let unihash = match flags & EQUAL != 0 {
        true => taskhash,
        false => *take(rest)?,
    };
    let signed = match flags & SIGNED != 0 {
        true => Some(Box::new(read_signed(rest)?)),
        false => None,
    };
    Some(SortRow {
        method,
        taskhash,
        unihash,
        signed,
    })
}

fn read_signed(rest: &mut &[u8]) -> Option<Signed> {
    let outhash = *take(rest)?;
    let [length] = *take(rest)?;
    let (text, left) = rest.split_at_checked(length.into())?;
    *rest = left;
    let signature = String::from_utf8(text.to_vec()).ok()?;
    Some(Signed { outhash, signature })
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn row(method: u8, number: u32, unihash: u8, signed: bool) -> SortRow {
        let mut taskhash = [0; 32];
        // Not in the order of the numbers.
        taskhash[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
        let signed = signed.then(|| {
            Box::new(Signed {
                outhash: [unihash; 32],
                signature: "s".repeat(1 + number as usize % 124),
            })
        });
        SortRow {
            method,
            taskhash,
            unihash: if unihash == 0 {
                taskhash
            } else {
                [unihash; 32]
            },
            signed,
        }
    }

    fn check(run_rows: usize, rows: &[SortRow]) {
        let directory = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(directory.path()).unwrap();
        sorter.run_rows = run_rows;
        let mut expected = BTreeMap::new();
        for row in rows {
            sorter.push(row.clone()).unwrap();
            expected.insert((row.method, row.taskhash), row.clone());
        }
        let mut sorted = sorter.finish().unwrap();
        for row in expected.into_values() {
            assert_eq!(sorted.next().unwrap(), Some(row));
        }
        assert_eq!(sorted.next().unwrap(), None);
        assert_eq!(sorted.next().unwrap(), None);
    }

    #[test]
    fn rows_come_in_order_and_the_last_of_each_key() {
        let rows: Vec<_> = (0..5000_u32)
            .map(|n| row((n % 3) as u8, n % 1700, (n % 7) as u8, n % 5 == 0))
            .collect();
        for run_rows in [1, 2, 7, 1000, 5000, 6000] {
            check(run_rows, if run_rows < 7 { &rows[..900] } else { &rows });
        }
        check(10, &[]);
    }
}
