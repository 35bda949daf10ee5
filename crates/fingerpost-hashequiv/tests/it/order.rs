//! Any interleaving equals some sequential order of the model.

use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::Failure;
use fingerpost_hashequiv_proto::types::Unihash;
use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, TestRunner};
use tokio::time::{sleep, timeout};

use crate::explained::{State, explains};
use crate::model::{Answer, Model, Operation};
use crate::place::{Base, Place};
use crate::world::{World, builder, hash, name, reported, task};

/// No operation takes so long, whatever happens to its connection.
const PATIENCE: Duration = Duration::from_secs(45);

/// Runs one operation on the service and answers as the model does.
pub(crate) async fn run(world: &World, operation: &Operation) -> Answer {
    try_run(world, operation).await.unwrap()
}

/// The same; it fails when the database does.
async fn try_run(world: &World, operation: &Operation) -> Result<Answer, Failure> {
    let service = &world.service;
    let told = |unihash: Unihash| Some(name(&unihash.to_text()));
    match operation {
        Operation::Report {
            task,
            output,
            proposed,
        } => {
            let report = reported(task, output, proposed);
            let answer = service.report(&builder(), report).await;
            answer.map(|answer| told(answer.unihash))
        }
        Operation::ReportEquiv {
            task: name_of_task,
            proposed,
        } => {
            let proposed = Unihash::parse(&hash(proposed));
            let answer = service.report_equiv(task(name_of_task), proposed);
            answer.await.map(told)
        }
        Operation::LookUp { task: name_of_task } => {
            let found = service.unihash(&task(name_of_task)).await?;
            Ok(found.and_then(told))
        }
        Operation::RemoveTask { task } => remove(world, "taskhash", task).await,
        Operation::RemoveUnihash { unihash } => remove(world, "unihash", unihash).await,
        Operation::Mark { mark, unihash } => {
            let argument = format!(
                "{{\"mark\": \"{mark}\", \"where\": {{\"unihash\": \"{}\"}}}}",
                hash(unihash)
            );
            count(world, "gc-mark", &argument).await
        }
        Operation::Sweep { mark } => {
            count(world, "gc-sweep", &format!("{{\"mark\": \"{mark}\"}}")).await
        }
    }
}

async fn remove(world: &World, column: &str, value: &str) -> Result<Answer, Failure> {
    let argument = format!("{{\"where\": {{\"{column}\": \"{}\"}}}}", hash(value));
    count(world, "remove", &argument).await
}

async fn count(world: &World, command: &str, argument: &str) -> Result<Answer, Failure> {
    let answer = match world.try_command(command, argument).await {
        Ok(answer) => answer,
        Err(Failure::Refused { .. }) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    Ok(Some(answer["count"].to_string()))
}

/// The relations as the database has them.
async fn state(world: &World) -> State {
    let unihashes = world.base.lines(
        "SELECT hex(taskhash) || ' ' || hex(unihash) FROM unihash
           JOIN task ON task.id = unihash.task ORDER BY taskhash",
        "SELECT encode(taskhash, 'hex') || ' ' || encode(unihash, 'hex') FROM mapping
          ORDER BY taskhash",
    );
    let outputs = world.base.lines(
        "SELECT hex(taskhash) || ' ' || hex(outhash) FROM outhash
           JOIN task ON task.id = outhash.task ORDER BY outhash.id",
        "SELECT encode(taskhash, 'hex') || ' ' || encode(outhash, 'hex') FROM output
          ORDER BY id",
    );
    let pairs = |lines: Vec<String>| {
        let pairs = lines.iter().map(|line| line.split_once(' ').unwrap());
        let short = |hash: &str| name(hash).to_lowercase();
        pairs.map(|(a, b)| (short(a), short(b))).collect()
    };
    (pairs(unihashes.await), pairs(outputs.await))
}

pub(crate) fn operation() -> impl Strategy<Value = Operation> {
    let task = || prop::sample::select(vec!["1", "2", "3", "4"]).prop_map(str::to_owned);
    let output = || prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned);
    let unihash = || prop::sample::select(vec!["c", "d", "e", "f"]).prop_map(str::to_owned);
    let mark = || prop::sample::select(vec!["K", "L"]).prop_map(str::to_owned);
    prop_oneof![
        6 => (task(), output(), unihash()).prop_map(|(task, output, proposed)| {
            Operation::Report { task, output, proposed }
        }),
        1 => (task(), unihash()).prop_map(|(task, proposed)| Operation::ReportEquiv { task, proposed }),
        2 => task().prop_map(|task| Operation::LookUp { task }),
        2 => task().prop_map(|task| Operation::RemoveTask { task }),
        1 => unihash().prop_map(|unihash| Operation::RemoveUnihash { unihash }),
        1 => (mark(), unihash()).prop_map(|(mark, unihash)| Operation::Mark { mark, unihash }),
        1 => mark().prop_map(|mark| Operation::Sweep { mark }),
    ]
}

/// Something that is tried out.
#[derive(Clone, Debug)]
struct Case {
    /// Runs one after another.
    before: Vec<Operation>,
    /// Runs at once.
    together: Vec<Operation>,
    /// Milliseconds between the cuts of connections.
    pauses: Vec<u64>,
}

/// How cases are run.
#[derive(Clone, Copy)]
struct Way {
    cases: u32,
    /// Services on one database.
    services: usize,
    /// Whether connections are cut meanwhile.
    cuts: bool,
    filter: fn(&Operation) -> bool,
}

