//! Deleting and marking, in batches.

use fingerpost_hashequiv::Store as _;
use fingerpost_hashequiv::namespace::NamespaceId;
use fingerpost_hashequiv::query::Column;
use fingerpost_hashequiv::sqlite::SqliteStore;
use fingerpost_hashequiv::store::StoreOptions;

use crate::world::{World, conditions, hash};

const AT: NamespaceId = NamespaceId::DEFAULT;

/// Fills the world with `count` tasks `t0`, `t1` … of outputs and unihashes of
/// their own.
async fn fill(world: &World, count: i64) {
    let job = move |tx: &mut fingerpost_db::Tx<'_>| {
        tx.conn().execute_batch(&format!(
            "INSERT INTO method (id, name) VALUES (1, 'm');
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
                 INSERT INTO task SELECT i, 1, 1, 't' || i FROM n;
             INSERT INTO unihash SELECT id, 1, 'u' || (id % 10), id, 0, 0, 0 FROM task;
             INSERT INTO outhash SELECT id, 1, 1, id, 'o' || id, id * 1000000, NULL, NULL FROM task;"
        ))
    };
    world.db.write(job).await.unwrap();
}

async fn usage(world: &World) -> (u64, u64) {
    let usage = store(world).await.usage().await.unwrap();
    (usage.unihashes, usage.outputs)
}

async fn store(world: &World) -> SqliteStore {
    let cache = std::sync::Arc::new(fingerpost_hashequiv::cache::UnihashCache::new(1 << 20));
    let clock = std::sync::Arc::new(fingerpost_core::SystemClock);
    SqliteStore::new(world.db.clone(), cache, StoreOptions::default(), clock)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_large_removal_runs_in_batches_and_counts_every_row() {
    let world = World::new().await;
    fill(&world, 12_000).await;
    let store = store(&world).await;
    let by_unihash = conditions(&[(Column::Unihash, "u3")]);
    assert_eq!(store.remove(AT, by_unihash).await.unwrap(), 1_200);
    assert_eq!(usage(&world).await, (10_800, 12_000));
    let by_method = conditions(&[(Column::Method, "m")]);
    assert_eq!(store.remove(AT, by_method).await.unwrap(), 22_800);
    assert_eq!(usage(&world).await, (0, 0));
    let left = world
        .db
        .read(|conn| conn.query_row("SELECT count(*) FROM task", [], |row| row.get::<_, u64>(0)));
    assert_eq!(left.await.unwrap(), 0);
}

#[tokio::test]
async fn a_sweep_keeps_what_is_marked_and_what_came_meanwhile() {
    let world = World::new().await;
    fill(&world, 6_000).await;
    let store = store(&world).await;
    let now = fingerpost_core::Timestamp(0);
    let marked = store.gc_mark(
        AT,
        "K".to_owned(),
        conditions(&[(Column::Unihash, "u1")]),
        now,
    );
    assert_eq!(marked.await.unwrap(), 600);
    world.report("9", "a", "d").await;
    let status = store.gc_status(AT).await.unwrap();
    assert_eq!(
        (status.keep, status.remove, status.mark.as_deref()),
        (601, 5_400, Some("K"))
    );
    assert_eq!(store.gc_sweep(AT, "K".to_owned()).await.unwrap(), 5_400);
    assert_eq!(world.look_up("9").await.as_deref(), Some("d"));
    assert_eq!(usage(&world).await.0, 601);
    let again = store.gc_sweep(AT, "K".to_owned()).await.unwrap_err();
    assert_eq!(
        again.to_string(),
        "'K' is not the current mark. Refusing to sweep"
    );
}

#[tokio::test]
async fn unused_outputs_go_by_age() {
    let world = World::new().await;
    fill(&world, 8_000).await;
    let store = store(&world).await;
    store
        .remove(AT, conditions(&[(Column::Unihash, "u1")]))
        .await
        .unwrap();
    // Row i was made at second i; every tenth row is unused.
    let before = fingerpost_core::Timestamp(4_000 * 1_000_000);
    assert_eq!(store.clean_unused(AT, before).await.unwrap(), 400);
    assert_eq!(usage(&world).await, (7_200, 7_600));
}

#[tokio::test]
async fn every_text_column_is_a_condition() {
    let world = World::new().await;
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

#[tokio::test]
async fn two_sweeps_run_one_after_the_other() {
    let world = World::new().await;
    fill(&world, 3_000).await;
    let (first, second) = (store(&world).await, store(&world).await);
    let now = fingerpost_core::Timestamp(0);
    first
        .gc_mark(AT, "K".to_owned(), conditions(&[]), now)
        .await
        .unwrap();
    let (one, other) = tokio::join!(
        first.gc_sweep(AT, "K".to_owned()),
        second.gc_sweep(AT, "K".to_owned())
    );
    let mut counts = [one.unwrap_or(0), other.unwrap_or(0)];
    counts.sort_unstable();
    assert_eq!(counts, [0, 3_000]);
}

#[tokio::test]
async fn a_walk_skips_gaps_in_the_numbers() {
    let world = World::new().await;
    fill(&world, 10).await;
    let job = |tx: &mut fingerpost_db::Tx<'_>| {
        let far = i64::MAX - 1_000;
        tx.conn()
            .execute("UPDATE outhash SET id = ?1 WHERE id = 10", [far])?;
        tx.conn()
            .execute("UPDATE unihash SET task = ?1 WHERE task = 10", [far])?;
        tx.conn()
            .execute("UPDATE outhash SET task = ?1 WHERE task = 10", [far])?;
        tx.conn()
            .execute("UPDATE task SET id = ?1 WHERE id = 10", [far])
    };
    world.db.write(job).await.unwrap();
    let store = store(&world).await;
    let removed = store.remove(AT, conditions(&[(Column::Method, "m")]));
    let removed = tokio::time::timeout(std::time::Duration::from_secs(20), removed);
    assert_eq!(removed.await.unwrap().unwrap(), 20);
}
