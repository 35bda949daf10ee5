//! Rows a page at a time.

use fingerpost_hashequiv::paging::{OutputFilter, OutputKey};
use fingerpost_hashequiv::store::{Metadata, OutputRow};
use fingerpost_hashequiv_proto::types::{Method, Outhash};

use crate::place::{Place, on_each_store};
use crate::world::{World, hash, task};

on_each_store! {
    pages_go_through_all_rows_and_deletions_shift_none,
    a_page_says_which_rows_have_a_listing_and_that_is_told_alone,
    the_epoch_rises_with_each_deletion_here_and_elsewhere,
}

/// The rows page by page, and `meanwhile` after the first.
async fn pages(world: &World, filter: &OutputFilter, meanwhile: &str) -> Vec<Vec<OutputRow>> {
    let (mut pages, mut after) = (Vec::new(), Some(0));
    while let Some(start) = after {
        let page = world.service.output_page(filter.clone(), start, 2);
        let page = page.await.unwrap();
        after = page.next;
        if pages.is_empty() && !meanwhile.is_empty() {
            let unused = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash(meanwhile));
            world.command("remove", &unused).await.unwrap();
        }
        pages.push(page.rows);
    }
    pages
}

async fn pages_go_through_all_rows_and_deletions_shift_none(place: Place) {
    let world = World::new(&place).await;
    for name in ["1", "2", "3", "4", "5"] {
        world.report(name, "a", "1").await;
        world.report("6", name, "1").await;
    }
    let by_output = OutputFilter::Outhash {
        method: Method::new("m"),
        outhash: Outhash::parse(&hash("a")),
    };
    let check = async |filter: &OutputFilter, meanwhile: &str, wanted: &[usize]| {
        let pages = pages(&world, filter, meanwhile).await;
        let lens: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(lens, wanted);
        assert!(pages.concat().is_sorted_by(|a, b| a.id < b.id));
    };
    check(&by_output, "", &[2, 2, 1]).await;
    check(&OutputFilter::Task(task("6")), "", &[2, 2, 1]).await;
    check(&by_output, "1", &[2, 2, 1]).await;
    check(&by_output, "", &[2, 2]).await;
    check(&OutputFilter::Task(task("9")), "", &[0]).await;
}

async fn a_page_says_which_rows_have_a_listing_and_that_is_told_alone(place: Place) {
    let world = World::new(&place).await;
    let listing = || Some("a listing\n".to_owned());
    world
        .report_with("1", "a", "1", Metadata::default(), listing())
        .await;
    world.report("2", "a", "1").await;
    let filter = OutputFilter::Outhash {
        method: Method::new("m"),
        outhash: Outhash::parse(&hash("a")),
    };
    let rows = world.service.output_page(filter, 0, 10).await.unwrap().rows;
    let has: Vec<_> = rows.iter().map(|row| row.siginfo.as_deref()).collect();
    assert_eq!(has, [Some(""), None]);
    let check = async |name: &str, output: &str, wanted: Option<String>| {
        let key = OutputKey {
            task: task(name),
            outhash: Outhash::parse(&hash(output)),
        };
        assert_eq!(world.service.siginfo(key).await.unwrap(), wanted);
    };
    check("1", "a", listing()).await;
    check("2", "a", None).await;
    check("1", "b", None).await;
    check("3", "a", None).await;
}

async fn the_epoch_rises_with_each_deletion_here_and_elsewhere(place: Place) {
    let world = World::new(&place).await;
    let neighbour = world.neighbour().await;
    world.report("1", "a", "1").await;
    let before = world.service.deletion_epoch();
    assert_eq!(before, world.service.deletion_epoch());
    let all = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash("1"));
    world.command("remove", &all).await.unwrap();
    assert!(world.service.deletion_epoch() > before);
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while neighbour.service.deletion_epoch() == before {
        assert!(std::time::Instant::now() < patience);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
