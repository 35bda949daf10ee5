use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tempfile::TempDir;

use super::*;

fn open(disk: &FaultDisk, path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags_and_vfs(path, OpenFlags::default(), disk.vfs_name())?;
    connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, filler BLOB)")?;
    Ok(connection)
}

/// Inserts until the power goes; gives the number of the last row that SQLite
/// called committed.
fn insert_until_cut(connection: &Connection) -> i64 {
    let mut committed = 0;
    while connection
        .execute(
            "INSERT INTO t VALUES (?1, randomblob(900))",
            [committed + 1],
        )
        .is_ok()
    {
        committed += 1;
        if committed % 7 == 0 {
            // May fail with the power; the next insertion shows it.
            _ = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        }
    }
    committed
}

fn last_row(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT ifnull(max(n), 0) FROM t", [], |row| row.get(0))
}

/// Inserts, cuts the power, opens again. Whether all that was committed is
/// there, in a database that is whole.
fn survives(synchronous: &str, lying: bool, operations: u64, survival: Survival) -> bool {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("t.db");
    let disk = FaultDisk::register();
    disk.set_lying(lying);
    let connection = open(&disk, &path, synchronous).unwrap();
    disk.cut_power_after(operations, survival);
    let committed = insert_until_cut(&connection);
    drop(connection);
    disk.power_on().unwrap();
    let found = open(&disk, &path, "FULL").and_then(|connection| {
        let report: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        Ok((report, last_row(&connection)?))
    });
    // Without syncs the database may be malformed: that is a loss, too.
    found.is_ok_and(|(report, found)| report == "ok" && found >= committed)
}

/// How many of `rounds` power cuts, at ever later moments, cost a committed row.
fn losses(synchronous: &str, lying: bool, rounds: u64) -> usize {
    (0..rounds)
        .filter(|&round| {
            let survival = match round % 2 {
                0 => Survival::Nothing,
                _ => Survival::Some(round),
            };
            !survives(synchronous, lying, 1 + round * 3, survival)
        })
        .count()
}

#[test]
fn committed_rows_survive_a_power_cut_when_they_are_synced() {
    assert_eq!(losses("FULL", false, 60), 0);
}

#[test]
fn committed_rows_are_lost_when_nothing_is_synced() {
    assert!(losses("OFF", false, 20) > 10);
}

#[test]
fn a_drive_that_lies_about_syncs_loses_committed_rows() {
    assert!(losses("FULL", true, 20) > 10);
}

#[test]
fn without_power_nothing_works_until_every_file_is_closed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("t.db");
    let disk = FaultDisk::register();
    let connection = open(&disk, &path, "FULL").unwrap();
    disk.cut_power(Survival::Nothing);
    assert!(!disk.is_powered());
    assert!(
        connection
            .execute("INSERT INTO t VALUES (1, NULL)", [])
            .is_err()
    );
    assert!(open(&disk, &path, "FULL").is_err());
    assert!(disk.power_on().unwrap_err() >= 1);
    drop(connection);
    disk.power_on().unwrap();
    open(&disk, &path, "FULL").unwrap();
    assert_eq!(disk.counters().cuts, 1);
}

#[test]
fn a_full_drive_refuses_growth_and_takes_writes_again_with_room() {
    let directory = TempDir::new().unwrap();
    let disk = FaultDisk::register();
    let connection = open(&disk, &directory.path().join("t.db"), "FULL").unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    let error = connection
        .execute("INSERT INTO t VALUES (1, randomblob(90000))", [])
        .unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
    assert_eq!(last_row(&connection).unwrap(), 0);
    disk.set_capacity(None);
    connection
        .execute("INSERT INTO t VALUES (1, randomblob(90000))", [])
        .unwrap();
    assert!(disk.used_bytes() > 90_000);
}

#[test]
fn injected_errors_stop_when_they_are_healed() {
    let directory = TempDir::new().unwrap();
    let disk = FaultDisk::register();
    let connection = open(&disk, &directory.path().join("t.db"), "FULL").unwrap();
    for (on, kind, code) in [
        (Operation::Sync, FaultKind::Io, ErrorCode::SystemIoFailure),
        (Operation::Write, FaultKind::Full, ErrorCode::DiskFull),
    ] {
        disk.inject(Some(Fault {
            on,
            kind,
            one_in: 1,
        }));
        let error = connection
            .execute("INSERT INTO t VALUES (1, NULL)", [])
            .unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(code));
    }
    assert!(disk.counters().faults >= 2);
    disk.inject(None);
    connection
        .execute("INSERT INTO t VALUES (1, NULL)", [])
        .unwrap();
}

#[test]
fn connections_share_a_database_in_wal_mode() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("t.db");
    let disk = FaultDisk::register();
    let writer = open(&disk, &path, "FULL").unwrap();
    let reader = open(&disk, &path, "FULL").unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    writer
        .execute("INSERT INTO t VALUES (1, NULL)", [])
        .unwrap();
    assert_eq!(last_row(&reader).unwrap(), 0);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(last_row(&reader).unwrap(), 1);
    assert!(disk.counters().syncs > 0);
}
