//! A target that followed is what a fresh import of the source would be.

use std::path::Path;

use rusqlite::Connection;

use super::fixture::{Farm, OPTIONS, StopAfter, hash, listing, mappings, number, outputs, rows};
use crate::moving::{
    Depth, Finished, FollowedSource, Following, ImportError, ImportOptions, Round, Silent, import,
};

fn follow<'a>(farm: &Farm, source: &'a Path, options: &ImportOptions<'a>) -> Following<'a> {
    Following::begin(FollowedSource::File(source), &farm.target(), options).unwrap()
}

fn round(farm: &Farm, depth: Depth) -> Round {
    let source = farm.source();
    let mut following = follow(farm, &source, &OPTIONS);
    following.round(depth, OPTIONS.now, &mut Silent).unwrap()
}

fn finish(farm: &Farm) -> Finished {
    let source = farm.source();
    follow(farm, &source, &OPTIONS).finish(&mut Silent).unwrap()
}

/// Everything that clients see of a Fingerpost database, ids of outputs included.
fn seen(conn: &Connection) -> Vec<String> {
    let mut seen: Vec<String> = mappings(conn).iter().map(|row| row.join(" ")).collect();
    seen.extend(outputs(conn).iter().map(|row| format!("{row:?}")));
    for sql in [
        "SELECT outhash.id, owner, pn, pv, pr, metadata.task, hex(digest), length
           FROM outhash LEFT JOIN metadata ON metadata.id = outhash.metadata
           LEFT JOIN siginfo ON siginfo.id = outhash.siginfo ORDER BY outhash.id",
        "SELECT username, token, permissions FROM user ORDER BY id",
        "SELECT ifnull(mark, '-'), collection.mark IS NULL FROM namespace
           LEFT JOIN collection ON collection.id = namespace.collection",
        "SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM unihash),
                (SELECT count(*) FROM outhash)",
    ] {
        seen.extend(rows(conn, sql));
    }
    seen
}

/// Fails with the first differences.
pub(super) fn assert_same(followed: &Connection, fresh: &Connection) {
    let (followed, fresh) = (seen(followed), seen(fresh));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let those: std::collections::HashSet<&String> = those.iter().collect();
        let only = these.iter().filter(|row| !those.contains(row));
        only.take(5).cloned().collect()
    };
    let (left, right) = (only(&followed, &fresh), only(&fresh, &followed));
    assert_eq!((left, right), (Vec::new(), Vec::new()));
    assert!(followed == fresh, "in another order");
}

fn fresh(farm: &Farm) -> Connection {
    let path = farm.path("fresh.db");
    let _ = std::fs::remove_file(&path);
    import(&farm.source(), &path, &OPTIONS, &mut Silent).unwrap();
    Connection::open(path).unwrap()
}

/// Finishes, and compares.
fn check(farm: &Farm) -> Finished {
    let finished = finish(farm);
    assert_same(&farm.imported(), &fresh(farm));
    assert!(!farm.path("hashserv.db.fingerpost.following").exists());
    let conn = farm.imported();
    let counts = [finished.mappings, finished.outputs, finished.users];
    for (table, count) in ["unihash", "outhash", "user"].iter().zip(counts) {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(number(&conn, &sql) as u64, count);
    }
    finished
}

