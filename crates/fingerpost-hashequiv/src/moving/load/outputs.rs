//! The relation O, read once: names become numbers, listings are stored, and
//! what is left of the rows goes to a file until their tasks are known.

use std::path::PathBuf;

use super::row_file::{PendingRow, RowFile};
use crate::moving::import::{advance, begin_rows};
use crate::moving::listings::{Family, Listings, Wanted};
use crate::moving::pipe::pipe;
use crate::moving::reference::{OutputBatch, Reference, read_outputs};
use crate::moving::work::Work;
use crate::moving::{ImportError, Progress, Stage};
use crate::sqlite::{intern_metadata, intern_method};

/// Rows, and listings, between two commits.
const COMMIT_ROWS: u64 = if cfg!(test) { 500 } else { 250_000 };
const COMMIT_LISTINGS: u64 = 10_000;

pub(super) fn read(
    reference: &mut Reference,
    work: &mut Work,
    progress: &mut dyn Progress,
) -> Result<(), ImportError> {
    if work.checkpoint.outputs_read {
        return Ok(());
    }
    let first = reference.first_id(reference.tables.output_table())?;
    let (after, until) = (work.checkpoint.outputs_after, work.checkpoint.outputs_until);
    begin_rows(progress, Stage::Outputs, (first, until));
    let mut writer = Writer::new(work)?;
    pipe(
        reference,
        |reference, outlet| read_outputs(reference, (after, until), &outlet),
        |batch| {
            let last_id = batch.last_id;
            writer.write(batch)?;
            advance(progress, (last_id - first + 1) as u64)
        },
    )?;
    writer.work.checkpoint.outputs_read = true;
    writer.commit()
}

struct Writer<'a> {
    work: &'a mut Work,
    path: PathBuf,
    file: RowFile,
    listings: Listings,
    rows_uncommitted: u64,
    listings_uncommitted: u64,
}

impl<'a> Writer<'a> {
    fn new(work: &'a mut Work) -> Result<Self, ImportError> {
        let path = work.rows_path();
        let file = RowFile::open(&path, work.checkpoint.rows_bytes);
        work.begin().map_err(work.failed())?;
        Ok(Self {
            work,
            file: file.map_err(ImportError::io(&path))?,
            path,
            listings: Listings::new(),
            rows_uncommitted: 0,
            listings_uncommitted: 0,
        })
    }

    fn write(&mut self, batch: OutputBatch) -> Result<(), ImportError> {
        let rows = self.resolve(&batch).map_err(self.work.failed())?;
        for row in &rows {
            self.file.append(row).map_err(ImportError::io(&self.path))?;
        }
        let checkpoint = &mut self.work.checkpoint;
        checkpoint.outputs_after = batch.last_id;
        checkpoint.rows_in_order &= batch.is_in_order;
        checkpoint.rows += rows.len() as u64;
        let tally = &mut checkpoint.report.outputs;
        tally.read += batch.read;
        tally.left_out += batch.read - rows.len() as u64;
        checkpoint.report.oddities.merge(batch.oddities);
        self.rows_uncommitted += batch.read;
        if self.rows_uncommitted >= COMMIT_ROWS || self.listings_uncommitted >= COMMIT_LISTINGS {
            (self.rows_uncommitted, self.listings_uncommitted) = (0, 0);
            self.commit()?;
            self.work.begin().map_err(self.work.failed())?;
        }
        Ok(())
    }

    /// Turns names into numbers, and stores listings.
    fn resolve(&mut self, batch: &OutputBatch) -> rusqlite::Result<Vec<PendingRow>> {
        let conn = &self.work.conn;
        let mut methods = Vec::with_capacity(batch.methods.texts.len());
        for method in &batch.methods.texts {
            methods.push(intern_method(conn, method)?);
        }
        let mut metadata = Vec::with_capacity(batch.metadata.len());
        for one in &batch.metadata {
            metadata.push(intern_metadata(conn, one)?);
        }
        let with_listing = batch
            .rows
            .iter()
            .filter_map(|row| Some((row, row.listing.as_ref()?)));
        let wanted: Vec<Wanted<'_>> = with_listing
            .map(|(row, listing)| Wanted {
                listing,
                family: Family::of(methods[row.method], &batch.metadata[row.metadata]),
            })
            .collect();
        self.listings_uncommitted += wanted.len() as u64;
        let tally = &mut self.work.checkpoint.report.listings;
        let mut stored = self.listings.store(conn, &wanted, tally)?.into_iter();
        let pending = batch.rows.iter().map(|row| PendingRow {
            id: row.id,
            method: methods[row.method],
            metadata: metadata[row.metadata],
            siginfo: row.listing.as_ref().and_then(|_| stored.next()),
            created: row.created.clone(),
            created_is_number: row.created_is_number,
            taskhash: row.taskhash.clone(),
            outhash: row.outhash.clone(),
        });
        Ok(pending.collect())
    }

    fn commit(&mut self) -> Result<(), ImportError> {
        let flushed = self.file.flush().map_err(ImportError::io(&self.path))?;
        self.work.checkpoint.rows_bytes = flushed;
        self.work.commit().map_err(self.work.failed())
    }
}
