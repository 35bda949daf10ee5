//! Imports that are killed and run again.

use super::fixture::{
    Farm, OPTIONS, StopAfter, copy_as_it_is, hash, mappings, number, outputs, rows,
};
use crate::moving::{ImportError, ImportOptions, Progress, Silent, Stage};

/// Everything in a Fingerpost database that clients can see.
fn visible(conn: &rusqlite::Connection) -> (Vec<[String; 4]>, Vec<String>) {
    let outputs = rows(
        conn,
        "SELECT outhash.id, outhash.created, metadata.*, siginfo.digest FROM outhash
           LEFT JOIN metadata ON metadata.id = outhash.metadata
           LEFT JOIN siginfo ON siginfo.id = outhash.siginfo ORDER BY outhash.id",
    );
    (mappings(conn), outputs)
}

#[test]
fn wherever_it_is_killed_it_goes_on() {
    let farm = Farm::current();
    farm.builds(0..300);
    farm.conn.execute_batch("BEGIN").unwrap();
    for number in 1000..3000 {
        farm.mapping("m", &hash("t", number), &hash("u", number), "");
        farm.output(
            "m",
            &hash("t", number + 5),
            &hash("o", number),
            "2026-01-01T00:00:00+00:00",
        );
    }
    farm.conn.execute_batch("COMMIT").unwrap();
    farm.import();
    let expected = visible(&farm.imported());
    std::fs::remove_file(farm.target()).unwrap();

    let mut stop = 0;
    loop {
        let mut progress = StopAfter::calls(stop);
        match farm.import_with(&OPTIONS, &mut progress) {
            Ok(_) => break,
            Err(ImportError::Interrupted) => {}
            Err(error) => panic!("{error:?}"),
        }
        assert!(!farm.target().exists());
        let report = farm.import_with(&OPTIONS, &mut Silent).unwrap();
        assert_eq!(
            visible(&farm.imported()),
            expected,
            "stopped after {stop} calls"
        );
        assert_eq!(report.mappings.added, 2300);
        assert_eq!(report.outputs.added, 2300);
        std::fs::remove_file(farm.target()).unwrap();
        stop += 3;
    }
    assert!(stop > 30);
}

/// Copies the work file away at a call, in the middle of a transaction.
struct CopyAt<'a> {
    farm: &'a Farm,
    left: u32,
}

impl Progress for CopyAt<'_> {
    fn begin(&mut self, _: Stage, _: u64) {}

    fn advance(&mut self, _: u64) -> std::ops::ControlFlow<()> {
        self.left = self.left.wrapping_sub(1);
        if self.left == 0 {
            let importing = self.farm.path("hashserv.db.fingerpost.importing");
            copy_as_it_is(&importing, &self.farm.path("killed.importing"));
        }
        std::ops::ControlFlow::Continue(())
    }

    fn note(&mut self, _: &str) {}
}

#[test]
fn a_file_as_a_kill_leaves_it_is_continued() {
    let farm = Farm::current();
    farm.builds(0..900);
    for stage in [1, 3, 6, 9, 11] {
        let mut progress = CopyAt {
            farm: &farm,
            left: stage,
        };
        farm.import_with(&OPTIONS, &mut progress).unwrap();
        let expected = visible(&farm.imported());
        std::fs::remove_file(farm.target()).unwrap();

        let killed = farm.path("killed");
        let report = crate::moving::import(&farm.source(), &killed, &OPTIONS, &mut Silent).unwrap();
        assert!(report.resumed);
        let conn = rusqlite::Connection::open(&killed).unwrap();
        assert_eq!(visible(&conn), expected);
        drop(conn);
        std::fs::remove_file(killed).unwrap();
    }
}

/// Imports until both relations are read.
fn stop_behind_outputs(farm: &Farm) {
    let mut progress = StopAfter::calls(2);
    let stopped = farm.import_with(&OPTIONS, &mut progress);
    assert!(matches!(stopped, Err(ImportError::Interrupted)));
    assert_eq!(progress.stages.last(), Some(&Stage::Matching));
}

