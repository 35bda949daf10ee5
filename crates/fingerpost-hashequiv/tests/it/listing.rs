//! Siginfo: stored once, as deltas, and gone with the last row.

use fingerpost_hashequiv::store::Metadata;

use crate::place::{Place, on_each_store};
use crate::world::{World, hash};

on_each_store! {
    a_rebuild_is_a_delta_and_reads_back,
    another_process_goes_on_with_the_same_base,
    a_base_lives_while_a_delta_needs_it,
    listings_without_a_family_are_stored_on_their_own,
    a_remembered_base_whose_number_was_given_away_is_not_used,
}

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

/// The listings that are stored, oldest first: each one's number, and that of its base.
async fn rows(world: &World) -> Vec<(usize, Option<usize>)> {
    let in_sqlite = "SELECT id || ' ' || coalesce(base, '-') FROM siginfo ORDER BY id";
    // They have no numbers. A base that only deltas need is older than they are.
    let in_postgresql = "
        SELECT encode(digest, 'hex') || ' ' || coalesce(encode(base, 'hex'), '-') FROM listing
         ORDER BY (SELECT min(id) FROM output WHERE output.listing = listing.digest) NULLS FIRST";
    let lines = world.base.lines(in_sqlite, in_postgresql).await;
    let names: Vec<&str> = lines
        .iter()
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    let number = |name: &str| Some(names.iter().position(|known| *known == name)? + 1);
    let rows = lines.iter().map(|line| {
        let (name, base) = line.split_once(' ').unwrap();
        (number(name).unwrap(), number(base))
    });
    rows.collect()
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

async fn a_rebuild_is_a_delta_and_reads_back(place: Place) {
    let world = World::new(&place).await;
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

async fn another_process_goes_on_with_the_same_base(place: Place) {
    let world = World::new(&place).await;
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

async fn a_base_lives_while_a_delta_needs_it(place: Place) {
    let world = World::new(&place).await;
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

async fn listings_without_a_family_are_stored_on_their_own(place: Place) {
    let world = World::new(&place).await;
    let nobody = Metadata::default();
    world
        .report_with("1", "a", "1", nobody.clone(), Some(listing(200)))
        .await;
    world
        .report_with("2", "b", "2", nobody, Some(listing(190)))
        .await;
    assert_eq!(rows(&world).await, [(1, None), (2, None)]);
}

async fn a_remembered_base_whose_number_was_given_away_is_not_used(place: Place) {
    let world = World::new(&place).await;
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
