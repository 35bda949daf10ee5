//! Rows of the reference, decoded in batches.

use std::collections::HashMap;

use fingerpost_hashequiv_proto::types::{Outhash, Taskhash, Unihash};
use foldhash::fast::RandomState;
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::open::Reference;
use crate::created::Created;
use crate::moving::ImportError;
use crate::moving::oddity::{Consequence, Oddities, OddityKind, text};
use crate::moving::pipe::Outlet;
use crate::siginfo::{self, Digest};
use crate::store::Metadata;

/// Rows and bytes of text after which a batch is handed on. Tests have few rows
/// and want several batches.
const BATCH_ROWS: usize = if cfg!(test) { 256 } else { 8192 };
const BATCH_BYTES: usize = 2 << 20;

/// Texts that occur again and again in a batch, by number.
#[derive(Default)]
pub(in crate::moving) struct Names {
    pub(in crate::moving) texts: Vec<String>,
    numbers: HashMap<String, usize, RandomState>,
}

impl Names {
    pub(in crate::moving) fn intern(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len();
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

/// A row of the relation U.
pub(in crate::moving) struct MappingRow {
    pub(in crate::moving) id: i64,
    /// Number in the batch's methods.
    pub(in crate::moving) method: usize,
    pub(in crate::moving) taskhash: Taskhash,
    pub(in crate::moving) unihash: Unihash,
    /// Number in the batch's marks.
    pub(in crate::moving) mark: usize,
}

/// Consecutive rows of the relation U.
#[derive(Default)]
pub(in crate::moving) struct MappingBatch {
    pub(in crate::moving) rows: Vec<MappingRow>,
    pub(in crate::moving) methods: Names,
    pub(in crate::moving) marks: Names,
    /// Rows read, the ones left out included.
    pub(in crate::moving) read: u64,
    /// Id of the last row read.
    pub(in crate::moving) last_id: i64,
    pub(in crate::moving) oddities: Oddities,
}

impl MappingBatch {
    /// Decodes a row with the columns `id, method, taskhash, unihash, gc_mark`.
    pub(in crate::moving) fn take(
        &mut self,
        table: &'static str,
        row: &Row<'_>,
    ) -> rusqlite::Result<()> {
        self.last_id = row.get(0)?;
        self.read += 1;
        match mapping(row, self)? {
            Ok(mapping) => self.rows.push(mapping),
            Err((column, kind)) => {
                let (place, id) = ((table, column), self.last_id);
                self.oddities
                    .record(place, kind, Consequence::RowLeftOut, id);
            }
        }
        Ok(())
    }
}

/// Reads the relation U in batches, for `after < id <= until`.
pub(in crate::moving) fn read_mappings(
    reference: &Reference,
    (after, until): (i64, i64),
    outlet: &Outlet<MappingBatch>,
) -> Result<(), ImportError> {
    let table = reference.tables.mapping_table();
    let mut statement = reference
        .conn
        .prepare(reference.tables.mappings())
        .map_err(reference.failed())?;
    let mut rows = statement
        .query((after, until))
        .map_err(reference.failed())?;
    let mut batch = MappingBatch::default();
    while let Some(row) = rows.next().map_err(reference.failed())? {
        batch.take(table, row).map_err(reference.failed())?;
        if batch.read >= BATCH_ROWS as u64 && outlet.send(std::mem::take(&mut batch)).is_err() {
            return Ok(());
        }
    }
    if batch.read > 0 {
        // Nobody listens any more: that side has an error of its own.
        let _ = outlet.send(batch);
    }
    Ok(())
}

/// A column and what is wrong in it.
type Refused = (&'static str, OddityKind);

fn key<'a>(
    row: &'a Row<'_>,
    index: usize,
    column: &'static str,
) -> rusqlite::Result<Result<std::borrow::Cow<'a, str>, Refused>> {
    Ok(text(row.get_ref(index)?).map_err(|kind| (column, kind)))
}

fn mapping(
    row: &Row<'_>,
    batch: &mut MappingBatch,
) -> rusqlite::Result<Result<MappingRow, Refused>> {
    let values = (
        key(row, 1, "method")?,
        key(row, 2, "taskhash")?,
        key(row, 3, "unihash")?,
        key(row, 4, "gc_mark")?,
    );
    Ok(match values {
        (Ok(method), Ok(taskhash), Ok(unihash), Ok(mark)) => Ok(MappingRow {
            id: row.get(0)?,
            method: batch.methods.intern(&method),
            taskhash: Taskhash::parse(&taskhash),
            unihash: Unihash::parse(&unihash),
            mark: batch.marks.intern(&mark),
        }),
        (Err(refused), ..)
        | (_, Err(refused), ..)
        | (_, _, Err(refused), _)
        | (.., Err(refused)) => Err(refused),
    })
}

/// A row of the relation O.
pub(in crate::moving) struct OutputRow {
    pub(in crate::moving) id: i64,
    /// Number in the batch's methods.
    pub(in crate::moving) method: usize,
    pub(in crate::moving) taskhash: Taskhash,
    pub(in crate::moving) outhash: Outhash,
    pub(in crate::moving) created: Created,
    /// Whether `created` is a number in the source, where it sorts before text.
    pub(in crate::moving) created_is_number: bool,
    /// Number in the batch's metadata.
    pub(in crate::moving) metadata: usize,
    pub(in crate::moving) listing: Option<Listing>,
}

/// A listing as the reference keeps it.
pub(in crate::moving) struct Listing {
    pub(in crate::moving) text: String,
    pub(in crate::moving) digest: Digest,
}

/// Rows of the relation O.
pub(in crate::moving) struct OutputBatch {
    pub(in crate::moving) rows: Vec<OutputRow>,
    pub(in crate::moving) methods: Names,
    pub(in crate::moving) metadata: Vec<Metadata>,
    metadata_numbers: HashMap<Vec<u8>, usize, RandomState>,
    /// Rows read, the ones left out included.
    pub(in crate::moving) read: u64,
    /// Id of the last row read.
    pub(in crate::moving) last_id: i64,
    /// Whether no row is older than the one before it.
    pub(in crate::moving) is_in_order: bool,
    pub(in crate::moving) oddities: Oddities,
    bytes: usize,
}

impl Default for OutputBatch {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            methods: Names::default(),
            metadata: Vec::new(),
            metadata_numbers: HashMap::default(),
            read: 0,
            last_id: 0,
            is_in_order: true,
            oddities: Oddities::default(),
            bytes: 0,
        }
    }
}

