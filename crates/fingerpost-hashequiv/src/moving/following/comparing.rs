//! What changed in the source: its rows beside the record of them, both by id.

use rusqlite::{Connection, OptionalExtension as _, Row, Rows};

use super::record::{Relation, Taken};
use super::seal::{Seal, seal};
use crate::moving::ImportError;
use crate::moving::oddity::text;
use crate::moving::pipe::Outlet;
use crate::moving::reference::{Generation, MappingBatch, OUTPUT_COLUMNS, OutputBatch, Reference};

/// Changes that are handed on, and made in one transaction, together.
const BATCH_CHANGES: usize = if cfg!(test) { 50 } else { 4096 };
/// Rows that are alike after which the progress is told.
const BATCH_LOOKED: u64 = 100_000;

/// A batch of new rows of one relation.
pub(super) trait NewRows: Default + Send {
    const RELATION: Relation;

    /// Selects what [`NewRows::take`] takes, for the id `?1`.
    fn fetch(reference: &Reference) -> String;

    fn take(&mut self, reference: &Reference, row: &Row<'_>) -> rusqlite::Result<()>;

    fn is_full(&self) -> bool;
}

impl NewRows for MappingBatch {
    const RELATION: Relation = Relation::Mappings;

    fn fetch(reference: &Reference) -> String {
        let (mark, table) = (mark_column(reference), reference.tables.mapping_table());
        format!("SELECT id, method, taskhash, unihash, {mark} FROM {table} WHERE id = ?1")
    }

    fn take(&mut self, reference: &Reference, row: &Row<'_>) -> rusqlite::Result<()> {
        Self::take(self, reference.tables.mapping_table(), row)
    }

    fn is_full(&self) -> bool {
        false
    }
}

impl NewRows for OutputBatch {
    const RELATION: Relation = Relation::Outputs;

    fn fetch(reference: &Reference) -> String {
        let table = reference.tables.output_table();
        format!("SELECT {OUTPUT_COLUMNS} FROM {table} WHERE id = ?1")
    }

    fn take(&mut self, reference: &Reference, row: &Row<'_>) -> rusqlite::Result<()> {
        Self::take(self, reference.tables.output_table(), row)
    }

    fn is_full(&self) -> bool {
        Self::is_full(self)
    }
}

/// The column of a row's mark; empty where rows had none yet.
const fn mark_column(reference: &Reference) -> &'static str {
    match reference.tables.generation {
        Generation::UnihashesV3 => "gc_mark",
        Generation::UnihashesV2 | Generation::TasksV2 => "''",
    }
}

/// Selects the id, the mark, and what the content is told by, of rows behind `?1`.
pub(super) fn keys_of_mappings(reference: &Reference) -> String {
    let (mark, table) = (mark_column(reference), reference.tables.mapping_table());
    format!("SELECT id, {mark}, method, taskhash, unihash FROM {table} WHERE id > ?1 ORDER BY id")
}

/// As [`keys_of_mappings`]. Rows are long and never change, so their keys suffice, and
/// half of those: an id is given again by files alone that SQLAlchemy made. The plus
/// keeps SQLite from walking the table when an index has the keys as well.
pub(super) fn keys_of_outputs(reference: &Reference, looks_at_all: bool) -> String {
    let table = reference.tables.output_table();
    let plus = if looks_at_all { "+" } else { "" };
    format!("SELECT id, '', {OUTPUT_KEY} FROM {table} WHERE {plus}id > ?1 ORDER BY {plus}id")
}

/// What an output's content is told by; the same text in both databases.
pub(super) const OUTPUT_KEY: &str = "substr(taskhash, 1, 16) || substr(outhash, 1, 16)";

/// A row that was marked otherwise.
pub(super) struct Marked {
    pub(super) row: Taken,
    /// Number among the marks of the changes.
    pub(super) mark: usize,
}

/// Changes of one relation, in the order in which they are to be made: what is gone,
/// what is marked otherwise, what is new.
#[derive(Default)]
pub(super) struct Changes<B> {
    pub(super) gone: Vec<Taken>,
    pub(super) marked: Vec<Marked>,
    pub(super) marks: Vec<String>,
    /// Ids and seals of the new rows, those included that `new` had to leave out.
    pub(super) seals: Vec<(i64, Seal)>,
    pub(super) new: B,
    /// Rows of the source that were looked at so far.
    pub(super) looked: u64,
}

impl<B: NewRows> Changes<B> {
    fn is_full(&self) -> bool {
        let changes = self.gone.len() + self.marked.len() + self.seals.len();
        changes >= BATCH_CHANGES || self.new.is_full()
    }

    fn mark(&mut self, mark: &str) -> usize {
        if let Some(known) = self.marks.iter().position(|known| known == mark) {
            return known;
        }
        self.marks.push(mark.to_owned());
        self.marks.len() - 1
    }
}

/// What is compared.
pub(super) struct Sides {
    pub(super) reference: Reference,
    /// A connection to the record.
    pub(super) record: Connection,
}

/// Finds the changes of rows with an id after `after`.
pub(super) fn compare<B: NewRows>(
    sides: &Sides,
    keys: &str,
    after: i64,
    outlet: Outlet<Changes<B>>,
) -> Result<(), ImportError> {
    let mut comparison = Comparison {
        sides,
        outlet,
        changes: Changes::default(),
        last_taken: i64::MIN,
        told: 0,
        again: Vec::new(),
    };
    match comparison.run(keys, after) {
        Err(Ended::Failed(error)) => Err(error),
        // Nobody listens any more: that side has an error of its own.
        Ok(()) | Err(Ended::Unheard) => Ok(()),
    }
}

