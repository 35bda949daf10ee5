//! Namespaces other than the default one.

use rusqlite::Connection;

use super::fixture::{Farm, OPTIONS, hash, number, rows};
use crate::moving::{
    ExportError, ImportError, ImportOptions, ImportReport, Manner, Silent, export, import,
};
use crate::namespace::DEFAULT_NAMESPACE;

const RELEASE: ImportOptions<'static> = ImportOptions {
    namespace: "release",
    ..OPTIONS
};

/// Everything that an export has; numbers of rows are given anew.
const TABLES: [&str; 4] = [
    "SELECT method, taskhash, unihash, gc_mark FROM unihashes_v3 ORDER BY method, taskhash",
    "SELECT method, taskhash, outhash, created, owner, PN, PV, PR, task, outhash_siginfo
       FROM outhashes_v2 ORDER BY method, taskhash, outhash",
    "SELECT username, token, permissions FROM users ORDER BY username",
    "SELECT name, value FROM config",
];

/// A database whose default namespace has rows and a running collection, and
/// whose namespace `release` is empty.
fn served() -> Farm {
    let farm = Farm::current();
    farm.builds(0..40);
    farm.mapping("m", "only here", &hash("u", 1), "K");
    farm.run(
        "INSERT INTO config (name, value) VALUES ('gc-mark', 'K')",
        &[],
    );
    farm.import();
    farm.imported()
        .execute_batch("INSERT INTO namespace (name) VALUES ('release')")
        .unwrap();
    farm
}

/// Another server's database, with some of the same tasks and other unihashes.
fn other() -> Farm {
    let farm = Farm::current();
    farm.builds(20..60);
    farm.run("UPDATE unihashes_v3 SET unihash = ?", &[&hash("u", 999)]);
    farm.mapping("m", "only there", &hash("u", 2), "K");
    farm
}

fn import_release(from: &Farm, into: &Farm) -> ImportReport {
    import(&from.source(), &into.target(), &RELEASE, &mut Silent).unwrap()
}

fn exported(farm: &Farm, namespace: &str, to: &str) -> Connection {
    let to = farm.path(to);
    export(&farm.target(), &to, namespace, &mut Silent).unwrap();
    Connection::open(to).unwrap()
}

#[test]
fn what_goes_into_a_namespace_comes_back_and_the_others_stay() {
    let (farm, other) = (served(), other());
    let before = exported(&farm, DEFAULT_NAMESPACE, "before.db");
    let report = import_release(&other, &farm);
    assert_eq!(report.manner, Manner::Merged);
    assert_eq!((report.mappings.added, report.mappings.present), (41, 0));
    assert_eq!((report.outputs.added, report.outputs.present), (40, 0));

    let release = exported(&farm, "release", "release.db");
    for sql in &TABLES[..2] {
        assert_eq!(rows(&release, sql), rows(&other.conn, sql), "{sql}");
    }
    let after = exported(&farm, DEFAULT_NAMESPACE, "after.db");
    for sql in TABLES {
        assert_eq!(rows(&after, sql), rows(&before, sql), "{sql}");
    }
    let again = import_release(&other, &farm);
    assert_eq!((again.mappings.added, again.outputs.added), (0, 0));
}

#[test]
fn additions_are_numbered_and_marks_kept_by_namespace() {
    let (farm, other) = (served(), other());
    import_release(&other, &farm);
    let conn = farm.imported();
    let check = |wanted: i64, sql: &str| assert_eq!(number(&conn, sql), wanted, "{sql}");
    check(
        41,
        "SELECT unihash_sequence FROM namespace WHERE name = 'release'",
    );
    check(
        41,
        "SELECT unihash_sequence FROM namespace WHERE name = 'default'",
    );
    // The mark of the same name in the default namespace is another collection.
    check(2, "SELECT count(*) FROM collection WHERE mark = 'K'");
    check(
        1,
        "SELECT count(*) FROM unihash JOIN collection ON collection.id = unihash.collection
           JOIN namespace ON namespace.id = unihash.namespace
          WHERE mark = 'K' AND name = 'release' AND collection.namespace = namespace.id",
    );
    check(
        0,
        "SELECT count(*) FROM namespace WHERE name = 'release' AND collection IS NOT NULL",
    );
}

#[test]
fn a_namespace_that_is_not_there_is_told_and_nothing_is_made() {
    let (farm, other) = (served(), other());
    let before = farm.files();
    let check = |into: &str, namespace: &str, words: &str| {
        for dry_run in [false, true] {
            let options = ImportOptions {
                namespace,
                dry_run,
                ..OPTIONS
            };
            let refused = import(&other.source(), &farm.path(into), &options, &mut Silent);
            let error = refused.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let refused = export(
            &farm.target(),
            &farm.path("back.db"),
            namespace,
            &mut Silent,
        );
        let error = refused.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    let target = "hashserv.db.fingerpost";
    check(target, "kirkstone", "no namespace 'kirkstone' in ");
    check("new.db", "kirkstone", "no namespace 'kirkstone' in ");
    check(target, "a b", "'a b' is no name of a namespace");
    check(target, "", "'' is no name of a namespace");
    let kept = |name: &&String| !name.contains("-wal") && !name.contains("-shm");
    let after = farm.files();
    assert!(
        after.iter().filter(kept).eq(before.iter().filter(kept)),
        "{after:?}"
    );

    let new = import(&other.source(), &farm.path("new.db"), &RELEASE, &mut Silent);
    assert!(matches!(new, Err(ImportError::NoNamespace { .. })));
    let unknown = export(&farm.target(), &farm.path("back.db"), "other", &mut Silent);
    assert!(matches!(unknown, Err(ExportError::NoNamespace { .. })));
}
