//! Retention over a farm whose days pass quickly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fingerpost_core::{Clock, ManualClock, Timestamp};
use fingerpost_hashequiv::Reported;
use fingerpost_hashequiv::query::{Column, Conditions};
use fingerpost_hashequiv::retention::{Outcome, Policy, Report, Rule, Term, Terms};
use fingerpost_hashequiv::store::{Metadata, Task};
use fingerpost_hashequiv_proto::types::{Method, Outhash, Taskhash, Unihash};

use crate::place::{Base, Place, on_each_store};
use crate::world::{World, builder};

on_each_store! {
    a_plan_says_what_a_run_then_does,
    look_ups_are_uses_also_those_that_memory_answers,
    what_is_pinned_stays_with_its_outputs_and_listings,
    listings_go_alone,
    one_of_two_processes_works_and_both_forget_what_went,
    a_run_that_was_dropped_is_gone_on_with,
    what_is_used_while_it_is_judged_stays,
}

const DAY: i64 = 86_400_000_000;
/// Some day, at noon.
const BEGIN: Timestamp = Timestamp(20_000 * DAY + DAY / 2);

/// A hash that a number stands for; those of neighbours lie far from each other.
fn hash(number: u64) -> String {
    format!(
        "{:016x}{number:048x}",
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

fn task(number: u64) -> Task {
    Task {
        method: Method::new("m"),
        taskhash: Taskhash::parse(&hash(number)),
    }
}

/// A listing that hardly gets shorter, as those of real tasks are some kilobytes.
fn listing(number: u64) -> String {
    let words = (number * 200..).take(200);
    words
        .map(|word| format!("{:016x}", word.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect()
}

struct Farm {
    world: World,
    clock: Arc<ManualClock>,
}

impl Farm {
    async fn new(place: &Place) -> Self {
        let clock = Arc::new(ManualClock::new(BEGIN));
        let world = World::at(place, Arc::clone(&clock) as Arc<dyn Clock>).await;
        Self { world, clock }
    }

    /// Another process on the same database.
    async fn neighbour(&self) -> Self {
        let clock = Arc::clone(&self.clock);
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        let world = self.world.neighbour_at(time).await;
        Self { world, clock }
    }

    /// Builds tasks that nobody built before, at once: they share commits.
    async fn build(&self, numbers: std::ops::Range<u64>) {
        let mut building = tokio::task::JoinSet::new();
        for number in numbers {
            let service = Arc::clone(&self.world.service);
            building.spawn(async move {
                // Not in the order of time, as hashes are not.
                let report = Reported {
                    task: task(number),
                    outhash: Some(Outhash::parse(&hash(number | 1 << 62))),
                    proposed: Unihash::parse(&hash(number)),
                    metadata: Metadata::default(),
                    siginfo: Some(listing(number)),
                };
                service.report(&builder(), report).await.unwrap();
            });
        }
        building.join_all().await;
        self.world.base.analyze().await;
    }

    /// Looks tasks up as a stream does: in memory first.
    async fn use_tasks(&self, numbers: impl Iterator<Item = u64>) -> usize {
        let hashes: Vec<String> = numbers.map(hash).collect();
        let keys = hashes.iter().map(|hash| ("m", hash.as_str()));
        let found = self.world.service.remembered_unihashes(keys).await.unwrap();
        found.iter().flatten().count()
    }

    async fn pass_a_day(&self) {
        self.clock.advance_micros(DAY);
        self.world.service.store_uses().await.unwrap();
    }

    async fn run(&self, policy: Policy) -> Option<Report> {
        let retention = self.world.service.retention(policy);
        retention.run(&|_| ()).await.unwrap()
    }

    /// Mappings, rows of the relation O, and listings.
    async fn count(&self) -> [u64; 3] {
        let counted = self.world.base.lines(
            "SELECT (SELECT count(*) FROM unihash) || ' ' || (SELECT count(*) FROM outhash)
                    || ' ' || (SELECT count(*) FROM siginfo)",
            "SELECT (SELECT count(*) FROM mapping) || ' ' || (SELECT count(*) FROM output)
                    || ' ' || (SELECT count(*) FROM listing)",
        );
        numbers(&counted.await[0]).try_into().unwrap()
    }

    /// Bytes of the file, or of the tables and their indexes. PostgreSQL has cleaned them
    /// before, as it does by itself in the background.
    async fn bytes(&self) -> u64 {
        if let Base::Postgres { .. } = &self.world.base {
            self.world.base.vacuum();
        }
        self.world
            .base
            .number(
                "SELECT CAST(page_count * 4096 AS TEXT) FROM pragma_page_count",
                "SELECT sum(pg_total_relation_size(oid))::text FROM pg_class
                  WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
            )
            .await
    }
}

/// The numbers of a line.
fn numbers(line: &str) -> Vec<u64> {
    line.split(' ')
        .map(|number| number.parse().unwrap())
        .collect()
}

fn days(unused: u64) -> Terms {
    Terms {
        unused_days: Some(unused),
        ..Terms::default()
    }
}

/// One rule for everything.
fn policy(change: impl FnOnce(&mut Rule)) -> Policy {
    let mut rule = Rule {
        namespace: "*".to_owned(),
        method: "*".to_owned(),
        ..Rule::default()
    };
    change(&mut rule);
    let policy = Policy { rules: vec![rule] };
    policy.check().unwrap();
    policy
}

fn by_age(max_age_days: u64) -> Policy {
    policy(|rule| rule.mappings.max_age_days = Some(max_age_days))
}

fn unused(after: u64) -> Policy {
    policy(|rule| (rule.mappings, rule.outputs) = (days(after), days(after)))
}

async fn a_plan_says_what_a_run_then_does(place: Place) {
    let farm = Farm::new(&place).await;
    farm.build(0..30).await;
    farm.clock.advance_micros(10 * DAY);
    farm.build(30..50).await;
    farm.clock.advance_micros(5 * DAY);
    let retention = farm.world.service.retention(by_age(14));
    let plan = retention.plan(&|_| ()).await.unwrap();
    assert_eq!((plan.rows(), plan.gone.len()), (30, 1));
    assert_eq!(plan.gone[0].term, Term::Age);
    assert!(plan.gone[0].examples[0].starts_with("default m "));
    assert_eq!(farm.count().await, [50, 50, 50]);
    let mut done = farm.run(by_age(14)).await.unwrap();
    done.given_back_bytes = plan.given_back_bytes;
    assert_eq!(done, plan);
    assert_eq!(farm.count().await, [20, 50, 50]);
    assert_eq!(farm.use_tasks(0..50).await, 20);
    let runs = retention.runs(10).await.unwrap();
    assert_eq!(
        (runs.len(), runs[0].rows, runs[0].outcome),
        (1, 30, Outcome::Done)
    );
    assert_eq!(farm.run(by_age(14)).await.unwrap().rows(), 0);
}

/// How large tables of PostgreSQL are is a matter of its vacuum.
/// Tasks that the farm builds each day, unless `FINGERPOST_FARM_TASKS` says otherwise.
const EACH_DAY: u64 = 300;

async fn a_farm_that_forgets_what_is_unused_stays_as_large_as_it_is(place: Place) {
    let each_day = std::env::var("FINGERPOST_FARM_TASKS")
        .ok()
        .and_then(|tasks| tasks.parse().ok())
        .unwrap_or(EACH_DAY);
    let farm = Farm::new(&place).await;
    let (mut rows, mut sizes) = (Vec::new(), Vec::new());
    for day in 0..30 {
        let begin = day * each_day;
        for some in (begin..begin + each_day).step_by(1000) {
            farm.build(some..(begin + each_day).min(some + 1000)).await;
        }
        // Some old tasks are asked for every day, others while they are young.
        farm.use_tasks(0..20).await;
        let young = begin.saturating_sub(7 * each_day)..begin;
        farm.use_tasks(young.filter(|number| number % 31 == day))
            .await;
        farm.pass_a_day().await;
        farm.run(unused(14)).await.unwrap();
        // The log of deletions, which is kept for 30 days, is some 5 % of this.
        rows.push(farm.count().await);
        sizes.push(farm.bytes().await);
    }
    println!("bytes after each day: {sizes:?}");
    let (at, end) = (rows[16], rows[29]);
    for (before, after) in at.iter().zip(end) {
        assert!(after <= before + before / 10, "{rows:?}");
    }
    assert!(sizes[29] <= sizes[16] + sizes[16] / 10, "{sizes:?}");
    assert!(rows[13][0] < rows[16][0], "nothing went: {rows:?}");
    assert_eq!(farm.use_tasks(0..20).await, 20);
    assert!(farm.use_tasks(20..each_day).await < 60 + each_day as usize / 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_on_a_file_stays_as_large_as_it_is() {
    a_farm_that_forgets_what_is_unused_stays_as_large_as_it_is(Place::Files).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_on_postgresql_stays_as_large_as_it_is() {
    let cluster = Place::cluster().await;
    a_farm_that_forgets_what_is_unused_stays_as_large_as_it_is(cluster).await;
}

async fn look_ups_are_uses_also_those_that_memory_answers(place: Place) {
    let farm = Farm::new(&place).await;
    farm.build(0..2).await;
    let used = async |farm: &Farm| {
        let days = farm.world.base.lines(
            "SELECT used_day || '' FROM unihash ORDER BY unihash",
            "SELECT used_day || '' FROM mapping ORDER BY unihash",
        );
        let days = days
            .await
            .into_iter()
            .map(|day| day.parse::<i64>().unwrap());
        days.collect::<Vec<_>>()
    };
    let day = BEGIN.day();
    for hour in 1..=72 {
        farm.clock.advance_micros(DAY / 24);
        farm.world.service.store_uses().await.unwrap();
        farm.use_tasks(0..1).await;
        farm.use_tasks(0..1).await;
        let noted = farm.world.service.store_uses().await.unwrap();
        assert!(noted <= 1, "{noted} at {hour}");
        let today = farm.clock.now().day();
        let known = used(&farm).await;
        assert!(known[0] >= today - 1, "{known:?} on {today}");
        assert_eq!(known[1], day);
    }
    let latest = used(&farm).await[0];
    let neighbour = farm.neighbour().await;
    neighbour.clock.advance_micros(-2 * DAY);
    neighbour.use_tasks(0..1).await;
    neighbour.world.service.store_uses().await.unwrap();
    assert_eq!(used(&farm).await[0], latest, "the latest use counts");
}

async fn what_is_pinned_stays_with_its_outputs_and_listings(place: Place) {
    let farm = Farm::new(&place).await;
    farm.build(0..10).await;
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("keep");
    std::fs::write(&kept, format!("{}\n{}\n", hash(3), hash(4))).unwrap();
    farm.clock.advance_micros(20 * DAY);
    let taskhash = hash(7);
    let old = Terms {
        max_age_days: Some(10),
        ..Terms::default()
    };
    let policy = policy(|rule| {
        (rule.mappings, rule.outputs, rule.siginfo) = (old, old, old);
        rule.pins = vec![Conditions(vec![(Column::Taskhash, taskhash)])];
        rule.keep_file = Some(kept.clone());
    });
    farm.run(policy.clone()).await.unwrap();
    assert_eq!(farm.count().await, [3, 3, 3]);
    assert_eq!(farm.use_tasks([3, 4, 7].into_iter()).await, 3);
    std::fs::write(&kept, "").unwrap();
    let failed = farm.world.service.retention(policy);
    let error = failed.run(&|_| ()).await.unwrap_err().to_string();
    assert!(error.contains("has no unihash"), "{error}");
    assert_eq!(farm.count().await, [3, 3, 3]);
    let runs = failed.runs(1).await.unwrap();
    assert_eq!((runs[0].outcome, &runs[0].why), (Outcome::Failed, &error));
}

async fn listings_go_alone(place: Place) {
    let farm = Farm::new(&place).await;
    farm.build(0..10).await;
    farm.clock.advance_micros(20 * DAY);
    let policy = policy(|rule| rule.siginfo.max_rows = Some(4));
    let report = farm.run(policy).await.unwrap();
    assert_eq!((report.rows(), report.gone[0].term), (6, Term::Rows));
    assert_eq!(farm.count().await, [10, 10, 4]);
}

async fn one_of_two_processes_works_and_both_forget_what_went(place: Place) {
    let farm = Farm::new(&place).await;
    let other = farm.neighbour().await;
    farm.build(0..2000).await;
    farm.clock.advance_micros(20 * DAY);
    assert_eq!(other.use_tasks(0..2000).await, 2000);
    let (first, second) = tokio::join!(farm.run(by_age(14)), other.run(by_age(14)));
    let (first, second) = (first.map(|one| one.rows()), second.map(|one| one.rows()));
    assert!(
        matches!((first, second), (Some(2000), None) | (None, Some(2000))),
        "{first:?} {second:?}"
    );
    let began = Instant::now();
    while other.use_tasks(0..2000).await > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "still answered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_run_that_was_dropped_is_gone_on_with(place: Place) {
    let farm = Farm::new(&place).await;
    farm.build(0..3000).await;
    farm.clock.advance_micros(20 * DAY);
    let retention = farm.world.service.retention(by_age(14));
    let some_went = tokio::sync::Notify::new();
    let watch = |event| {
        if matches!(event, fingerpost_hashequiv::retention::Event::Gone { .. }) {
            some_went.notify_one();
        }
    };
    tokio::select! {
        done = retention.run(&watch) => panic!("too quick: {done:?}"),
        () = some_went.notified() => {}
    }
    let began = Instant::now();
    // As a process that died: nothing is given back.
    let other = farm.neighbour().await;
    assert_eq!(other.run(by_age(14)).await, None);
    retention.stopped().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    let left = farm.count().await[0];
    assert!(left > 0 && left < 3000, "{left} are left");
    assert_eq!(
        retention.runs(1).await.unwrap()[0].outcome,
        Outcome::Stopped
    );
    assert_eq!(other.run(by_age(14)).await.unwrap().rows(), left);
    let left = farm.world.base.lines(
        "SELECT (SELECT count(*) FROM task) || ' ' || (SELECT count(*) FROM outhash)
                || ' ' || (SELECT count(*) FROM deletion WHERE taskhash IS NOT NULL)",
        "SELECT (SELECT count(DISTINCT taskhash) FROM output) || ' '
                || (SELECT count(*) FROM output) || ' '
                || (SELECT count(*) FROM deletion WHERE taskhash IS NOT NULL)",
    );
    assert_eq!(numbers(&left.await[0]), [3000, 3000, 3000]);
}

async fn what_is_used_while_it_is_judged_stays(place: Place) {
    let farm = Farm::new(&place).await;
    farm.build(0..100).await;
    farm.clock.advance_micros(20 * DAY);
    let service = Arc::clone(&farm.world.service);
    let other = farm.neighbour().await;
    // Between the reading of the page and the deletion, the neighbour uses all of it.
    let retention = service.retention(unused(14));
    let looked = tokio::sync::Notify::new();
    let watch = |_| looked.notify_one();
    let using = async {
        other.use_tasks(0..100).await;
        other.world.service.store_uses().await.unwrap();
        looked.notified().await;
    };
    let plan = retention.plan(&|_| ()).await.unwrap();
    assert_eq!(plan.rows(), 200);
    let (report, ()) = tokio::join!(retention.run(&watch), using);
    let left = farm.count().await[0];
    let gone = report.unwrap().unwrap().gone;
    let mappings: u64 = gone
        .iter()
        .filter(|one| one.kind.as_str() == "mappings")
        .map(|one| one.rows)
        .sum();
    assert_eq!(left + mappings, 100);
}