/// Why a comparison ends early.
enum Ended {
    Failed(ImportError),
    Unheard,
}

struct Comparison<'a, B> {
    sides: &'a Sides,
    outlet: Outlet<Changes<B>>,
    changes: Changes<B>,
    /// The highest id in the record.
    last_taken: i64,
    told: u64,
    /// New rows among those that were taken. They come last: what has their key may be
    /// found to be gone later. Few, because ids are not given again but by SQLAlchemy.
    again: Vec<(i64, Seal)>,
}

impl<B: NewRows> Comparison<'_, B> {
    fn run(&mut self, keys: &str, after: i64) -> Result<(), Ended> {
        let reference = &self.sides.reference;
        let of_source = failure(reference.failed());
        let of_record = failure(ImportError::target(&reference.path));
        let table = B::RELATION.table();
        let last = format!("SELECT max(id) FROM {table}");
        let last = self.sides.record.query_row(&last, [], |row| row.get(0));
        self.last_taken = last
            .map(|last: Option<i64>| last.unwrap_or(i64::MIN))
            .map_err(&of_record)?;
        let sql = format!("SELECT id, seal, mark, ours FROM {table} WHERE id > ?1 ORDER BY id");
        let mut taken = self.sides.record.prepare(&sql).map_err(&of_record)?;
        let mut taken = taken.query([after]).map_err(&of_record)?;
        let mut keys = reference.conn.prepare(keys).map_err(&of_source)?;
        let mut keys = keys.query([after]).map_err(&of_source)?;
        let fetch = B::fetch(reference);
        let mut fetch = reference.conn.prepare(&fetch).map_err(&of_source)?;

        let mut known = next_taken(&mut taken).map_err(&of_record)?;
        while let Some(key) = keys.next().map_err(&of_source)? {
            let id = key.get(0).map_err(&of_source)?;
            let seal = seal(key).map_err(&of_source)?;
            while let Some(gone) = known.filter(|known| known.id < id) {
                self.changes.gone.push(gone);
                known = next_taken(&mut taken).map_err(&of_record)?;
                self.hand_on_if_full()?;
            }
            self.changes.looked += 1;
            match known.filter(|known| known.id == id) {
                Some(before) => {
                    known = next_taken(&mut taken).map_err(&of_record)?;
                    let mark = text(key.get_ref(1).map_err(&of_source)?).ok();
                    self.known(before, seal, mark.as_deref());
                }
                None if id > self.last_taken => self.add(&mut fetch, id, seal)?,
                None => self.again.push((id, seal)),
            }
            self.hand_on_if_full()?;
        }
        while let Some(gone) = known {
            self.changes.gone.push(gone);
            known = next_taken(&mut taken).map_err(&of_record)?;
            self.hand_on_if_full()?;
        }
        for (id, seal) in std::mem::take(&mut self.again) {
            self.add(&mut fetch, id, seal)?;
            self.hand_on_if_full()?;
        }
        self.hand_on()
    }

    /// A row that was taken before.
    fn known(&mut self, before: Taken, seal: Seal, mark: Option<&str>) {
        if before.seal == seal {
            return;
        }
        match mark {
            Some(mark) if before.seal.content == seal.content && before.ours.is_some() => {
                let mark = self.changes.mark(mark);
                let row = Taken { seal, ..before };
                self.changes.marked.push(Marked { row, mark });
            }
            // Another row with the same id, or one that could not be taken as it was.
            _ => {
                self.changes.gone.push(before);
                self.again.push((before.id, seal));
            }
        }
    }

    fn add(
        &mut self,
        fetch: &mut rusqlite::Statement<'_>,
        id: i64,
        seal: Seal,
    ) -> Result<(), Ended> {
        let reference = &self.sides.reference;
        let new = &mut self.changes.new;
        let found = fetch
            .query_row([id], |row| new.take(reference, row))
            .optional()
            .map_err(failure(reference.failed()))?;
        if found.is_none() {
            return Err(Ended::Failed(ImportError::Damaged {
                path: reference.path.clone(),
                what: format!("its index has a row with the id {id}, its table has none"),
            }));
        }
        self.changes.seals.push((id, seal));
        Ok(())
    }

    fn hand_on_if_full(&mut self) -> Result<(), Ended> {
        if self.changes.is_full() || self.changes.looked - self.told >= BATCH_LOOKED {
            return self.hand_on();
        }
        Ok(())
    }

    fn hand_on(&mut self) -> Result<(), Ended> {
        self.told = self.changes.looked;
        let next = Changes {
            looked: self.changes.looked,
            ..Changes::default()
        };
        let changes = std::mem::replace(&mut self.changes, next);
        self.outlet.send(changes).map_err(|_| Ended::Unheard)
    }
}

fn failure(wrap: impl Fn(rusqlite::Error) -> ImportError) -> impl Fn(rusqlite::Error) -> Ended {
    move |error| Ended::Failed(wrap(error))
}

fn next_taken(rows: &mut Rows<'_>) -> rusqlite::Result<Option<Taken>> {
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Taken {
        id: row.get(0)?,
        seal: Seal {
            content: row.get(1)?,
            mark: row.get(2)?,
        },
        ours: row.get(3)?,
    }))
}
