//! What a fresh target looks like.

use fingerpost_db::{Settings, Sqlite};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash};

use super::fixture::{Farm, OPTIONS, StopAfter, hash, listing, mappings, number, outputs};
use crate::moving::{ImportOptions, Manner, Silent, Stage};
use crate::sqlite::MIGRATIONS;

#[test]
fn everything_is_there_and_the_file_is_as_if_made_by_the_server() {
    let farm = Farm::current();
    farm.builds(0..2000);
    let report = farm.import();
    assert_eq!((report.manner, report.resumed), (Manner::Fresh, false));
    assert_eq!((report.mappings.added, report.outputs.added), (2000, 2000));
    assert_eq!((report.listings.read, report.listings.stored), (2000, 2000));
    assert!(report.listings.stored_bytes * 4 < report.listings.text_bytes);
    assert!(report.oddities().is_empty());

    let empty = farm.path("empty.db");
    fingerpost_db::prepare(&Settings::new(&empty), MIGRATIONS).unwrap();
    let empty = rusqlite::Connection::open(empty).unwrap();
    let conn = farm.imported();
    for sql in [
        "SELECT group_concat(type || name || ifnull(sql, ''), char(10) ORDER BY name) FROM sqlite_master",
        "PRAGMA application_id",
        "PRAGMA journal_mode",
        "PRAGMA auto_vacuum",
        "PRAGMA page_size",
    ] {
        let of = |conn: &rusqlite::Connection| super::fixture::rows(conn, sql);
        assert_eq!(of(&conn), of(&empty), "{sql}");
    }
    assert_eq!(
        number(&conn, "SELECT unihash_sequence FROM namespace"),
        2000
    );
    assert_eq!(
        number(&conn, "SELECT count(*) FROM siginfo WHERE base IS NULL"),
        10
    );
    assert!(farm.files().iter().all(|name| !name.contains("importing")));
}

#[test]
fn ids_stay_when_they_are_in_order() {
    let farm = Farm::current();
    for id in [3, 7, 8] {
        farm.run(
            "INSERT INTO outhashes_v2 (id, method, taskhash, outhash, created)
                 VALUES (?, 'm', 't', ?, '2026-01-01T00:00:00+00:00')",
            &[&id, &format!("o{id}")],
        );
    }
    farm.run("DELETE FROM outhashes_v2 WHERE id = 8", &[]);
    farm.import();
    let conn = farm.imported();
    let ids: Vec<i64> = outputs(&conn).into_iter().map(|row| row.0).collect();
    assert_eq!(ids, [3, 7]);
    // A number that was given away is not given again.
    assert_eq!(
        number(
            &conn,
            "SELECT seq FROM sqlite_sequence WHERE name = 'outhash'"
        ),
        8
    );
}

#[test]
fn the_oldest_by_created_gets_the_lowest_id() {
    let farm = Farm::current();
    // Local time of an old server sorts before, and so does no time at all.
    for (outhash, created) in [
        ("a", Some("2026-01-01T00:00:00+00:00")),
        ("b", Some("2026-01-01 09:00:00")),
        ("c", None),
        ("d", Some("2026-01-01T00:00:00+00:00")),
    ] {
        farm.run(
            "INSERT INTO outhashes_v2 (id, method, taskhash, outhash, created)
                 VALUES ((SELECT ifnull(max(id), 0) + 10 FROM outhashes_v2), 'm', 't', ?, ?)",
            &[&outhash, &created],
        );
    }
    farm.import();
    let rows: Vec<(i64, String)> = outputs(&farm.imported())
        .into_iter()
        .map(|row| (row.0, row.3))
        .collect();
    let expected =
        [(10, "c"), (20, "b"), (30, "a"), (40, "d")].map(|(id, text)| (id, text.to_owned()));
    assert_eq!(rows, expected);
}

#[test]
fn outputs_without_a_unihash_get_tasks_of_their_own() {
    let farm = Farm::current();
    farm.mapping("m", &hash("t", 1), &hash("u", 1), "");
    for (task, output) in [(2, 1), (1, 1), (2, 2), (3, 3)] {
        farm.output(
            "m",
            &hash("t", task),
            &hash("o", output),
            "2026-01-01T00:00:00+00:00",
        );
    }
    farm.output(
        "other",
        &hash("t", 1),
        &hash("o", 1),
        "2026-01-01T00:00:00+00:00",
    );
    farm.import();
    let conn = farm.imported();
    assert_eq!(mappings(&conn).len(), 1);
    assert_eq!(outputs(&conn).len(), 5);
    assert_eq!(number(&conn, "SELECT count(*) FROM task"), 4);
    assert_eq!(
        number(
            &conn,
            "SELECT count(*) FROM outhash JOIN task ON task.id = outhash.task
                        WHERE task.method <> outhash.method"
        ),
        0
    );
}

#[test]
fn an_empty_database_is_imported() {
    let farm = Farm::current();
    let report = farm.import();
    assert_eq!((report.mappings.read, report.outputs.read), (0, 0));
    assert!(mappings(&farm.imported()).is_empty());
}

#[test]
fn a_dry_run_writes_nothing() {
    let farm = Farm::current();
    farm.builds(0..50);
    farm.mapping("m", "t", "odd", "");
    let before = farm.files();
    let options = ImportOptions {
        dry_run: true,
        drop_invalid_unihashes: true,
        ..OPTIONS
    };
    let report = farm.import_with(&options, &mut Silent).unwrap();
    assert_eq!(report.manner, Manner::DryRun);
    assert_eq!((report.mappings.read, report.mappings.added), (51, 50));
    assert_eq!((report.invalid_unihashes, report.outputs.added), (1, 50));
    assert_eq!(report.listings.read, 50);
    assert_eq!(farm.files(), before);
}

#[test]
fn stages_are_told_in_order() {
    let farm = Farm::current();
    farm.builds(0..10);
    let mut progress = StopAfter::calls(u32::MAX);
    farm.import_with(&OPTIONS, &mut progress).unwrap();
    let expected = [
        Stage::Mappings,
        Stage::Outputs,
        Stage::Matching,
        Stage::Placing,
        Stage::Indexes,
        Stage::Syncing,
    ];
    assert_eq!(progress.stages, expected);
}

#[tokio::test]
async fn the_service_answers_from_an_imported_file() {
    use crate::store::{Store as _, Task};

    let farm = Farm::current();
    farm.builds(0..20);
    farm.import();
    let db = Sqlite::open(Settings::new(farm.target()), MIGRATIONS).unwrap();
    let cache = std::sync::Arc::new(crate::cache::UnihashCache::new(1 << 20));
    let store = crate::sqlite::SqliteStore::new(
        db,
        cache,
        Default::default(),
        std::sync::Arc::new(fingerpost_core::SystemClock),
    )
    .await
    .unwrap();
    let task = Task {
        method: Method::new("TestMethod"),
        taskhash: Taskhash::parse(&hash("t", 6)),
    };
    let at = crate::namespace::Chain::only(crate::namespace::NamespaceId::DEFAULT);
    let row = store.output_of_task(&at, task).await.unwrap().unwrap();
    assert_eq!(row.id, 7);
    assert_eq!(row.outhash, Outhash::parse(&hash("o", 6)));
    assert_eq!(row.siginfo, Some(listing(6)));
    assert_eq!(row.metadata.owner.as_deref(), Some("me"));
    assert_eq!(row.unihash.unwrap().0.to_text(), hash("u", 6));
}
