//! There and back again.

use std::path::Path;

use fingerpost_core::Timestamp;
use fingerpost_db::{Settings, Sqlite};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};
use rusqlite::Connection;

use super::fixture::{Farm, StopAfter, hash, listing, rows};
use crate::moving::{ExportError, ExportReport, Silent, export};
use crate::namespace::DEFAULT_NAMESPACE;
use crate::sqlite::MIGRATIONS;

const MAPPINGS: &str =
    "SELECT method, taskhash, unihash, gc_mark FROM unihashes_v3 ORDER BY method, taskhash";
const OUTPUTS: &str = "SELECT id, method, taskhash, outhash, created, owner, PN, PV, PR, task,
    outhash_siginfo FROM outhashes_v2 ORDER BY id";
const USERS: &str = "SELECT username, token, permissions FROM users ORDER BY username";
const CONFIG: &str = "SELECT name, value FROM config";

/// A database with every oddity that the reference itself can have made.
fn odd_farm() -> Farm {
    let farm = Farm::current();
    farm.builds(0..200);
    farm.mapping("m", "odd task", "odd unihash", "K");
    farm.mapping("m ö", &hash("t", 500), &hash("u", 500), "older");
    farm.mapping("equivalent only", &hash("t", 501), &hash("u", 501), "K");
    farm.output(
        "m",
        "odd task",
        "odd output",
        "2026-05-01T12:30:00.100000+00:00",
    );
    farm.output("m", "no unihash", "o", "2027-05-01 12:30:00");
    farm.run(
        "INSERT INTO outhashes_v2 (method, taskhash, outhash, created, PN, outhash_siginfo)
        VALUES ('m', 'x', 'y', 'tomorrow', '', '')",
        &[],
    );
    farm.run(
        "INSERT INTO config (name, value) VALUES ('gc-mark', 'K')",
        &[],
    );
    for user in ["bob", "admin", "Émile"] {
        farm.run(
            "INSERT INTO users (username, token, permissions) VALUES (?, 'sha256:0011:abcd', '@read @report')",
            &[&user],
        );
    }
    farm
}

fn exported(farm: &Farm, to: &str) -> (ExportReport, Connection) {
    let to = farm.path(to);
    let report = export(&farm.target(), &to, DEFAULT_NAMESPACE, &mut Silent).unwrap();
    let conn = Connection::open(to).unwrap();
    let check: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    (report, conn)
}

#[test]
fn what_was_imported_comes_back_equal() {
    let farm = odd_farm();
    farm.import();
    let (report, back) = exported(&farm, "back.db");
    for sql in [MAPPINGS, OUTPUTS, USERS, CONFIG] {
        assert_eq!(rows(&back, sql), rows(&farm.conn, sql), "{sql}");
    }
    assert_eq!(
        (report.mappings, report.outputs, report.users),
        (203, 203, 3)
    );
    assert_eq!(report.mark.as_deref(), Some("K"));
}

#[test]
fn the_schema_is_the_reference_s() {
    let farm = odd_farm();
    farm.import();
    let (_, back) = exported(&farm, "back.db");
    let names = "SELECT type, name, tbl_name, sql IS NULL FROM sqlite_master ORDER BY name";
    assert_eq!(rows(&back, names), rows(&farm.conn, names));
    for table in ["unihashes_v3", "outhashes_v2", "users", "config"] {
        let columns = format!("SELECT * FROM pragma_table_info('{table}')");
        assert_eq!(rows(&back, &columns), rows(&farm.conn, &columns));
    }
    assert_eq!(rows(&back, "PRAGMA journal_mode"), ["Text(\"wal\")"]);
}

#[test]
fn what_was_exported_can_be_imported_again() {
    let farm = odd_farm();
    farm.import();
    exported(&farm, "back.db");
    let again = farm.path("again.fingerpost");
    crate::moving::import(
        &farm.path("back.db"),
        &again,
        &super::fixture::OPTIONS,
        &mut Silent,
    )
    .unwrap();
    let to = farm.path("again.db");
    export(&again, &to, DEFAULT_NAMESPACE, &mut Silent).unwrap();
    let conn = Connection::open(to).unwrap();
    for sql in [MAPPINGS, OUTPUTS, USERS, CONFIG] {
        assert_eq!(rows(&conn, sql), rows(&farm.conn, sql), "{sql}");
    }
}

