//! One round.

use std::path::Path;
use std::time::Duration;

use fingerpost_accounts::stored_users;
use fingerpost_db::Settings;
use rusqlite::Connection;

use super::applying::{AT, Applier, Apply, atomically};
use super::comparing::{Changes, Sides, compare, keys_of_mappings};
use super::copied::last_id;
use super::record::Relation;
use super::source::{Scope, View};
use super::{Depth, Finished, Following, Moved, Round, healing, users};
use crate::moving::import::{advance, begin_report};
use crate::moving::load::{self, Collections};
use crate::moving::pipe::pipe;
use crate::moving::reference::{MappingBatch, OutputBatch};
use crate::moving::users::read_users;
use crate::moving::work::directory_of;
use crate::moving::{ImportError, Manner, Progress, Stage};
use crate::sqlite::MIGRATIONS;

/// As long as anybody else may write to the target at a stretch.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes over what changed, and gives the source as it was then.
pub(super) fn run(
    following: &mut Following<'_>,
    depth: Depth,
    progress: &mut dyn Progress,
) -> Result<(Round, View), ImportError> {
    let Following {
        source,
        target,
        options,
        record,
    } = following;
    let reader = record.reader()?;
    let is_whole = record.is_whole().map_err(record.failed())?;
    let is_new = !target.exists();
    let depth = if is_whole { depth } else { Depth::All };
    let scope = match is_new {
        true => Scope::Whole,
        false => Scope::Changes(depth, &reader),
    };
    let mut view = source.view(scope, &directory_of(target), progress)?;
    let mut round = Round {
        depth,
        mappings: Moved::default(),
        outputs: Moved::default(),
        users: 0,
        healed: 0,
        notes: Vec::new(),
    };
    if is_new {
        let loaded = load::load(&mut view.reference, target, options, progress)?;
        round.notes = loaded.notes.clone();
        let oddities = loaded.oddities().iter().map(ToString::to_string);
        round.notes.extend(oddities);
    }
    let conn = open(target)?;
    let settings = (options.now, options.drop_invalid_unihashes);
    let applier = Applier::new(&conn, target, record, &mut round, settings);
    let mut pass = Pass {
        applier: applier.map_err(ImportError::target(target))?,
        keys: [keys_of_mappings(&view.reference), view.output_keys.clone()],
        sides: Sides {
            reference: view.reference,
            record: reader,
        },
        depth,
        progress,
    };
    pass.both()?;
    pass.others(options)?;
    view.reference = pass.sides.reference;
    Ok((round, view))
}

fn open(target: &Path) -> Result<Connection, ImportError> {
    let conn = fingerpost_db::connect(&Settings::new(target), MIGRATIONS)?;
    let failed = ImportError::target(target);
    conn.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    conn.execute_batch("PRAGMA wal_autocheckpoint = 2000")
        .map_err(&failed)?;
    Ok(conn)
}

struct Pass<'a, 'p> {
    applier: Applier<'a>,
    sides: Sides,
    /// Selects the keys of each relation.
    keys: [String; 2],
    depth: Depth,
    progress: &'p mut dyn Progress,
}

impl Pass<'_, '_> {
    /// Both relations, and that the target has what is recorded.
    fn both(&mut self) -> Result<(), ImportError> {
        let record = self.applier.record;
        self.relation::<MappingBatch>(Stage::Mappings)?;
        self.relation::<OutputBatch>(Stage::Outputs)?;
        if self.depth == Depth::New {
            return Ok(());
        }
        let healed = self.heal()?;
        if healed > 0 {
            self.applier.round.healed = healed;
            self.relation::<MappingBatch>(Stage::Mappings)?;
            self.relation::<OutputBatch>(Stage::Outputs)?;
            if self.heal()? > 0 {
                return Err(ImportError::Damaged {
                    path: self.sides.reference.path.clone(),
                    what: "it has a key twice, and can be imported but not followed; or \
                           somebody else writes to the target"
                        .to_owned(),
                });
            }
        }
        record.set_whole().map_err(record.failed())
    }

    fn heal(&mut self) -> Result<u64, ImportError> {
        Ok(self.applier.heal::<MappingBatch>()? + self.applier.heal::<OutputBatch>()?)
    }

    fn relation<B: Apply>(&mut self, stage: Stage) -> Result<(), ImportError> {
        let (keys, table) = match B::RELATION {
            Relation::Mappings => (&self.keys[0], self.sides.reference.tables.mapping_table()),
            Relation::Outputs => (&self.keys[1], self.sides.reference.tables.output_table()),
        };
        let after = match self.depth {
            Depth::New => {
                last_id(&self.sides.record, B::RELATION).map_err(self.applier.record.failed())?
            }
            Depth::All => i64::MIN,
        };
        let first = self
            .sides
            .reference
            .first_id(table)?
            .max(after.saturating_add(1));
        let last = self.sides.reference.last_id(table)?;
        let rows = last.saturating_sub(first).saturating_add(1).max(0);
        self.progress.begin(stage, rows.unsigned_abs());
        pipe(
            &mut self.sides,
            |sides, outlet| compare::<B>(sides, keys, after, outlet),
            |changes: Changes<B>| {
                self.applier.apply(&changes)?;
                advance(self.progress, changes.looked)
            },
        )
    }

    /// Users, the running collection, and numbers that were given away.
    fn others(&mut self, options: &crate::moving::ImportOptions<'_>) -> Result<(), ImportError> {
        let reference = &self.sides.reference;
        let mut report = begin_report(reference, Manner::Merged)?;
        let source = read_users(reference, &mut report)?;
        let sequence = reference.output_sequence()?;
        let conn = self.applier.conn;
        let changed = atomically(conn, || {
            run_collection(conn, report.mark.as_deref(), options.now)?;
            conn.execute(
                "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'outhash' AND seq < ?1",
                [sequence],
            )?;
            users::equal(conn, &source)
        });
        self.applier.round.users = changed.map_err(ImportError::target(self.applier.target))?;
        Ok(())
    }
}

/// The mark of the running collection.
fn running(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let running = Collections::load(conn, AT)?.running(conn)?;
    Ok(running.map(|(_, mark)| mark))
}

fn run_collection(
    conn: &Connection,
    mark: Option<&str>,
    now: fingerpost_core::Timestamp,
) -> rusqlite::Result<()> {
    if running(conn)?.as_deref() == mark {
        return Ok(());
    }
    match mark {
        Some(mark) => Collections::load(conn, AT)?.run(conn, mark, now),
        None => conn
            .execute(
                "UPDATE namespace SET collection = NULL WHERE id = ?1",
                [AT.0],
            )
            .map(drop),
    }
}

/// Counts what the target has.
pub(super) fn count(target: &Path, round: Round) -> Result<Finished, ImportError> {
    let conn = open(target)?;
    let counted = || {
        Ok(Finished {
            mappings: healing::count(&conn, Relation::Mappings)?,
            outputs: healing::count(&conn, Relation::Outputs)?,
            users: stored_users(&conn)?.len() as u64,
            mark: running(&conn)?,
            round,
        })
    };
    counted().map_err(ImportError::target(target))
}
