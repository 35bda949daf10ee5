//! Each schema version.

use super::fixture::{Farm, hash, mappings, number, outputs};
use crate::moving::{Generation, generation_of};

#[test]
fn tasks_v2_gives_a_task_the_unihash_of_its_oldest_row() {
    let farm = Farm::tasks_v2();
    let add = |id: i64, taskhash: &str, outhash: &str, unihash: &str, created: Option<&str>| {
        farm.run(
            "INSERT INTO tasks_v2 (id, method, taskhash, outhash, unihash, created, PN)
                 VALUES (?, 'm', ?, ?, ?, ?, 'zlib')",
            &[&id, &taskhash, &outhash, &unihash, &created],
        );
    };
    let (task, other) = (hash("t", 1), hash("t", 2));
    add(
        1,
        &task,
        &hash("o", 1),
        &hash("u", 1),
        Some("2020-03-01 10:00:00"),
    );
    add(
        2,
        &task,
        &hash("o", 2),
        &hash("u", 2),
        Some("2020-01-01 10:00:00"),
    );
    add(
        3,
        &other,
        &hash("o", 2),
        &hash("u", 2),
        Some("2020-02-01 10:00:00"),
    );
    assert_eq!(
        generation_of(&farm.source()).unwrap(),
        Some(Generation::TasksV2)
    );

    let report = farm.import();
    assert_eq!(report.generation, Generation::TasksV2);
    assert_eq!((report.mappings.added, report.outputs.added), (2, 3));
    let conn = farm.imported();
    let mut expected = [
        ["m".to_owned(), task, hash("u", 2), String::new()],
        ["m".to_owned(), other, hash("u", 2), String::new()],
    ];
    expected.sort();
    assert_eq!(mappings(&conn), expected);
    let order: Vec<String> = outputs(&conn).into_iter().map(|row| row.3).collect();
    assert_eq!(order, [hash("o", 2), hash("o", 2), hash("o", 1)]);
}

#[test]
fn unihashes_v2_comes_without_marks() {
    let farm = Farm::unihashes_v2();
    farm.run(
        "INSERT INTO unihashes_v2 (method, taskhash, unihash) VALUES ('m', ?, ?)",
        &[&hash("t", 1), &hash("u", 1)],
    );
    farm.output("m", &hash("t", 1), &hash("o", 1), "2022-01-01 10:00:00.5");
    assert_eq!(
        generation_of(&farm.source()).unwrap(),
        Some(Generation::UnihashesV2)
    );

    let report = farm.import();
    assert_eq!(
        (
            report.mappings.added,
            report.outputs.added,
            report.users.read
        ),
        (1, 1, 0)
    );
    let conn = farm.imported();
    assert_eq!(
        mappings(&conn),
        [["m".into(), hash("t", 1), hash("u", 1), String::new()]]
    );
}

#[test]
fn unihashes_v2_may_have_users() {
    let farm = Farm::unihashes_v2();
    farm.conn
        .execute_batch(
            "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT NOT NULL,
                 token TEXT NOT NULL, permissions TEXT, UNIQUE (username));
             INSERT INTO users (username, token, permissions) VALUES
                 ('bob', 'sha256:aa:bb', '@read @report'), ('eve', 'md5:1', NULL);",
        )
        .unwrap();
    let report = farm.import();
    assert_eq!((report.users.read, report.users.added), (2, 2));
    assert!(report.notes[0].contains("\"eve\""), "{:?}", report.notes);
    let permissions: String = farm
        .imported()
        .query_row(
            "SELECT permissions FROM user WHERE username = 'bob'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(permissions, "@read @report");
}

#[test]
fn the_current_schema_comes_with_marks_users_and_the_running_collection() {
    let farm = Farm::current();
    farm.mapping("m", &hash("t", 1), &hash("u", 1), "K");
    farm.mapping("m", &hash("t", 2), &hash("u", 2), "older");
    farm.mapping("m", &hash("t", 3), &hash("u", 3), "");
    farm.run(
        "INSERT INTO config (name, value) VALUES ('gc-mark', 'K')",
        &[],
    );
    farm.run(
        "INSERT INTO users (username, token, permissions) VALUES ('bob', 'sha256:a:b', '@all')",
        &[],
    );

    let report = farm.import();
    assert_eq!(report.mark.as_deref(), Some("K"));
    let conn = farm.imported();
    let mut marks: Vec<String> = mappings(&conn).into_iter().map(|[.., mark]| mark).collect();
    marks.sort();
    assert_eq!(marks, ["", "K", "older"]);
    let running: String = conn
        .query_row(
            "SELECT mark FROM namespace JOIN collection ON collection.id = namespace.collection",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(running, "K");
    assert_eq!(
        number(
            &conn,
            "SELECT count(*) FROM user WHERE token = 'sha256:a:b'"
        ),
        1
    );
}

#[test]
fn an_idle_collection_stays_idle() {
    let farm = Farm::current();
    farm.mapping("m", &hash("t", 1), &hash("u", 1), "K");
    farm.run(
        "INSERT INTO config (name, value) VALUES ('gc-mark', NULL)",
        &[],
    );
    assert_eq!(farm.import().mark, None);
    let conn = farm.imported();
    assert_eq!(
        number(
            &conn,
            "SELECT count(*) FROM namespace WHERE collection IS NULL"
        ),
        1
    );
}

#[test]
fn an_older_table_beside_the_newer_one_fills_what_is_missing() {
    let farm = Farm::current();
    farm.add_unihashes_v2();
    farm.mapping("m", &hash("t", 1), &hash("u", 1), "");
    for (taskhash, unihash) in [(1, 9), (2, 2)] {
        farm.run(
            "INSERT INTO unihashes_v2 (method, taskhash, unihash) VALUES ('m', ?, ?)",
            &[&hash("t", taskhash), &hash("u", unihash)],
        );
    }
    let report = farm.import();
    assert_eq!((report.mappings.added, report.mappings.present), (2, 1));
    let unihashes: Vec<String> = mappings(&farm.imported())
        .into_iter()
        .map(|[_, _, unihash, _]| unihash)
        .collect();
    let mut expected = [hash("u", 1), hash("u", 2)];
    expected.sort();
    assert_eq!(
        {
            let mut sorted = unihashes;
            sorted.sort();
            sorted
        },
        expected
    );
}
