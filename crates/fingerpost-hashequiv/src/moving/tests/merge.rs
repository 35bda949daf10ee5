//! Into databases that exist.

use fingerpost_db::Settings;

use super::fixture::{Farm, OPTIONS, hash, listing, mappings, number, outputs};
use crate::moving::{ImportError, Manner, Silent, import};
use crate::sqlite::MIGRATIONS;

#[test]
fn rows_of_the_target_stay() {
    let farm = Farm::current();
    farm.builds(0..40);
    farm.run(
        "INSERT INTO users (username, token, permissions) VALUES ('bob', 'sha256:a:b', '@all')",
        &[],
    );
    farm.import();
    farm.run("UPDATE unihashes_v3 SET unihash = ?", &[&hash("u", 999)]);
    farm.run("UPDATE users SET token = 'sha256:c:d'", &[]);
    farm.builds(40..100);

    let report = farm.import();
    assert_eq!(report.manner, Manner::Merged);
    assert_eq!(
        (
            report.mappings.read,
            report.mappings.added,
            report.mappings.present
        ),
        (100, 60, 40)
    );
    assert_eq!((report.outputs.added, report.outputs.present), (60, 40));
    assert_eq!((report.users.added, report.users.present), (0, 1));
    let conn = farm.imported();
    let replaced = mappings(&conn)
        .iter()
        .filter(|[_, _, unihash, _]| *unihash == hash("u", 999))
        .count();
    assert_eq!((mappings(&conn).len(), replaced), (100, 0));
    assert_eq!(outputs(&conn).len(), 100);
    assert_eq!(
        number(
            &conn,
            "SELECT count(*) FROM user WHERE token = 'sha256:a:b'"
        ),
        1
    );
    assert_eq!(number(&conn, "SELECT unihash_sequence FROM namespace"), 100);
    // Later listings of a recipe are stored against the base that was there.
    assert_eq!(
        number(&conn, "SELECT count(*) FROM siginfo WHERE base IS NULL"),
        10
    );

    let again = farm.import();
    assert_eq!((again.mappings.added, again.outputs.added), (0, 0));
}

#[test]
fn an_empty_target_takes_everything() {
    let farm = Farm::current();
    farm.builds(0..30);
    fingerpost_db::prepare(&Settings::new(farm.target()), MIGRATIONS).unwrap();
    let report = farm.import();
    assert_eq!(report.manner, Manner::Merged);
    let conn = farm.imported();
    assert_eq!((mappings(&conn).len(), outputs(&conn).len()), (30, 30));
    let texts: Vec<i64> = (0..30)
        .map(|number| {
            let digest = crate::siginfo::Digest::of(listing(number).as_bytes());
            conn.query_row(
                "SELECT count(*) FROM siginfo WHERE digest = ?1",
                [digest.0],
                |row| row.get(0),
            )
            .unwrap()
        })
        .collect();
    assert_eq!(texts, [1; 30]);
}

#[test]
fn new_rows_belong_to_the_collection_that_runs() {
    let farm = Farm::current();
    farm.run(
        "INSERT INTO config (name, value) VALUES ('gc-mark', 'theirs')",
        &[],
    );
    farm.mapping("m", "t", &hash("u", 1), "theirs");
    farm.import();
    let conn = farm.imported();
    conn.execute_batch(
        "INSERT INTO collection (id, namespace, mark, started) VALUES (50, 1, 'ours', 0);
         UPDATE namespace SET collection = 50;",
    )
    .unwrap();
    drop(conn);
    farm.mapping("m", "t2", &hash("u", 2), "");
    let report = farm.import();
    assert_eq!(report.mark, None);
    assert!(report.notes[0].contains("\"theirs\""));
    let marks: Vec<String> = mappings(&farm.imported())
        .into_iter()
        .map(|[.., mark]| mark)
        .collect();
    assert_eq!(marks, ["theirs", "ours"]);
}

#[test]
fn marks_set_since_an_earlier_import_follow() {
    let farm = Farm::current();
    farm.run(
        "INSERT INTO config (name, value) VALUES ('gc-mark', 'K')",
        &[],
    );
    farm.mapping("m", "t1", &hash("u", 1), "");
    farm.mapping("m", "t2", &hash("u", 2), "");
    farm.import();
    farm.run(
        "UPDATE unihashes_v3 SET gc_mark = 'K' WHERE taskhash = 't2'",
        &[],
    );
    let report = farm.import();
    assert_eq!(
        (report.mark.as_deref(), report.mappings.present),
        (Some("K"), 2)
    );
    assert!(report.notes.is_empty());
    let marks: Vec<String> = mappings(&farm.imported())
        .into_iter()
        .map(|[.., mark]| mark)
        .collect();
    assert_eq!(marks, ["", "K"]);
}

#[test]
fn a_reference_database_is_no_target() {
    let farm = Farm::current();
    let other = Farm::current();
    let into = |path: std::path::PathBuf| import(&farm.source(), &path, &OPTIONS, &mut Silent);
    assert!(matches!(into(other.source()), Err(ImportError::Open(_))));
    assert!(matches!(
        into(farm.source()),
        Err(ImportError::Itself { .. })
    ));
}