async fn check(place: &Place, way: Way, case: &Case) -> Result<(), TestCaseError> {
    let mut worlds = vec![Arc::new(World::new(place).await)];
    for _ in 1..way.services {
        worlds.push(Arc::new(worlds[0].neighbour().await));
    }
    let mut model = Model::default();
    for operation in &case.before {
        let expected = model.apply(operation);
        prop_assert_eq!(
            &run(&worlds[0], operation).await,
            &expected,
            "{:?}",
            operation
        );
    }
    let cutting = match way.cuts {
        true => Some(cut(&worlds[0].base, case.pauses.clone()).await),
        false => None,
    };
    let running: Vec<_> = case
        .together
        .iter()
        .enumerate()
        .map(|(index, operation)| {
            let world = Arc::clone(&worlds[index % way.services]);
            let operation = operation.clone();
            tokio::spawn(async move { timeout(PATIENCE, try_run(&world, &operation)).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in running {
        let outcome = task.await.unwrap().expect("an operation hangs");
        prop_assert!(outcome.is_ok() || way.cuts, "{outcome:?}");
        outcomes.push(outcome.ok());
    }
    if let Some(cutting) = cutting {
        cutting.abort();
        _ = cutting.await;
    }
    let end = state(&worlds[0]).await;
    prop_assert!(
        explains(&model, &case.together, &outcomes, &end),
        "no order of {:?} answers {outcomes:?} and ends with {end:?}",
        case.together
    );
    Ok(())
}

/// Ends connections of others, not all of them, after each pause.
async fn cut(base: &Base, pauses: Vec<u64>) -> tokio::task::JoinHandle<()> {
    let base = base.again().await;
    tokio::spawn(async move {
        for pause in pauses {
            sleep(Duration::from_millis(pause)).await;
            let (db, _) = base.postgres();
            let cut = db.read("cut", |session| async move {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                            WHERE pid <> pg_backend_pid() AND datname = current_database()
                              AND random() < 0.7";
                session.query(sql, &[]).await
            });
            cut.await.unwrap();
        }
    })
}

fn property(place: impl AsyncFnOnce() -> Place, way: Way) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let cases = std::env::var("FINGERPOST_ORDER_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(way.cases);
    let mut runner = TestRunner::new(RunnerConfig {
        cases,
        failure_persistence: None,
        ..RunnerConfig::default()
    });
    let place = runtime.block_on(place());
    let operations =
        |range| prop::collection::vec(operation().prop_filter("not here", way.filter), range);
    let pauses = prop::collection::vec(1..30_u64, 5..15);
    let inputs = (operations(0..4), operations(2..7), pauses);
    let inputs = inputs.prop_map(|(before, together, pauses)| Case {
        before,
        together,
        pauses,
    });
    runner
        .run(&inputs, |case| runtime.block_on(check(&place, way, &case)))
        .unwrap();
}

/// Another instance's deletions reach a cache some time later; so look-ups are left out
/// where there are several.
fn is_no_look_up(operation: &Operation) -> bool {
    !matches!(operation, Operation::LookUp { .. })
}

const ALONE: Way = Way {
    cases: 150,
    services: 1,
    cuts: false,
    filter: |_| true,
};

#[test]
fn any_interleaving_equals_some_order_of_the_model() {
    property(async || Place::Files, ALONE);
}

#[test]
fn any_interleaving_over_two_processes_equals_some_order_of_the_model() {
    let way = Way {
        cases: 60,
        services: 2,
        filter: is_no_look_up,
        ..ALONE
    };
    property(async || Place::Files, way);
}

#[test]
fn any_interleaving_on_postgresql_equals_some_order_of_the_model() {
    property(Place::cluster, Way { cases: 40, ..ALONE });
}

#[test]
fn any_interleaving_over_three_instances_equals_some_order_of_the_model() {
    let way = Way {
        cases: 40,
        services: 3,
        filter: is_no_look_up,
        ..ALONE
    };
    property(Place::cluster, way);
}

/// A look-up whose connection is cut may be a miss; so they are left out here too.
#[test]
fn any_interleaving_over_cut_connections_equals_some_order_of_the_model() {
    let way = Way {
        cases: 40,
        services: 2,
        cuts: true,
        filter: is_no_look_up,
    };
    property(Place::cluster, way);
}

/// The promise that the reference does not keep: first reports of one output
/// never end with two unihashes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_reports_of_one_output_receive_one_unihash() {
    first_reports(Place::Files, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_reports_to_four_instances_receive_one_unihash() {
    first_reports(Place::cluster().await, 4).await;
}

async fn first_reports(place: Place, services: usize) {
    let mut worlds = vec![Arc::new(World::new(&place).await)];
    for _ in 1..services {
        worlds.push(Arc::new(worlds[0].neighbour().await));
    }
    for round in 0..20 {
        let reports: Vec<_> = (0..16)
            .map(|builder| {
                let world = Arc::clone(&worlds[builder % services]);
                tokio::spawn(async move {
                    let digits = format!("{round:02x}{builder:02x}");
                    world
                        .report(&digits, &format!("{round:02x}"), &format!("{builder:x}"))
                        .await
                })
            })
            .collect();
        let mut answers = Vec::new();
        for report in reports {
            answers.push(report.await.unwrap());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "round {round}: {answers:?}");
    }
    let rows = worlds[0].base.number::<u64>(
        "SELECT count(*) || '' FROM unihash",
        "SELECT count(*) || '' FROM mapping",
    );
    assert_eq!(rows.await, 320);
}
