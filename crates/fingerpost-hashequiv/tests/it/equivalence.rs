//! What BitBake relies on.

use std::time::{Duration, Instant};

use fingerpost_hashequiv::Config;
use fingerpost_hashequiv::store::Metadata;

use crate::place::{Place, on_each_store};
use crate::world::{World, hash};

on_each_store! {
    an_equal_output_takes_the_first_reporters_unihash,
    a_diverging_report_keeps_the_first_unihash,
    a_lost_unihash_is_restored_by_a_repeated_report,
    a_removed_mapping_is_never_served_again,
    an_old_unihash_is_a_miss_unless_it_is_asked_for,
    metadata_is_that_of_the_first_report,
    a_neighbour_stops_serving_a_removed_mapping_within_the_promise,
}

async fn an_equal_output_takes_the_first_reporters_unihash(place: Place) {
    let world = World::new(&place).await;
    assert_eq!(world.report("1", "a", "d").await, "d");
    assert_eq!(world.report("2", "a", "e").await, "d");
    assert_eq!(world.look_up("2").await.as_deref(), Some("d"));
}

async fn a_diverging_report_keeps_the_first_unihash(place: Place) {
    let world = World::new(&place).await;
    world.report("1", "a", "d").await;
    assert_eq!(world.report("1", "b", "e").await, "d");
    // The new output is remembered and makes others equivalent.
    assert_eq!(world.report("2", "b", "f").await, "d");
}

async fn a_lost_unihash_is_restored_by_a_repeated_report(place: Place) {
    let world = World::new(&place).await;
    world.report("1", "a", "d").await;
    let argument = format!("{{\"where\": {{\"unihash\": \"{}\"}}}}", hash("d"));
    let removed = world.command("remove", &argument);
    assert_eq!(removed.await.unwrap(), "{\"count\": 1}");
    assert_eq!(world.look_up("1").await, None);
    assert_eq!(world.report("1", "a", "e").await, "e");
}

async fn a_removed_mapping_is_never_served_again(place: Place) {
    let world = World::new(&place).await;
    for round in 0..50 {
        world.report("1", "a", "d").await;
        assert_eq!(
            world.look_up("1").await.as_deref(),
            Some("d"),
            "round {round}"
        );
        let argument = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("1"));
        world.command("remove", &argument).await.unwrap();
        let argument = format!("{{\"method\": \"m\", \"taskhash\": \"{}\"}}", hash("1"));
        assert_eq!(world.command("get", &argument).await.unwrap(), "null");
        assert_eq!(world.look_up("1").await, None);
    }
}

async fn an_old_unihash_is_a_miss_unless_it_is_asked_for(place: Place) {
    for serve in [false, true] {
        let config = Config {
            serve_invalid_unihashes: serve,
            ..Config::default()
        };
        let world = World::with(&place, config, None).await;
        world.report("1", "a", "d").await;
        let (in_sqlite, in_postgresql) = (
            "UPDATE unihash SET unihash = 'old'",
            "UPDATE mapping SET unihash = '\\x016f6c64'",
        );
        world.base.execute(in_sqlite, in_postgresql).await;
        let fresh = world.neighbour().await;
        let world = if serve { world } else { fresh };
        let argument = format!("{{\"method\": \"m\", \"taskhash\": \"{}\"}}", hash("1"));
        let all = format!(
            "{{\"method\": \"m\", \"taskhash\": \"{}\", \"all\": true}}",
            hash("1")
        );
        // What this process stored itself is remembered as it was.
        if !serve {
            assert_eq!(world.command("get", &argument).await.unwrap(), "null");
            assert_eq!(world.report("1", "a", "e").await, "e");
            assert_eq!(world.report("2", "a", "f").await, "f");
            assert!(world.service.metrics().invalid_unihashes.get() >= 2);
        }
        assert!(
            world
                .command("get", &all)
                .await
                .unwrap()
                .contains("\"unihash\": \"old\"")
        );
    }
}

async fn metadata_is_that_of_the_first_report(place: Place) {
    let world = World::new(&place).await;
    let metadata = |pn: &str| Metadata {
        pn: Some(pn.to_owned()),
        ..Metadata::default()
    };
    world
        .report_with("1", "a", "d", metadata("zlib"), Some("one".to_owned()))
        .await;
    world
        .report_with("1", "a", "d", metadata("other"), Some("two".to_owned()))
        .await;
    let argument = format!(
        "{{\"method\": \"m\", \"taskhash\": \"{}\", \"all\": true}}",
        hash("1")
    );
    let row = world.command("get", &argument).await.unwrap();
    assert!(
        row.contains("\"PN\": \"zlib\"") && row.contains("\"outhash_siginfo\": \"one\""),
        "{row}"
    );
    assert!(row.contains("\"id\": 1,"), "{row}");
}

async fn a_neighbour_stops_serving_a_removed_mapping_within_the_promise(place: Place) {
    let world = World::new(&place).await;
    let neighbour = world.neighbour().await;
    world.report("1", "a", "d").await;
    let mut late = 0;
    for _ in 0..10 {
        world.report("1", "a", "d").await;
        assert_eq!(neighbour.look_up("1").await.as_deref(), Some("d"));
        let argument = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("1"));
        world.command("remove", &argument).await.unwrap();
        let removed = Instant::now();
        let argument = format!("{{\"method\": \"m\", \"taskhash\": \"{}\"}}", hash("1"));
        while neighbour.command("get", &argument).await.unwrap() != "null" {
            if removed.elapsed() > world.base.promise() {
                late += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(late, 0);
}