#[tokio::test]
async fn reports_served_after_an_import_are_exported_too() {
    let farm = odd_farm();
    farm.import();
    serve_reports(&farm.target()).await;
    let (report, back) = exported(&farm, "back.db");
    assert_eq!((report.mappings, report.outputs), (213, 213));
    // What was there before has not changed.
    let before = rows(&farm.conn, OUTPUTS);
    assert_eq!(rows(&back, OUTPUTS)[..before.len()], before);
    // The reports agree with an output from before the import.
    let equivalent = format!(
        "SELECT count(*) FROM unihashes_v3 WHERE unihash = '{}'",
        hash("u", 2)
    );
    assert_eq!(rows(&back, &equivalent), ["Integer(11)"]);
    let newest = "SELECT created, PN, outhash_siginfo FROM outhashes_v2 ORDER BY id DESC LIMIT 1";
    let expected = format!(
        "Text(\"2027-01-15T08:00:00.000009+00:00\") Text(\"recipe-2\") {}",
        hash(&listing(909), 0)
    );
    assert_eq!(rows(&back, newest), [expected]);
}

/// Ten other tasks report the output of build 2, through the service.
async fn serve_reports(path: &Path) {
    use crate::store::{Metadata, Report, Store as _, Task};

    let db = Sqlite::open(Settings::new(path), MIGRATIONS).unwrap();
    let cache = std::sync::Arc::new(crate::cache::UnihashCache::new(1 << 20));
    let store = crate::sqlite::SqliteStore::new(
        db.clone(),
        cache,
        Default::default(),
        std::sync::Arc::new(fingerpost_core::SystemClock),
    )
    .await
    .unwrap();
    let at = crate::namespace::Chain::only(crate::namespace::NamespaceId::DEFAULT);
    for number in 0..10 {
        let report = Report {
            task: Task {
                method: Method::new("TestMethod"),
                taskhash: Taskhash::parse(&hash("later", number)),
            },
            outhash: Some(Outhash::parse(&hash("o", 2))),
            proposed: Unihash::parse(&hash("own", number)),
            upstream: None,
            metadata: Metadata {
                pn: Some("recipe-2".to_owned()),
                task: Some("package".to_owned()),
                ..Metadata::default()
            },
            siginfo: Some(listing(900 + number)),
            now: Timestamp(super::fixture::NOW.0 + i64::from(number)),
        };
        store.report(&at, report).await.unwrap();
    }
    drop(store);
    db.close().await;
}

#[test]
fn nothing_is_replaced_and_nothing_is_left_of_a_stopped_export() {
    let farm = odd_farm();
    farm.import();
    let (target, source, back) = (farm.target(), farm.source(), farm.path("back.db"));
    let refused = export(&target, &source, DEFAULT_NAMESPACE, &mut Silent);
    assert!(matches!(refused, Err(ExportError::Exists { .. })));
    let before = farm.files();
    let stopped = export(&target, &back, DEFAULT_NAMESPACE, &mut StopAfter::calls(1));
    assert!(matches!(stopped, Err(ExportError::Interrupted)));
    let no_source = export(&source, &back, DEFAULT_NAMESPACE, &mut Silent);
    assert!(matches!(no_source, Err(ExportError::Open(_))));
    let after: Vec<String> = farm.files();
    let kept = |name: &&String| !name.contains("-wal") && !name.contains("-shm");
    assert!(
        after.iter().filter(kept).eq(before.iter().filter(kept)),
        "{after:?}"
    );
}

#[test]
fn a_damaged_listing_costs_the_listing_only() {
    let farm = odd_farm();
    farm.import();
    let conn = Connection::open(farm.target()).unwrap();
    conn.execute_batch(
        "UPDATE siginfo SET data = x'00' WHERE id = (SELECT siginfo FROM outhash WHERE id = 60)",
    )
    .unwrap();
    drop(conn);
    let (report, back) = exported(&farm, "back.db");
    assert_eq!(report.damaged, [60]);
    assert_eq!(
        rows(&back, "SELECT count(*) FROM outhashes_v2"),
        ["Integer(203)"]
    );
}
