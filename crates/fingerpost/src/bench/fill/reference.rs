//! The tables of BitBake's own server, as importers meet them.

use anyhow::Context as _;
use fingerpost_hashequiv_proto::types::encode_hex;
use rusqlite::{Connection, params};

use super::super::keys::Keys;
use super::{FillArgs, Siginfo, in_bulk};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS unihashes_v3 (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        method TEXT NOT NULL, taskhash TEXT NOT NULL, unihash TEXT NOT NULL, gc_mark TEXT NOT NULL,
        UNIQUE (method, taskhash));
    CREATE TABLE IF NOT EXISTS outhashes_v2 (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        method TEXT NOT NULL, taskhash TEXT NOT NULL, outhash TEXT NOT NULL, created DATETIME,
        owner TEXT, PN TEXT, PV TEXT, PR TEXT, task TEXT, outhash_siginfo TEXT,
        UNIQUE (method, taskhash, outhash));
    CREATE TABLE IF NOT EXISTS users (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        username TEXT NOT NULL, token TEXT NOT NULL, permissions TEXT NOT NULL, UNIQUE (username));
    CREATE TABLE IF NOT EXISTS config (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, value TEXT, UNIQUE (name));
";
const INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS taskhash_lookup_v4 ON unihashes_v3 (method, taskhash);
    CREATE INDEX IF NOT EXISTS unihash_lookup_v1 ON unihashes_v3 (unihash);
    CREATE INDEX IF NOT EXISTS outhash_lookup_v3 ON outhashes_v2 (method, outhash);
    CREATE INDEX IF NOT EXISTS config_lookup ON config (name);
";
const INSERT_UNIHASH: &str =
    "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark) VALUES (?1, ?2, ?3, '')";
const INSERT_OUTHASH: &str = "INSERT INTO outhashes_v2
    (method, taskhash, outhash, created, owner, PN, PV, PR, task, outhash_siginfo)
    VALUES (?1, ?2, ?3, ?4, 'builder', ?5, '1.0', 'r0', 'do_package', ?6)";

pub(super) fn fill(args: &FillArgs, keys: Keys, siginfo: Option<&Siginfo>) -> anyhow::Result<()> {
    let mut conn = Connection::open(&args.file)
        .with_context(|| format!("cannot open {}", args.file.display()))?;
    conn.execute_batch(TABLES)?;
    in_bulk(
        &mut conn,
        "Filling unihashes_v3",
        args.rows,
        |conn, done| {
            let mut statement = conn.prepare(INSERT_UNIHASH)?;
            for (count, key) in (1..).zip(args.keys_in_order()) {
                statement.execute(params![
                    args.method,
                    hex(keys.taskhash(key)),
                    hex(keys.unihash(key))
                ])?;
                done(count);
            }
            Ok(())
        },
    )?;
    if args.outputs {
        in_bulk(
            &mut conn,
            "Filling outhashes_v2",
            args.rows,
            |conn, done| insert_outputs(conn, args, keys, siginfo, done),
        )?;
    }
    conn.execute_batch(INDEXES)?;
    Ok(())
}

fn insert_outputs(
    conn: &Connection,
    args: &FillArgs,
    keys: Keys,
    siginfo: Option<&Siginfo>,
    done: &dyn Fn(u64),
) -> rusqlite::Result<()> {
    let mut statement = conn.prepare(INSERT_OUTHASH)?;
    for (count, key) in (1_u64..).zip(args.keys_in_order()) {
        let text = siginfo.map(|siginfo| siginfo.text(key));
        statement.execute(params![
            args.method,
            hex(keys.taskhash(key)),
            hex(keys.outhash(key)),
            created(count),
            format!("recipe-{}", key % 5000),
            text,
        ])?;
        done(count);
    }
    Ok(())
}

/// A time of day that rises with the row, all in one day and microseconds.
fn created(count: u64) -> String {
    let (second, micro) = (count / 1_000_000, count % 1_000_000);
    let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
    format!(
        "2026-01-01T{hour:02}:{minute:02}:{:02}.{micro:06}+00:00",
        second % 60
    )
}

fn hex(hash: [u8; 32]) -> String {
    encode_hex(&hash).iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_rises_and_keeps_its_form() {
        assert_eq!(created(1), "2026-01-01T00:00:00.000001+00:00");
        assert_eq!(created(61_000_002), "2026-01-01T00:01:01.000002+00:00");
    }
}
