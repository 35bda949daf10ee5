//! What cannot be taken, or only in an unusual form.

use super::fixture::{Farm, OPTIONS, hash, mappings, number, outputs};
use crate::moving::{ImportOptions, Silent};

#[test]
fn created_texts_come_back_exactly() {
    let farm = Farm::current();
    let texts = [
        None,
        Some("1999-12-31T23:59:59.999999+00:00"),
        Some("2024-05-01 12:30:00.123456"),
        Some("2026-11-22T04:41:07+00:00"),
        Some("2026-11-22T04:41:07.000000+00:00"),
        Some("2026-11-22T04:41:07.123456"),
        Some("2026-11-22T04:41:07.123456+00:00"),
        Some("2026-11-22T04:41:07.123456+02:00"),
        Some("2026-13-45T99:99:99+00:00"),
        Some("yesterday"),
    ];
    for (number, created) in texts.iter().enumerate() {
        farm.run(
            "INSERT INTO outhashes_v2 (method, taskhash, outhash, created) VALUES ('m', 't', ?, ?)",
            &[&format!("{number}"), created],
        );
    }
    farm.import();
    let conn = farm.imported();
    let back: Vec<Option<String>> = outputs(&conn).into_iter().map(|row| row.4).collect();
    assert_eq!(back, texts.map(|text| text.map(str::to_owned)));
    assert_eq!(
        number(
            &conn,
            "SELECT count(*) FROM outhash WHERE typeof(created) = 'integer'"
        ),
        3
    );
}

#[test]
fn hashes_of_any_form_are_kept() {
    let farm = Farm::current();
    let upper = hash("t", 1).to_uppercase();
    let texts = ["", "5", "ä ö", &upper, &hash("t", 2), "with\nline"];
    for text in texts {
        farm.mapping("m", text, text, "");
        farm.output("m", text, text, "2026-01-01T00:00:00+00:00");
    }
    let report = farm.import();
    assert_eq!(report.invalid_unihashes, 5);
    let conn = farm.imported();
    let mut expected = texts.map(|text| {
        [
            "m".to_owned(),
            text.to_owned(),
            text.to_owned(),
            String::new(),
        ]
    });
    expected.sort();
    assert_eq!(mappings(&conn), expected);
    assert_eq!(outputs(&conn).len(), texts.len());
    assert_eq!(number(&conn, "SELECT count(*) FROM task"), 6);
}

#[test]
fn invalid_unihashes_can_be_dropped() {
    let farm = Farm::current();
    farm.mapping("m", &hash("t", 1), "odd", "");
    farm.mapping("m", &hash("t", 2), &hash("u", 2), "");
    farm.output(
        "m",
        &hash("t", 1),
        &hash("o", 1),
        "2026-01-01T00:00:00+00:00",
    );
    let options = ImportOptions {
        drop_invalid_unihashes: true,
        ..OPTIONS
    };
    let report = farm.import_with(&options, &mut Silent).unwrap();
    assert_eq!(report.invalid_unihashes, 1);
    assert_eq!((report.mappings.added, report.mappings.left_out), (1, 1));
    let conn = farm.imported();
    assert_eq!(mappings(&conn).len(), 1);
    assert_eq!(outputs(&conn).len(), 1);
}

/// The current tables without any constraint, as a damaged or foreign file may
/// have them.
fn loose() -> Farm {
    Farm::with_schema(
        "CREATE TABLE unihashes_v3 (id INTEGER PRIMARY KEY, method, taskhash, unihash, gc_mark);
         CREATE TABLE outhashes_v2 (id INTEGER PRIMARY KEY, method, taskhash, outhash, created,
             owner, PN, PV, PR, task, outhash_siginfo);",
    )
}

