//! Deleting and marking, in batches.

use std::sync::Arc;

use fingerpost_core::{ManualClock, Timestamp};
use serde_json::Value;

use crate::place::{Place, on_each_store};
use crate::world::{World, hash};

on_each_store! {
    a_large_removal_runs_in_batches_and_counts_every_row,
    a_sweep_keeps_what_is_marked_and_what_came_meanwhile,
    unused_outputs_go_by_age,
    every_text_column_is_a_condition,
    two_sweeps_run_one_after_the_other,
    a_walk_skips_gaps_in_the_numbers,
}

/// Fills the world with `count` tasks `t1`, `t2` … of outputs and unihashes of
/// their own.
async fn fill(world: &World, count: i64) {
    let sqlite = format!(
        "INSERT INTO method (id, name) VALUES (1, 'm');
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO task SELECT i, 1, 1, 't' || i FROM n;
         INSERT INTO unihash SELECT id, 1, 'u' || (id % 10), id, 0, 0, 0 FROM task;
         INSERT INTO outhash SELECT id, 1, 1, id, 'o' || id, id * 1000000, NULL, NULL FROM task;"
    );
    let bytes = |text: &str| format!("'\\x01'::bytea || convert_to({text}, 'UTF8')");
    let postgres = format!(
        "INSERT INTO method (name) VALUES ('m');
         INSERT INTO mapping (namespace, method, sequence, created, used_day, taskhash, unihash)
             SELECT 1, method.id, i, 0, 0, {}, {} FROM method, generate_series(1, {count}) AS i;
         INSERT INTO output (namespace, method, id, created, taskhash, outhash)
             SELECT 1, method.id, i, i * 1000000::bigint, {}, {}
               FROM method, generate_series(1, {count}) AS i;
         UPDATE namespace SET sequence = {count}, output_id = {count}, mappings = {count},
                outputs = {count} WHERE id = 1;",
        bytes("'t' || i"),
        bytes("'u' || (i % 10)"),
        bytes("'t' || i"),
        bytes("'o' || i"),
    );
    world.base.execute(&sqlite, &postgres).await;
    world.base.analyze().await;
}

/// Rows of both relations.
async fn usage(world: &World) -> (u64, u64) {
    let usage = world.command("get-db-usage", "null").await.unwrap();
    let usage: Value = serde_json::from_str(&usage).unwrap();
    let rows = |table: &str| usage["usage"][table]["rows"].as_u64().unwrap();
    (rows("unihashes_v3"), rows("outhashes_v2"))
}

/// Runs a command that counts.
async fn count(world: &World, command: &str, argument: &str) -> Result<u64, String> {
    let answer = world.command(command, argument).await?;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    Ok(answer["count"].as_u64().unwrap())
}

async fn remove(world: &World, column: &str, value: &str) -> u64 {
    let argument = format!("{{\"where\": {{\"{column}\": \"{value}\"}}}}");
    count(world, "remove", &argument).await.unwrap()
}

async fn a_large_removal_runs_in_batches_and_counts_every_row(place: Place) {
    let world = World::new(&place).await;
    fill(&world, 12_000).await;
    assert_eq!(remove(&world, "unihash", "u3").await, 1_200);
    assert_eq!(usage(&world).await, (10_800, 12_000));
    assert_eq!(remove(&world, "method", "m").await, 22_800);
    assert_eq!(usage(&world).await, (0, 0));
    let left = world.base.number::<u64>(
        "SELECT count(*) || '' FROM task",
        "SELECT (SELECT count(*) FROM mapping) + (SELECT count(*) FROM output) || ''",
    );
    assert_eq!(left.await, 0);
}

async fn a_sweep_keeps_what_is_marked_and_what_came_meanwhile(place: Place) {
    let world = World::new(&place).await;
    fill(&world, 6_000).await;
    let mark = "{\"mark\": \"K\", \"where\": {\"unihash\": \"u1\"}}";
    assert_eq!(count(&world, "gc-mark", mark).await, Ok(600));
    world.report("9", "a", "d").await;
    let status = world.command("gc-status", "null").await.unwrap();
    assert_eq!(status, "{\"keep\": 601, \"remove\": 5400, \"mark\": \"K\"}");
    let sweep = "{\"mark\": \"K\"}";
    assert_eq!(count(&world, "gc-sweep", sweep).await, Ok(5_400));
    assert_eq!(world.look_up("9").await.as_deref(), Some("d"));
    assert_eq!(usage(&world).await.0, 601);
    let again = count(&world, "gc-sweep", sweep).await.unwrap_err();
    assert_eq!(again, "'K' is not the current mark. Refusing to sweep");
}

