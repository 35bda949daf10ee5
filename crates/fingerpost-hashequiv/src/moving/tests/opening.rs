//! Sources in use, without the right to write, and no sources at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::fixture::{Farm, OPTIONS, hash, mappings};
use crate::moving::{ImportError, Silent, generation_of, import};

#[test]
fn rows_in_the_log_of_a_running_server_are_read() {
    let farm = Farm::current();
    farm.conn
        .execute_batch("PRAGMA wal_autocheckpoint = 0")
        .unwrap();
    farm.builds(0..10);
    assert!(fs::metadata(farm.path("hashserv.db-wal")).unwrap().len() > 0);
    farm.import();
    assert_eq!(mappings(&farm.imported()).len(), 10);
    // The server goes on.
    farm.mapping("m", "t", &hash("u", 1), "");
}

#[test]
fn the_source_stays_as_it_is() {
    let farm = Farm::current();
    farm.builds(0..10);
    let copy = farm.path("copy.db");
    farm.conn
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    fs::copy(farm.source(), &copy).unwrap();
    let before = fs::read(&copy).unwrap();
    import(&copy, &farm.target(), &OPTIONS, &mut Silent).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), before);
}

#[test]
fn a_directory_without_the_right_to_write_will_do() {
    let farm = Farm::current();
    farm.builds(0..10);
    farm.conn
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let directory = farm.path("read only ?%");
    fs::create_dir(&directory).unwrap();
    let copy = directory.join("a#b.db");
    fs::copy(farm.source(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o500)).unwrap();
    let report = import(&copy, &farm.target(), &OPTIONS, &mut Silent);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(report.unwrap().mappings.added, 10);
}

#[test]
fn other_files_are_refused_by_name() {
    let farm = Farm::with_schema("CREATE TABLE unihashes_v3 (id INTEGER PRIMARY KEY)");
    let text = farm.path("text");
    fs::write(&text, "this is no database, whatever its name".repeat(20)).unwrap();
    for path in [farm.source(), text] {
        assert_eq!(generation_of(&path).unwrap(), None);
        let refused = import(&path, &farm.target(), &OPTIONS, &mut Silent).unwrap_err();
        assert!(
            matches!(refused, ImportError::NotReference { .. }),
            "{refused:?}"
        );
    }
    assert_eq!(generation_of(&farm.path("nowhere")).unwrap(), None);
    let missing = import(&farm.path("nowhere"), &farm.target(), &OPTIONS, &mut Silent);
    assert!(matches!(missing, Err(ImportError::Io { .. })));
    assert!(!farm.target().exists());
}

#[test]
fn views_are_not_tables() {
    let farm = Farm::with_schema(
        "CREATE TABLE other (id INTEGER PRIMARY KEY, method, taskhash, unihash, gc_mark);
         CREATE VIEW unihashes_v3 AS SELECT * FROM other;
         CREATE VIEW outhashes_v2 AS SELECT * FROM other;",
    );
    assert_eq!(generation_of(&farm.source()).unwrap(), None);
}