/// What people do to a farm between two rounds.
fn live(farm: &Farm, part: u32) {
    let (from, until) = (1000 * part, 1000 * part + 120);
    farm.builds(from..until);
    let sql = |sql: &str| farm.conn.execute_batch(sql).unwrap();
    // A collection begins, marks, and sweeps.
    match part % 3 {
        0 => sql(
            "INSERT OR REPLACE INTO config (name, value) VALUES ('gc-mark', 'K');
                  UPDATE unihashes_v3 SET gc_mark = 'K' WHERE id % 3 > 0;",
        ),
        1 => sql("DELETE FROM unihashes_v3 WHERE gc_mark <> 'K';
                  UPDATE config SET value = NULL WHERE name = 'gc-mark';
                  UPDATE unihashes_v3 SET gc_mark = 'L' WHERE id % 2 = 0;"),
        _ => sql("UPDATE unihashes_v3 SET gc_mark = 'M' || id % 2;
                  UPDATE config SET value = 'M1' WHERE name = 'gc-mark';"),
    }
    sql(&format!(
        "DELETE FROM outhashes_v2 WHERE id % 7 = {part} % 7;
         DELETE FROM unihashes_v3 WHERE id % 11 = {part};
         -- Removed and reported again, with another unihash.
         CREATE TEMP TABLE again AS SELECT * FROM unihashes_v3 WHERE id % 13 = 0;
         DELETE FROM unihashes_v3 WHERE id % 13 = 0;
         INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
             SELECT method, taskhash, outhash_of(unihash), 'K' FROM again;
         DROP TABLE again;
         DELETE FROM users WHERE id % 3 = {part} % 3;
         INSERT INTO users (username, token, permissions)
             VALUES ('u{part}', 'sha256:a:{part}', '@read'), ('v{part}', 'sha256:b:1', '@all');
         UPDATE users SET permissions = '@report' WHERE username LIKE 'v%';"
    )
    .replace("outhash_of(unihash)", "substr(unihash, 2) || 'f'"));
}

#[test]
fn a_live_farm_arrives_as_it_is_at_the_end() {
    let farm = Farm::current();
    farm.builds(0..400);
    let first = round(&farm, Depth::New);
    assert_eq!(
        (first.depth, first.mappings.added, first.outputs.added),
        (Depth::All, 400, 400)
    );
    assert_eq!(first.healed, 0);
    for part in 1..7 {
        live(&farm, part);
        let depth = [Depth::New, Depth::All][part as usize % 2];
        let round = round(&farm, depth);
        assert_eq!(round.depth, depth);
        assert_eq!(round.healed, 0);
    }
    live(&farm, 7);
    let finished = check(&farm);
    assert!(finished.round.mappings.removed > 0 && finished.round.mappings.marked > 0);
    assert_eq!(finished.round.healed, 0);
}

#[test]
fn nothing_is_done_where_nothing_changed() {
    let farm = Farm::current();
    farm.builds(0..300);
    round(&farm, Depth::All);
    for depth in [Depth::New, Depth::All] {
        let round = round(&farm, depth);
        assert_eq!(round.mappings, super::super::Moved::default());
        assert_eq!(round.outputs, super::super::Moved::default());
        assert_eq!((round.users, round.healed), (0, 0));
    }
    check(&farm);
}

#[test]
fn a_farm_can_be_finished_at_once() {
    let farm = Farm::current();
    farm.builds(0..100);
    check(&farm);
    let source = farm.source();
    let again = Following::begin(FollowedSource::File(&source), &farm.target(), &OPTIONS);
    assert!(matches!(again, Err(ImportError::NotFollowed { .. })));
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let farm = Farm::current();
    farm.builds(0..300);
    let source = farm.source();
    let mut part = 1;
    for calls in 0..40 {
        let mut following = follow(&farm, &source, &OPTIONS);
        let mut stop = StopAfter::calls(calls);
        match following.round(Depth::All, OPTIONS.now, &mut stop) {
            Ok(_) => {
                part += 1;
                live(&farm, part);
            }
            Err(ImportError::Interrupted) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(part > 2, "{part}");
    check(&farm);
}

#[test]
fn what_is_recorded_late_is_done_again() {
    let farm = Farm::current();
    farm.builds(0..200);
    round(&farm, Depth::All);
    let record = farm.path("hashserv.db.fingerpost.following");
    let before = std::fs::read(&record).unwrap();
    for part in 1..4 {
        live(&farm, part);
        round(&farm, Depth::All);
    }
    // As after a loss of power: the target is ahead.
    std::fs::write(&record, before).unwrap();
    check(&farm);
}

#[test]
fn a_row_that_gets_the_number_of_another_is_another() {
    // Without AUTOINCREMENT, as SQLAlchemy makes tables.
    let farm = Farm::with_schema(
        &super::super::reference::CURRENT_SCHEMA
            .concat()
            .replace("AUTOINCREMENT", ""),
    );
    farm.builds(0..50);
    round(&farm, Depth::All);
    farm.conn
        .execute_batch(
            "DELETE FROM unihashes_v3 WHERE id > 40; DELETE FROM outhashes_v2 WHERE id > 40;",
        )
        .unwrap();
    // Keys that were there, with lower ids than they had.
    farm.builds(48..50);
    farm.builds(60..63);
    assert_eq!(number(&farm.conn, "SELECT max(id) FROM unihashes_v3"), 45);
    check(&farm);
}

#[test]
fn somebody_elses_rows_in_the_target_go() {
    let farm = Farm::current();
    farm.builds(0..100);
    round(&farm, Depth::All);
    farm.imported()
        .execute_batch(
            "DELETE FROM unihash WHERE task % 10 = 0;
             INSERT INTO task (id, namespace, method, taskhash) VALUES (900, 1, 1, 'other');
             INSERT INTO unihash (task, namespace, unihash, sequence, created, used_day)
                 VALUES (900, 1, 'mine', 5000, 0, 0);
             INSERT INTO outhash (namespace, method, task, outhash) VALUES (1, 1, 900, 'x');",
        )
        .unwrap();
    farm.builds(100..150);
    // The other row of the relation O went when its number was needed.
    assert_eq!(check(&farm).round.healed, 11);
}

#[test]
fn rows_that_cannot_be_taken_are_left_out_each_time() {
    let farm = Farm::with_schema(
        &super::super::reference::CURRENT_SCHEMA
            .concat()
            .replace("NOT NULL", ""),
    );
    farm.builds(0..20);
    let odd = "INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark) VALUES
        ('m', NULL, 'u', ''), ('m', x'00', 'u', ''), ('m', 't', 'u', NULL);
        INSERT INTO outhashes_v2 (method, taskhash, outhash) VALUES ('m', 't', NULL);";
    farm.conn.execute_batch(odd).unwrap();
    round(&farm, Depth::All);
    farm.conn
        .execute_batch(&odd.replace("'t'", "'t2'").replace("x'00'", "x'01'"))
        .unwrap();
    let second = round(&farm, Depth::All);
    assert_eq!((second.mappings.added, second.outputs.added), (0, 0));
    farm.run("UPDATE unihashes_v3 SET gc_mark = 'K'", &[]);
    check(&farm);
}

#[test]
fn invalid_unihashes_are_dropped_if_wanted() {
    let farm = Farm::current();
    let options = ImportOptions {
        drop_invalid_unihashes: true,
        ..OPTIONS
    };
    farm.builds(0..20);
    farm.mapping("m", "t1", "odd", "");
    let source = farm.source();
    let mut following = follow(&farm, &source, &options);
    following
        .round(Depth::All, OPTIONS.now, &mut Silent)
        .unwrap();
    farm.mapping("m", "t2", "odd", "");
    farm.run("UPDATE unihashes_v3 SET gc_mark = 'K'", &[]);
    let round = following
        .round(Depth::All, OPTIONS.now, &mut Silent)
        .unwrap();
    assert_eq!((round.mappings.added, round.mappings.marked), (0, 20));
    drop(following);
    let other = Following::begin(FollowedSource::File(&source), &farm.target(), &OPTIONS);
    assert!(matches!(other, Err(ImportError::FollowsOther { .. })));
    follow(&farm, &source, &options)
        .finish(&mut Silent)
        .unwrap();
    assert_eq!(mappings(&farm.imported()).len(), 20);
}

#[test]
fn old_rows_that_come_late_are_the_oldest() {
    let farm = Farm::current();
    let created =
        |second: u32| format!("2026-01-01T00:{:02}:{:02}+00:00", second / 60, second % 60);
    for n in 0..60 {
        farm.mapping("m", &hash("t", n), &hash("u", n), "");
        farm.output("m", &hash("t", n), &hash("o", n % 7), &created(600 + n));
    }
    round(&farm, Depth::All);
    // Copied from an upstream: older than what is there, and among them in no order. Some
    // tasks have further outputs, which ties rows of different outhashes together.
    for n in 0..40 {
        let (task, out) = (hash("t", 100 + n % 20), hash("o", n % 9));
        farm.output("m", &task, &out, &created(n * 37 % 1000));
        farm.output(
            "m",
            &hash("t", n),
            &hash("o", 20 + n % 9),
            &created(n * 53 % 900),
        );
        if n % 10 == 0 {
            farm.run("DELETE FROM outhashes_v2 WHERE id % 19 = ?", &[&n]);
            round(&farm, [Depth::New, Depth::All][n as usize / 10 % 2]);
        }
    }
    finish(&farm);
    // Numbers are others than after an import, orders are the same.
    let orders = |conn: &Connection| {
        let rows = outputs(conn).into_iter();
        let mut by_task: Vec<_> = rows.map(|row| (row.2, row.3, row.4)).collect();
        let mut by_outhash = by_task.clone();
        by_task.sort_by(|left, right| left.0.cmp(&right.0));
        by_outhash.sort_by(|left, right| left.1.cmp(&right.1));
        (by_task, by_outhash)
    };
    assert_eq!(orders(&farm.imported()), orders(&fresh(&farm)));
}

#[test]
fn deletions_are_told_to_servers_on_the_target() {
    let farm = Farm::current();
    farm.builds(0..20);
    round(&farm, Depth::All);
    let epoch = |conn: &Connection| number(conn, "SELECT deletion_epoch FROM namespace");
    let before = epoch(&farm.imported());
    farm.builds(20..30);
    round(&farm, Depth::All);
    assert_eq!(epoch(&farm.imported()), before);
    farm.run("DELETE FROM unihashes_v3 WHERE id <= 5", &[]);
    farm.run("DELETE FROM outhashes_v2 WHERE id <= 5", &[]);
    round(&farm, Depth::All);
    let conn = farm.imported();
    assert_eq!(epoch(&conn), before + 1);
    let logged = "SELECT count(*) FROM deletion WHERE taskhash IS NOT NULL";
    assert_eq!(number(&conn, logged), 5);
    let digest = crate::siginfo::Digest::of(listing(4).as_bytes()).0;
    let kept = "SELECT count(*) FROM siginfo WHERE digest = ?1 AND id NOT IN
        (SELECT base FROM siginfo WHERE base IS NOT NULL)";
    let kept: i64 = conn.query_row(kept, [digest], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
}

#[test]
fn a_source_that_is_written_to_is_not_finished() {
    /// Writes to the source in the middle.
    struct Writes<'a>(&'a Farm, u32);
    impl crate::moving::Progress for Writes<'_> {
        fn begin(&mut self, stage: crate::moving::Stage, _: u64) {
            if stage == crate::moving::Stage::Outputs {
                self.0.builds(self.1..self.1 + 1);
            }
        }
        fn advance(&mut self, _: u64) -> std::ops::ControlFlow<()> {
            std::ops::ControlFlow::Continue(())
        }
        fn note(&mut self, _: &str) {}
    }
    let farm = Farm::current();
    farm.builds(0..20);
    round(&farm, Depth::All);
    let source = farm.source();
    let result = follow(&farm, &source, &OPTIONS).finish(&mut Writes(&farm, 50));
    assert!(matches!(result, Err(ImportError::StillWritten { .. })));
    check(&farm);
}

#[test]
fn one_follows_at_a_time_and_only_what_can_be_followed() {
    let farm = Farm::current();
    farm.builds(0..5);
    let source = farm.source();
    let begin = || Following::begin(FollowedSource::File(&source), &farm.target(), &OPTIONS);
    let first = begin().unwrap();
    assert!(matches!(begin(), Err(ImportError::Running { .. })));
    drop(first);
    for old in [Farm::tasks_v2(), {
        let farm = Farm::current();
        farm.add_unihashes_v2();
        farm
    }] {
        let source = old.source();
        let result = follow(&old, &source, &OPTIONS).round(Depth::All, OPTIONS.now, &mut Silent);
        assert!(matches!(result, Err(ImportError::TooOldToFollow { .. })));
    }
    let old = Farm::unihashes_v2();
    old.run(
        "INSERT INTO unihashes_v2 (method, taskhash, unihash) VALUES ('m', 't', 'u')",
        &[],
    );
    round(&old, Depth::All);
    check(&old);
}