async fn unused_outputs_go_by_age(place: Place) {
    let clock = ManualClock::new(Timestamp(10_000 * 1_000_000));
    let world = World::at(&place, Arc::new(clock)).await;
    fill(&world, 8_000).await;
    remove(&world, "unihash", "u1").await;
    // Row i was made at second i; every tenth row is unused.
    let before = "{\"max_age_seconds\": 6000}";
    assert_eq!(count(&world, "clean-unused", before).await, Ok(400));
    assert_eq!(usage(&world).await, (7_200, 7_600));
}

async fn every_text_column_is_a_condition(place: Place) {
    let world = World::new(&place).await;
    let metadata = fingerpost_hashequiv::store::Metadata {
        owner: Some("me".to_owned()),
        pn: Some("zlib".to_owned()),
        pv: Some("1.3".to_owned()),
        pr: Some("r0".to_owned()),
        task: Some("package".to_owned()),
    };
    let columns = [
        ("method", "m".to_owned(), 2),
        ("taskhash", hash("1"), 2),
        ("unihash", hash("d"), 1),
        ("gc_mark", String::new(), 1),
        ("outhash", hash("a"), 1),
        ("owner", "me".to_owned(), 1),
        ("PN", "zlib".to_owned(), 1),
        ("PV", "1.3".to_owned(), 1),
        ("PR", "r0".to_owned(), 1),
        ("task", "package".to_owned(), 1),
        ("outhash_siginfo", "text".to_owned(), 1),
    ];
    for (column, value, count) in columns {
        world
            .report_with("1", "a", "d", metadata.clone(), Some("text".to_owned()))
            .await;
        let other = format!("{{\"where\": {{\"{column}\": \"something else\"}}}}");
        assert_eq!(
            world.command("remove", &other).await.unwrap(),
            "{\"count\": 0}",
            "{column}"
        );
        let argument = format!("{{\"where\": {{\"{column}\": \"{value}\"}}}}");
        let answer = world.command("remove", &argument).await.unwrap();
        assert_eq!(answer, format!("{{\"count\": {count}}}"), "{column}");
        let all = "{\"where\": {\"method\": \"m\"}}";
        world.command("remove", all).await.unwrap();
        assert_eq!(usage(&world).await, (0, 0));
    }
}

async fn two_sweeps_run_one_after_the_other(place: Place) {
    let world = World::new(&place).await;
    fill(&world, 3_000).await;
    let (first, second) = (world.neighbour().await, world.neighbour().await);
    let mark = "{\"mark\": \"K\", \"where\": {\"unihash\": \"none\"}}";
    assert_eq!(count(&first, "gc-mark", mark).await, Ok(0));
    let sweep = "{\"mark\": \"K\"}";
    let (one, other) = tokio::join!(
        count(&first, "gc-sweep", sweep),
        count(&second, "gc-sweep", sweep)
    );
    let mut counts = [one.unwrap_or(0), other.unwrap_or(0)];
    counts.sort_unstable();
    assert_eq!(counts, [0, 3_000]);
}

async fn a_walk_skips_gaps_in_the_numbers(place: Place) {
    let world = World::new(&place).await;
    fill(&world, 10).await;
    let far = i64::MAX - 1_000;
    let sqlite = format!(
        "UPDATE outhash SET id = {far} WHERE id = 10;
         UPDATE unihash SET task = {far} WHERE task = 10;
         UPDATE outhash SET task = {far} WHERE task = 10;
         UPDATE task SET id = {far} WHERE id = 10;"
    );
    // Numbers have 48 bits there.
    let far = (1_i64 << 48) - 1_000;
    let postgres = format!(
        "UPDATE output SET id = {far} WHERE id = 10;
         UPDATE mapping SET sequence = {far} WHERE sequence = 10;
         UPDATE namespace SET sequence = {far}, output_id = {far} WHERE id = 1;"
    );
    world.base.execute(&sqlite, &postgres).await;
    let removed = remove(&world, "method", "m");
    let removed = tokio::time::timeout(std::time::Duration::from_secs(20), removed);
    assert_eq!(removed.await.unwrap(), 20);
}
