//! Rows a page at a time.

use fingerpost_hashequiv::Config;
use fingerpost_hashequiv::namespace::NamespaceConfig;
use fingerpost_hashequiv::paging::{OutputFilter, OutputKey};
use fingerpost_hashequiv::store::{Metadata, OutputRow};
use fingerpost_hashequiv_proto::types::{Method, Outhash};

use crate::place::{Place, on_each_store};
use crate::world::{World, hash, name, task};

on_each_store! {
    pages_go_through_all_rows_and_deletions_shift_none,
    a_page_says_which_rows_have_a_listing_and_that_is_told_alone,
    the_epoch_rises_with_each_deletion_here_and_elsewhere,
    pages_go_on_where_reads_fall_back_to,
}

/// The rows page by page, and `meanwhile` after the first.
async fn pages(world: &World, filter: &OutputFilter, meanwhile: &str) -> Vec<Vec<OutputRow>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = world.service.output_page(filter.clone(), after, 2);
        let page = page.await.unwrap().unwrap();
        after = page.next;
        if pages.is_empty() && !meanwhile.is_empty() {
            let unused = format!("{{\"where\": {{\"taskhash\": \"{}\"}}}}", hash(meanwhile));
            world.command("remove", &unused).await.unwrap();
        }
        pages.push(page.rows.into_iter().map(|one| one.row).collect());
        if after.is_none() {
            return pages;
        }
    }
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

async fn pages_go_on_where_reads_fall_back_to(place: Place) {
    let release = NamespaceConfig {
        fallback: Some("default".to_owned()),
        ..NamespaceConfig::named("release")
    };
    let config = Config {
        namespaces: vec![release, NamespaceConfig::named("lab")],
        ..Config::default()
    };
    let worlds = World::of_namespaces(&place, config, &["default", "release", "lab"]).await;
    let [default, release, lab] = &worlds[..] else {
        panic!("three worlds")
    };
    for output in ["a", "b", "c"] {
        default.report("1", output, "d").await;
        lab.report("1", output, "d").await;
    }
    for output in ["a", "e"] {
        release.report("1", output, "d").await;
    }
    let filter = OutputFilter::Task(task("1"));
    let read = async |world: &World, limit: usize| {
        let (mut told, mut after) = (Vec::new(), None);
        loop {
            let page = world.service.output_page(filter.clone(), after, limit);
            let page = page.await.unwrap().unwrap();
            let rows = page.rows.into_iter();
            told.extend(rows.map(|one| (one.namespace, name(&one.row.outhash.to_text()))));
            after = page.next;
            if after.is_none() {
                return told;
            }
        }
    };
    let rows = |namespace: &str, outputs: &str| -> Vec<(String, String)> {
        let outputs = outputs.chars();
        let row = |output: char| (namespace.to_owned(), output.to_string());
        outputs.map(row).collect()
    };
    for limit in [1, 2, 3, 10] {
        let wanted = [rows("release", "ae"), rows("default", "abc")].concat();
        assert_eq!(read(release, limit).await, wanted, "{limit}");
        assert_eq!(read(default, limit).await, rows("default", "abc"));
    }
    let page = lab.service.output_page(filter.clone(), None, 1).await;
    let elsewhere = page.unwrap().unwrap().next;
    let page = release.service.output_page(filter.clone(), elsewhere, 1);
    assert_eq!(page.await.unwrap(), None, "lab is none of those");
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
    let page = world.service.output_page(filter, None, 10).await.unwrap();
    let rows = page.unwrap().rows;
    let has: Vec<_> = rows.iter().map(|one| one.row.siginfo.as_deref()).collect();
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
