//! Siginfo: stored once, as deltas, and gone with the last row.

use fingerpost_hashequiv::store::Metadata;

use crate::world::{World, hash};

fn metadata() -> Metadata {
    Metadata {
        pn: Some("zlib".to_owned()),
        task: Some("package".to_owned()),
        ..Metadata::default()
    }
}

/// A listing whose lines from `from` on differ from the original.
fn listing(from: usize) -> String {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    (0..200)
        .map(|line| {
            let salt = if line >= from { from } else { 200 };
            let word = |part: usize| hasher.hash_one((line, salt, part));
            format!(
                "-rw-r--r-- {:016x}{:016x} ./usr/lib/{line}.so\n",
                word(0),
                word(1)
            )
        })
        .collect()
}

async fn rows(world: &World) -> Vec<(i64, Option<i64>)> {
    world
        .db
        .read(|conn| {
            conn.prepare("SELECT id, base FROM siginfo ORDER BY id")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
        .unwrap()
}

async fn siginfo(world: &World, output: &str) -> String {
    let argument = format!(
        "{{\"method\": \"m\", \"outhash\": \"{}\", \"taskhash\": \"\"}}",
        hash(output)
    );
    let row = world.command("get-outhash", &argument).await.unwrap();
    let row: serde_json::Value = serde_json::from_str(&row).unwrap();
    row["outhash_siginfo"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_rebuild_is_a_delta_and_reads_back() {
    let world = World::new().await;
    world
        .report_with("1", "a", "1", metadata(), Some(listing(200)))
        .await;
    world
        .report_with("2", "b", "2", metadata(), Some(listing(190)))
        .await;
    world
        .report_with("3", "c", "3", metadata(), Some(listing(180)))
        .await;
    // The same listing under another output is stored once.
    world
        .report_with("4", "d", "4", metadata(), Some(listing(190)))
        .await;
    assert_eq!(rows(&world).await, [(1, None), (2, Some(1)), (3, Some(1))]);
    for (output, from) in [("a", 200), ("b", 190), ("c", 180), ("d", 190)] {
        assert_eq!(siginfo(&world, output).await, listing(from));
    }
}

#[tokio::test]
async fn another_process_goes_on_with_the_same_base() {
    let world = World::new().await;
    world
        .report_with("1", "a", "1", metadata(), Some(listing(200)))
        .await;
    let neighbour = world.neighbour().await;
    neighbour
        .report_with("2", "b", "2", metadata(), Some(listing(190)))
        .await;
    assert_eq!(rows(&world).await, [(1, None), (2, Some(1))]);
    assert_eq!(siginfo(&world, "b").await, listing(190));
}

#[tokio::test]
async fn a_base_lives_while_a_delta_needs_it() {
    let world = World::new().await;
    world
        .report_with("1", "a", "1", metadata(), Some(listing(200)))
        .await;
    world
        .report_with("2", "b", "2", metadata(), Some(listing(190)))
        .await;
    let remove = |task: &str| format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash(task));
    world.command("remove", &remove("1")).await.unwrap();
    assert_eq!(rows(&world).await, [(1, None), (2, Some(1))]);
    assert_eq!(siginfo(&world, "b").await, listing(190));
    world.command("remove", &remove("2")).await.unwrap();
    assert_eq!(rows(&world).await, []);
    // The remembered base is gone; the next listing is complete again.
    world
        .report_with("3", "c", "3", metadata(), Some(listing(180)))
        .await;
    assert_eq!(siginfo(&world, "c").await, listing(180));
    assert_eq!(rows(&world).await.len(), 1);
}

#[tokio::test]
async fn listings_without_a_family_are_stored_on_their_own() {
    let world = World::new().await;
    let nobody = Metadata::default();
    world
        .report_with("1", "a", "1", nobody.clone(), Some(listing(200)))
        .await;
    world
        .report_with("2", "b", "2", nobody, Some(listing(190)))
        .await;
    assert_eq!(rows(&world).await, [(1, None), (2, None)]);
}

#[tokio::test]
async fn a_remembered_base_whose_number_was_given_away_is_not_used() {
    let world = World::new().await;
    let family = |pn: &str| Metadata {
        pn: Some(pn.to_owned()),
        ..metadata()
    };
    world
        .report_with("1", "a", "1", family("zlib"), Some(listing(200)))
        .await;
    let remove = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("1"));
    world.command("remove", &remove).await.unwrap();
    // Another family's base takes the number.
    world
        .report_with("2", "b", "2", family("curl"), Some(listing(0)))
        .await;
    world
        .report_with("3", "c", "3", family("zlib"), Some(listing(190)))
        .await;
    assert_eq!(rows(&world).await, [(1, None), (2, None)]);
    assert_eq!(siginfo(&world, "b").await, listing(0));
    assert_eq!(siginfo(&world, "c").await, listing(190));
}