#[test]
fn rows_added_meanwhile_are_not_taken() {
    let farm = Farm::current();
    farm.builds(0..50);
    stop_behind_outputs(&farm);
    farm.builds(50..60);
    let report = farm.import();
    assert!(report.resumed);
    let conn = farm.imported();
    assert_eq!((mappings(&conn).len(), outputs(&conn).len()), (50, 50));
}

#[test]
fn a_source_that_lost_or_marked_rows_is_begun_anew() {
    for change in [
        "DELETE FROM unihashes_v3 WHERE id = 3",
        "INSERT INTO config (name, value) VALUES ('gc-mark', 'K')",
    ] {
        let farm = Farm::current();
        farm.builds(0..50);
        stop_behind_outputs(&farm);
        farm.run(change, &[]);
        let mut progress = StopAfter::calls(u32::MAX);
        let report = farm.import_with(&OPTIONS, &mut progress).unwrap();
        assert!(!report.resumed, "{change}");
        assert_eq!(progress.notes.len(), 1);
        let left = number(&farm.conn, "SELECT count(*) FROM unihashes_v3");
        assert_eq!(mappings(&farm.imported()).len() as i64, left);
    }
}

#[test]
fn outputs_that_vanish_before_all_are_read_are_missed() {
    let farm = Farm::current();
    farm.builds(0..1500);
    // Mappings have 6 batches; of the outputs some are committed.
    let stopped = farm.import_with(&OPTIONS, &mut StopAfter::calls(10));
    assert!(matches!(stopped, Err(ImportError::Interrupted)));
    farm.run("DELETE FROM outhashes_v2 WHERE id = 7", &[]);
    assert!(!farm.import().resumed);
    assert_eq!(outputs(&farm.imported()).len(), 1499);
}

#[test]
fn rows_marked_meanwhile_are_seen_by_their_number() {
    let farm = Farm::current();
    farm.builds(0..50);
    farm.run(
        "INSERT INTO config (name, value) VALUES ('gc-mark', 'K')",
        &[],
    );
    stop_behind_outputs(&farm);
    farm.run("UPDATE unihashes_v3 SET gc_mark = 'K' WHERE id < 4", &[]);
    assert!(!farm.import().resumed);
    let conn = farm.imported();
    assert_eq!(
        mappings(&conn)
            .iter()
            .filter(|[.., mark]| mark == "K")
            .count(),
        3
    );
}

#[test]
fn other_options_begin_anew() {
    let farm = Farm::current();
    farm.builds(0..50);
    farm.mapping("m", "t", "odd", "");
    stop_behind_outputs(&farm);
    let options = ImportOptions {
        drop_invalid_unihashes: true,
        ..OPTIONS
    };
    let report = farm.import_with(&options, &mut Silent).unwrap();
    assert!(!report.resumed);
    assert_eq!(mappings(&farm.imported()).len(), 50);
}

#[test]
fn a_work_file_that_is_no_database_is_replaced_by_force_only() {
    let farm = Farm::current();
    farm.builds(0..5);
    std::fs::write(farm.path("hashserv.db.fingerpost.importing"), "precious").unwrap();
    let refused = farm.import_with(&OPTIONS, &mut Silent);
    assert!(
        matches!(refused, Err(ImportError::Target { .. })),
        "{refused:?}"
    );
}

#[test]
fn two_imports_into_one_target_exclude_each_other() {
    struct Second<'a>(&'a Farm, bool);
    impl Progress for Second<'_> {
        fn begin(&mut self, _: Stage, _: u64) {}
        fn advance(&mut self, _: u64) -> std::ops::ControlFlow<()> {
            if !std::mem::replace(&mut self.1, true) {
                let second = self.0.import_with(&OPTIONS, &mut Silent);
                assert!(
                    matches!(second, Err(ImportError::Running { .. })),
                    "{second:?}"
                );
            }
            std::ops::ControlFlow::Continue(())
        }
        fn note(&mut self, _: &str) {}
    }
    let farm = Farm::current();
    farm.builds(0..50);
    farm.import_with(&OPTIONS, &mut Second(&farm, false))
        .unwrap();
    assert_eq!(mappings(&farm.imported()).len(), 50);
}
