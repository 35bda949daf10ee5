//! Rows of the relation O in the order of their age.
//!
//! Who is oldest decides over equivalence, and for the reference that is the
//! least `created`, compared as text; for us it is the least id. Nearly always
//! the ids are in that order, and stay. Otherwise they are dealt out again: the
//! oldest row gets the least id, and so on.

use std::fs::File;
use std::io;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value};

use super::row_file::{PendingRow, RowFile, RowReader, read_at};
use crate::created::Created;
use crate::moving::ImportError;
use crate::moving::work::{Work, with_suffix};

/// Page cache of the sorter.
const CACHE_KIB: u32 = 32 << 10;

/// Sorts the file of rows unless it is in order.
pub(super) fn sort(work: &mut Work) -> Result<(), ImportError> {
    if work.checkpoint.rows_in_order {
        return Ok(());
    }
    let path = work.rows_path();
    let sorted = with_suffix(&path, "-sorted");
    sort_file(&path, &sorted, work.checkpoint.rows_bytes).map_err(ImportError::io(&path))?;
    // Sorting a sorted file changes nothing: a kill between these two is harmless.
    std::fs::rename(&sorted, &path).map_err(ImportError::io(&sorted))?;
    work.checkpoint.rows_in_order = true;
    work.begin()
        .and_then(|()| work.commit())
        .map_err(work.failed())
}

/// Writes the rows of `path` to `sorted`, by (created, id).
fn sort_file(path: &Path, sorted: &Path, bytes: u64) -> io::Result<()> {
    // Without a name: a scratch database that SQLite removes.
    let conn = Connection::open("").map_err(io::Error::other)?;
    note_places(&conn, path, bytes).map_err(io::Error::other)??;
    let mut ids = RowReader::open(path, bytes)?;
    let rows = File::open(path)?;
    let mut out = RowFile::open(sorted, 0)?;
    let mut next = |offset: u64| -> io::Result<()> {
        let mut row = read_at(&rows, offset)?;
        if let Some((_, next)) = ids.next()? {
            row.id = next.id;
        }
        out.append(&row)
    };
    let mut each = || -> rusqlite::Result<io::Result<()>> {
        let mut statement = conn.prepare("SELECT place FROM row ORDER BY created, place")?;
        let mut places = statement.query([])?;
        while let Some(place) = places.next()? {
            if let Err(error) = next(place.get(0)?) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    };
    each().map_err(io::Error::other)??;
    out.flush().map(drop)
}

/// Fills the scratch database with the time and place of every row.
fn note_places(conn: &Connection, path: &Path, bytes: u64) -> rusqlite::Result<io::Result<()>> {
    conn.execute_batch(&format!(
        "PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA journal_mode = OFF;
         CREATE TABLE row (created, place INTEGER NOT NULL);
         BEGIN;"
    ))?;
    let mut insert = conn.prepare("INSERT INTO row (created, place) VALUES (?1, ?2)")?;
    let mut reader = match RowReader::open(path, bytes) {
        Ok(reader) => reader,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        match reader.next() {
            Ok(Some((place, row))) => insert.execute((created(row), place))?,
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        };
    }
    conn.execute_batch("COMMIT")?;
    Ok(Ok(()))
}

/// The value that the source had.
fn created(row: PendingRow) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(match row.created {
        Created::Never => Value::Null,
        Created::At(moment) => Value::Text(moment.to_python_iso()),
        Created::Text(text) if row.created_is_number => {
            Value::Real(text.parse().unwrap_or(f64::NEG_INFINITY))
        }
        Created::Text(text) => Value::Text(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::MethodId;
    use fingerpost_hashequiv_proto::types::{Outhash, Taskhash};

    #[test]
    fn sorting_twice_is_sorting_once() {
        let directory = tempfile::tempdir().unwrap();
        let [path, sorted, again] = ["a", "b", "c"].map(|name| directory.path().join(name));
        let mut file = RowFile::open(&path, 0).unwrap();
        for (id, created, created_is_number) in [
            (
                10,
                Created::from_text(Some("2026-01-01T00:00:00+00:00")),
                false,
            ),
            (20, Created::Text("2026-01-01 09:00:00".into()), false),
            (30, Created::Text("7".into()), true),
            (
                40,
                Created::from_text(Some("2026-01-01T00:00:00+00:00")),
                false,
            ),
            (50, Created::Never, false),
            (60, Created::Text("11".into()), true),
        ] {
            let row = PendingRow {
                id,
                method: MethodId(1),
                metadata: None,
                siginfo: None,
                created,
                created_is_number,
                taskhash: Taskhash::parse("t"),
                outhash: Outhash::parse(&id.to_string()),
            };
            file.append(&row).unwrap();
        }
        let bytes = file.flush().unwrap();
        let order = |path: &Path| {
            let mut reader = RowReader::open(path, bytes).unwrap();
            std::iter::from_fn(|| reader.next().unwrap())
                .map(|(_, row)| (row.id, row.outhash.to_text()))
                .collect::<Vec<_>>()
        };
        let expected = [
            (10, "50"),
            (20, "30"),
            (30, "60"),
            (40, "20"),
            (50, "10"),
            (60, "40"),
        ];
        let expected = expected.map(|(id, outhash)| (id, outhash.to_owned()));
        sort_file(&path, &sorted, bytes).unwrap();
        assert_eq!(order(&sorted), expected);
        sort_file(&sorted, &again, bytes).unwrap();
        assert_eq!(order(&again), expected);
    }
}