#[test]
fn rows_with_impossible_keys_are_left_out_and_named() {
    let farm = loose();
    farm.conn
        .execute_batch(
            "INSERT INTO unihashes_v3 VALUES (1, 'm', NULL, 'u', ''), (2, 'm', x'00', 'u', ''),
                 (3, 'm', CAST(x'ff' AS TEXT), 'u', ''), (4, 'm', 5, 'u', ''), (5, NULL, 't', 'u', '');
             INSERT INTO outhashes_v2 VALUES (1, 'm', 't', NULL, NULL, 1, 2, 3.5, x'00', NULL, NULL),
                 (2, 'm', 't', 'o', x'01', 1, 2, 3.5, x'00', NULL, CAST(x'ff' AS TEXT)),
                 (3, 'm', 'alone', x'00', NULL, NULL, NULL, NULL, NULL, NULL, NULL);",
        )
        .unwrap();
    let report = farm.import();
    assert_eq!((report.mappings.added, report.mappings.left_out), (1, 4));
    assert_eq!((report.outputs.added, report.outputs.left_out), (1, 2));
    let told: Vec<String> = report.oddities().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "unihashes_v3.taskhash is NULL: 1 row(s) left out (id 1)",
            "unihashes_v3.taskhash is a BLOB: 1 row(s) left out (id 2)",
            "unihashes_v3.taskhash is not UTF-8: 1 row(s) left out (id 3)",
            "unihashes_v3.method is NULL: 1 row(s) left out (id 5)",
            "outhashes_v2.outhash is NULL: 1 row(s) left out (id 1)",
            "outhashes_v2.created is a BLOB: 1 row(s) taken without the field (id 2)",
            "outhashes_v2.PR is a BLOB: 1 row(s) taken without the field (id 2)",
            "outhashes_v2.outhash_siginfo is not UTF-8: 1 row(s) taken without the field (id 2)",
            "outhashes_v2.outhash is a BLOB: 1 row(s) left out (id 3)",
        ]
    );
    let conn = farm.imported();
    assert_eq!(number(&conn, "SELECT count(*) FROM task"), 2);
    assert_eq!(
        number(
            &conn,
            "SELECT count(*) FROM metadata WHERE pv = '3.5' AND pr IS NULL"
        ),
        1
    );
}

#[test]
fn repeated_keys_of_a_damaged_file_are_taken_once() {
    let farm = loose();
    farm.conn
        .execute_batch(
            "INSERT INTO unihashes_v3 VALUES (1, 'm', 't', 'first', ''), (2, 'm', 't', 'second', ''),
                 (3, 'm', '5', 'x', ''), (4, 'm', 5, 'y', '');
             INSERT INTO outhashes_v2 (id, method, taskhash, outhash) VALUES
                 (1, 'm', 't', 'o'), (2, 'm', 't', 'o'), (3, 'm', 't', 'p');",
        )
        .unwrap();
    let report = farm.import();
    assert_eq!((report.mappings.added, report.mappings.left_out), (2, 2));
    assert_eq!((report.outputs.added, report.outputs.left_out), (2, 1));
    let conn = farm.imported();
    let unihashes: Vec<String> = mappings(&conn)
        .into_iter()
        .map(|[_, _, unihash, _]| unihash)
        .collect();
    assert_eq!(unihashes, ["x", "first"]);
}

#[test]
fn equal_listings_are_stored_once_and_families_share_a_base() {
    let farm = Farm::current();
    for number in 0..30 {
        farm.run(
            "INSERT INTO outhashes_v2 (method, taskhash, outhash, created, PN, task, outhash_siginfo)
                 VALUES ('m', 't', ?, 'x', 'zlib', 'package', ?)",
            &[&format!("{number}"), &super::fixture::listing(number / 3 * 5)],
        );
    }
    let report = farm.import();
    assert_eq!((report.listings.read, report.listings.stored), (30, 10));
    let conn = farm.imported();
    assert_eq!(
        number(&conn, "SELECT count(*) FROM siginfo WHERE base IS NULL"),
        1
    );
    assert_eq!(number(&conn, "SELECT count(*) FROM siginfo_family"), 1);
    assert_eq!(
        number(&conn, "SELECT count(DISTINCT siginfo) FROM outhash"),
        10
    );
}
