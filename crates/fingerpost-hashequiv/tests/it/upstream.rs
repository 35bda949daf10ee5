//! A parent server: what it knows is used and kept, what it does not know is
//! briefly believed, and its silence costs a bounded time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fingerpost_hashequiv::store::{Metadata, OutputRow, Task};
use fingerpost_hashequiv::upstream::Asked;
use fingerpost_hashequiv::{Config, Upstream, UpstreamError, UpstreamOptions};
use fingerpost_hashequiv_proto::types::{Outhash, Unihash};

use crate::place::{Place, on_each_store};
use crate::world::{World, hash, task};

on_each_store! {
    what_the_parent_knows_is_answered_and_kept,
    full_rows_are_copied_with_their_time,
    a_miss_is_believed_until_a_report_says_otherwise,
    a_report_takes_the_parents_unihash,
    a_silent_parent_costs_the_timeout_and_no_answer,
    existence_is_asked_of_the_parent_too,
}

/// A parent server in memory.
#[derive(Default)]
struct Parent {
    unihashes: HashMap<Task, Unihash>,
    outputs: HashMap<Outhash, OutputRow>,
    questions: AtomicU64,
    silent: AtomicBool,
    broken: AtomicBool,
}

impl Parent {
    fn answer<T: Send + 'static>(&self, value: T) -> Asked<'_, T> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if self.silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.broken.load(Ordering::Relaxed) {
                return Err(UpstreamError("refused".to_owned()));
            }
            Ok(value)
        })
    }

    fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }
}

impl Upstream for Parent {
    fn unihashes(&self, tasks: Vec<Task>) -> Asked<'_, Vec<Option<Unihash>>> {
        self.answer(
            tasks
                .iter()
                .map(|task| self.unihashes.get(task).cloned())
                .collect(),
        )
    }

    fn exist(&self, unihashes: Vec<Unihash>) -> Asked<'_, Vec<bool>> {
        let known = |unihash: &Unihash| self.unihashes.values().any(|other| other == unihash);
        self.answer(unihashes.iter().map(known).collect())
    }

    fn output_of_task(&self, task: Task) -> Asked<'_, Option<OutputRow>> {
        let row = self
            .outputs
            .values()
            .find(|row| row.taskhash == task.taskhash);
        self.answer(row.cloned())
    }

    fn output(&self, _: Task, outhash: Outhash) -> Asked<'_, Option<OutputRow>> {
        self.answer(self.outputs.get(&outhash).cloned())
    }
}

/// A parent that knows task 1 with output a and unihash d.
fn parent() -> Arc<Parent> {
    let known = task("1");
    let row = OutputRow {
        id: 77,
        method: known.method.clone(),
        taskhash: known.taskhash.clone(),
        outhash: Outhash::parse(&hash("a")),
        created: Some("2024-05-01 12:30:00".to_owned()),
        metadata: Metadata::default(),
        siginfo: Some("listing".to_owned()),
        unihash: Some((Unihash::parse(&hash("d")), String::new())),
    };
    Arc::new(Parent {
        unihashes: HashMap::from([(known, Unihash::parse(&hash("d")))]),
        outputs: HashMap::from([(row.outhash.clone(), row)]),
        ..Parent::default()
    })
}

async fn world(place: &Place, parent: &Arc<Parent>) -> World {
    let upstream: Arc<dyn Upstream> = Arc::clone(parent) as _;
    let config = Config {
        upstream: UpstreamOptions {
            timeout: Duration::from_millis(200),
            miss_ttl: Duration::from_secs(30),
        },
        ..Config::default()
    };
    World::with(place, config, Some(upstream)).await
}

async fn what_the_parent_knows_is_answered_and_kept(place: Place) {
    let parent = parent();
    let world = world(&place, &parent).await;
    assert_eq!(world.look_up("1").await.as_deref(), Some("d"));
    assert!(
        world
            .command("backfill-wait", "null")
            .await
            .unwrap()
            .starts_with("{\"tasks\": ")
    );
    parent.broken.store(true, Ordering::Relaxed);
    assert_eq!(world.look_up("1").await.as_deref(), Some("d"));
    assert_eq!(parent.questions(), 1);
}

async fn full_rows_are_copied_with_their_time(place: Place) {
    let world = world(&place, &parent()).await;
    let argument = format!(
        "{{\"method\": \"m\", \"outhash\": \"{}\", \"taskhash\": \"\"}}",
        hash("a")
    );
    let from_parent = world.command("get-outhash", &argument).await.unwrap();
    assert!(from_parent.contains("\"id\": 77,"), "{from_parent}");
    let kept = world.command("get-outhash", &argument).await.unwrap();
    assert!(
        kept.contains("\"id\": 1,") && kept.contains("2024-05-01 12:30:00"),
        "{kept}"
    );
    assert!(kept.contains("listing"), "{kept}");
}

async fn a_miss_is_believed_until_a_report_says_otherwise(place: Place) {
    let parent = parent();
    let world = world(&place, &parent).await;
    assert_eq!(world.look_up("2").await, None);
    assert_eq!(world.look_up("2").await, None);
    assert_eq!(parent.questions(), 1);
    world.report("2", "b", "e").await;
    assert_eq!(world.look_up("2").await.as_deref(), Some("e"));
    world
        .command("remove", "{\"where\": {\"method\": \"m\"}}")
        .await
        .unwrap();
    assert_eq!(world.look_up("2").await, None);
    assert_eq!(
        parent.questions(),
        3,
        "the report asked for its output, the look-up again"
    );
}

async fn a_report_takes_the_parents_unihash(place: Place) {
    let parent = parent();
    let world = world(&place, &parent).await;
    assert_eq!(world.report("2", "a", "e").await, "d");
    // Only the reporter's own rows are stored.
    let usage = world.command("get-db-usage", "null").await.unwrap();
    assert!(usage.contains("\"outhashes_v2\": {\"rows\": 1}"), "{usage}");
    // A local match is used without asking.
    let asked = parent.questions();
    assert_eq!(world.report("3", "a", "f").await, "d");
    assert_eq!(parent.questions(), asked);
}

async fn a_silent_parent_costs_the_timeout_and_no_answer(place: Place) {
    let parent = parent();
    let world = world(&place, &parent).await;
    parent.silent.store(true, Ordering::Relaxed);
    let started = Instant::now();
    assert_eq!(world.look_up("1").await, None);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(world.report("2", "a", "e").await, "e");
    assert_eq!(world.service.metrics().shared.upstream_timeouts.get(), 2);
    // A failure is no miss: it is asked again.
    parent.silent.store(false, Ordering::Relaxed);
    assert_eq!(world.look_up("1").await.as_deref(), Some("d"));
}

async fn existence_is_asked_of_the_parent_too(place: Place) {
    let world = world(&place, &parent()).await;
    let known = world
        .service
        .exist(vec![hash("d"), hash("e")])
        .await
        .unwrap();
    assert_eq!(known, [true, false]);
}
