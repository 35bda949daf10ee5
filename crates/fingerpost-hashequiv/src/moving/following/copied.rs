//! What a comparison needs of a database in PostgreSQL: everything that is short, and
//! of the relation O, whose rows are long, those that are not recorded.

use std::path::Path;

use fingerpost_db::postgres::ForeignSnapshot;
use rusqlite::{Connection, OptionalExtension as _};

use super::Depth;
use super::comparing::{OUTPUT_KEY, keys_of_outputs};
use super::record::Relation;
use super::seal::seal_of_output;
use crate::moving::import::begin_rows;
use crate::moving::postgres::{ADVANCE_ROWS, Copying, Found, failed, find, nameless};
use crate::moving::reference::Reference;
use crate::moving::{ImportError, Progress, Stage};

/// Rows that are asked for by their ids in one statement.
const ASKED_ROWS: usize = 500;

/// Copies it into a file without a name; gives the keys of the relation O besides.
pub(super) async fn copy_changes(
    snapshot: &mut ForeignSnapshot,
    depth: Depth,
    record: &Connection,
    directory: &Path,
    progress: &mut dyn Progress,
) -> Result<(Reference, String), ImportError> {
    let name = snapshot.target().into();
    let tables = find(snapshot).await?;
    let conn = nameless(directory)?;
    let rows = tables.iter().map(Found::rows);
    begin_rows(
        progress,
        Stage::Copying,
        (1, rows.fold(0, i64::saturating_add)),
    );
    let mut copying = Copying::new(&conn, directory, progress);
    let mut wanted = Vec::new();
    for found in &tables {
        let relation = match found.table.name {
            "unihashes_v3" | "unihashes_v2" => Some(Relation::Mappings),
            "outhashes_v2" => Some(Relation::Outputs),
            _ => None,
        };
        let condition = match (relation, depth) {
            (Some(relation), Depth::New) => {
                let last = last_id(record, relation).map_err(ImportError::target(directory))?;
                format!("WHERE id > {last}")
            }
            (Some(Relation::Outputs), Depth::All) => {
                wanted = copy_keys(snapshot, found, &mut copying, record).await?;
                "WHERE false".to_owned()
            }
            _ => String::new(),
        };
        copying.run(snapshot, found, &condition).await?;
        if relation == Some(Relation::Outputs) {
            for ids in wanted.chunks(ASKED_ROWS) {
                let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
                let condition = format!("WHERE id IN ({})", ids.join(", "));
                copying.add(snapshot, found, &condition).await?;
            }
        }
    }
    let reference = Reference::copied(conn, name)?;
    let keys = match depth {
        Depth::New => keys_of_outputs(&reference, false),
        Depth::All => "SELECT id, '', key FROM output_key WHERE id > ?1 ORDER BY id".to_owned(),
    };
    Ok((reference, keys))
}

/// The highest id that was recorded.
pub(super) fn last_id(record: &Connection, relation: Relation) -> rusqlite::Result<i64> {
    let sql = format!("SELECT max(id) FROM {}", relation.table());
    let last: Option<i64> = record.query_row(&sql, [], |row| row.get(0))?;
    Ok(last.unwrap_or(i64::MIN))
}

/// Copies id and key of every row of the relation O; gives the ids of those that are
/// not recorded like that.
async fn copy_keys(
    snapshot: &mut ForeignSnapshot,
    found: &Found,
    copying: &mut Copying<'_>,
    record: &Connection,
) -> Result<Vec<i64>, ImportError> {
    let refused = failed(snapshot);
    let conn = copying.conn;
    let written = ImportError::target(copying.directory);
    conn.execute_batch("CREATE TABLE output_key (id INTEGER PRIMARY KEY, key TEXT); BEGIN")
        .map_err(&written)?;
    let mut insert = conn
        .prepare("INSERT INTO output_key (id, key) VALUES (?1, ?2)")
        .map_err(&written)?;
    let mut known = record
        .prepare("SELECT seal FROM output WHERE id = ?1")
        .map_err(&written)?;
    let (mut wanted, mut copied) = (Vec::new(), 0_u64);
    let select = format!("SELECT id::int8, {OUTPUT_KEY} FROM outhashes_v2 ORDER BY id");
    let mut rows = snapshot.walk(&select).await.map_err(&refused)?;
    while let Some(row) = rows.next().await.map_err(&refused)? {
        let id = row.number(0).map_err(&refused)?.unwrap_or_default();
        let key = row.text(1).map_err(&refused)?;
        let value = key.map(String::from_utf8_lossy);
        insert.execute((id, value)).map_err(&written)?;
        let seal: Option<i64> = known
            .query_row([id], |row| row.get(0))
            .optional()
            .map_err(&written)?;
        if seal != Some(seal_of_output(key).content) {
            wanted.push(id);
        }
        copied += 1;
        if copied.is_multiple_of(ADVANCE_ROWS) {
            copying.tell(found, id)?;
        }
    }
    conn.execute_batch("COMMIT").map_err(&written)?;
    Ok(wanted)
}
