//! Fingerpost's own tables.

use fingerpost_core::{Clock as _, SystemClock};
use fingerpost_db::{Settings, prepare};
use fingerpost_hashequiv::sqlite::MIGRATIONS;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::keys::Keys;
use super::{FillArgs, in_bulk};

const INSERT_TASK: &str =
    "INSERT INTO task (id, namespace, method, taskhash) VALUES (?1, 1, ?2, ?3)";
const INSERT_UNIHASH: &str = "INSERT INTO unihash
    (task, namespace, unihash, sequence, created, used_day) VALUES (?1, 1, ?2, ?3, ?4, ?5)";
const INSERT_OUTHASH: &str = "INSERT INTO outhash
    (namespace, method, task, outhash, created) VALUES (1, ?1, ?2, ?3, ?4)";

pub(super) fn fill(args: &FillArgs, keys: Keys) -> anyhow::Result<()> {
    prepare(&Settings::new(&args.file), MIGRATIONS)?;
    let mut conn = Connection::open(&args.file)?;
    // Random hashes make every index slow to grow row by row and quick to
    // build at once.
    let indexes = indexes(&conn)?;
    for (name, _) in &indexes {
        conn.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    let method = method(&conn, &args.method)?;
    let first = last_task(&conn)? + 1;
    in_bulk(&mut conn, "Filling", args.rows, |conn, done| {
        insert(conn, args, keys, method, first, done)
    })?;
    for (_, sql) in &indexes {
        conn.execute_batch(sql)?;
    }
    conn.execute(
        "UPDATE namespace SET unihash_sequence = (SELECT max(sequence) FROM unihash)",
        [],
    )?;
    Ok(())
}

fn insert(
    conn: &Connection,
    args: &FillArgs,
    keys: Keys,
    method: i64,
    first: i64,
    done: &dyn Fn(u64),
) -> rusqlite::Result<()> {
    let now = SystemClock.now();
    let mut task = conn.prepare(INSERT_TASK)?;
    let mut unihash = conn.prepare(INSERT_UNIHASH)?;
    let mut outhash = conn.prepare(INSERT_OUTHASH)?;
    for (id, key) in (first..).zip(args.keys_in_order()) {
        task.execute(params![id, method, keys.taskhash(key)])?;
        unihash.execute(params![id, keys.unihash(key), id, now.0, now.day()])?;
        if args.outputs {
            outhash.execute(params![method, id, keys.outhash(key), now.0])?;
        }
        done((id - first + 1).unsigned_abs());
    }
    Ok(())
}

/// The indexes of the tables to fill: name and SQL.
fn indexes(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = conn.prepare(
        "SELECT name, sql FROM sqlite_schema
         WHERE type = 'index' AND tbl_name IN ('task', 'unihash', 'outhash') AND sql IS NOT NULL",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn method(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    let known = conn.query_row("SELECT id FROM method WHERE name = ?1", [name], |row| {
        row.get(0)
    });
    if let Some(id) = known.optional()? {
        return Ok(id);
    }
    conn.execute("INSERT INTO method (name) VALUES (?1)", [name])?;
    Ok(conn.last_insert_rowid())
}

fn last_task(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT ifnull(max(id), 0) FROM task", [], |row| row.get(0))
}