impl OutputBatch {
    pub(in crate::moving) fn is_full(&self) -> bool {
        self.read >= BATCH_ROWS as u64 || self.bytes >= BATCH_BYTES
    }

    /// Decodes a row with the columns `id, method, taskhash, outhash, created,
    /// owner, PN, PV, PR, task, outhash_siginfo`.
    pub(in crate::moving) fn take(
        &mut self,
        table: &'static str,
        row: &Row<'_>,
    ) -> rusqlite::Result<()> {
        self.read += 1;
        self.last_id = row.get(0)?;
        let keys = (
            key(row, 1, "method")?,
            key(row, 2, "taskhash")?,
            key(row, 3, "outhash")?,
        );
        let (method, taskhash, outhash) = match keys {
            (Ok(method), Ok(taskhash), Ok(outhash)) => {
                (method, Taskhash::parse(&taskhash), Outhash::parse(&outhash))
            }
            (Err((column, kind)), ..) | (_, Err((column, kind)), _) | (.., Err((column, kind))) => {
                let place = (table, column);
                self.oddities
                    .record(place, kind, Consequence::RowLeftOut, row.get(0)?);
                return Ok(());
            }
        };
        let taken = OutputRow {
            id: self.last_id,
            method: self.methods.intern(&method),
            taskhash,
            outhash,
            created: self.created(table, row)?,
            created_is_number: matches!(row.get_ref(4)?, ValueRef::Integer(_) | ValueRef::Real(_)),
            metadata: self.metadata(table, row)?,
            listing: self.listing(table, row)?,
        };
        self.rows.push(taken);
        Ok(())
    }

    fn created(&mut self, table: &'static str, row: &Row<'_>) -> rusqlite::Result<Created> {
        let created = self.field((table, "created"), row, 4)?;
        Ok(Created::from_text(created.as_deref()))
    }

    /// Interns columns 5 to 9.
    fn metadata(&mut self, table: &'static str, row: &Row<'_>) -> rusqlite::Result<usize> {
        let key = metadata_key(row)?;
        if let Some(number) = self.metadata_numbers.get(&key) {
            return Ok(*number);
        }
        let metadata = Metadata {
            owner: self.field((table, "owner"), row, 5)?.map(String::from),
            pn: self.field((table, "PN"), row, 6)?.map(String::from),
            pv: self.field((table, "PV"), row, 7)?.map(String::from),
            pr: self.field((table, "PR"), row, 8)?.map(String::from),
            task: self.field((table, "task"), row, 9)?.map(String::from),
        };
        self.bytes += key.len();
        let number = self.metadata.len();
        self.metadata.push(metadata);
        self.metadata_numbers.insert(key, number);
        Ok(number)
    }

    fn listing(&mut self, table: &'static str, row: &Row<'_>) -> rusqlite::Result<Option<Listing>> {
        let place = (table, "outhash_siginfo");
        let Some(text) = self.field(place, row, 10)? else {
            return Ok(None);
        };
        if text.len() > siginfo::TEXT_BYTES_MAX {
            let kind = OddityKind::TooLong;
            self.oddities
                .record(place, kind, Consequence::FieldLeftEmpty, row.get(0)?);
            return Ok(None);
        }
        self.bytes += text.len();
        Ok(Some(Listing {
            digest: Digest::of(text.as_bytes()),
            text: text.into_owned(),
        }))
    }

    /// A value that may be absent, and is taken as absent when it is no text.
    fn field<'a>(
        &mut self,
        place: (&'static str, &'static str),
        row: &'a Row<'_>,
        index: usize,
    ) -> rusqlite::Result<Option<std::borrow::Cow<'a, str>>> {
        match text(row.get_ref(index)?) {
            Ok(text) => Ok(Some(text)),
            Err(OddityKind::Null) => Ok(None),
            Err(kind) => {
                self.oddities
                    .record(place, kind, Consequence::FieldLeftEmpty, row.get(0)?);
                Ok(None)
            }
        }
    }
}

/// Tells combinations of metadata apart without making them.
fn metadata_key(row: &Row<'_>) -> rusqlite::Result<Vec<u8>> {
    let mut key = Vec::with_capacity(64);
    for index in 5..10 {
        let (kind, bytes) = match row.get_ref(index)? {
            ValueRef::Null => (0, Vec::new()),
            ValueRef::Text(text) => {
                key.push(1);
                key.extend_from_slice(&(text.len() as u64).to_le_bytes());
                key.extend_from_slice(text);
                continue;
            }
            ValueRef::Integer(number) => (2, number.to_le_bytes().to_vec()),
            ValueRef::Real(number) => (3, number.to_le_bytes().to_vec()),
            // Taken as absent, and counted each time.
            ValueRef::Blob(_) => (4, row.get::<_, i64>(0)?.to_le_bytes().to_vec()),
        };
        key.push(kind);
        key.extend_from_slice(&bytes);
    }
    Ok(key)
}
