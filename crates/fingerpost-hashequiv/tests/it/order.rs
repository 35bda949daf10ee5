//! Any interleaving equals some sequential order of the model.

use std::sync::Arc;

use fingerpost_hashequiv_proto::types::{Taskhash, Unihash};
use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, TestRunner};

use crate::model::{Answer, Model, Operation};
use crate::world::{World, hash, name, task};

/// Runs one operation on the service and answers as the model does.
pub(crate) async fn run(world: &World, operation: &Operation) -> Answer {
    match operation {
        Operation::Report {
            task,
            output,
            proposed,
        } => Some(world.report(task, output, proposed).await),
        Operation::ReportEquiv {
            task: name_of_task,
            proposed,
        } => {
            let proposed = Unihash::parse(&hash(proposed));
            let answer = world
                .service
                .report_equiv(task(name_of_task), proposed)
                .await;
            Some(name(&answer.unwrap().to_text()))
        }
        Operation::LookUp { task: name_of_task } => {
            let found = world.service.unihash(&task(name_of_task)).await.unwrap();
            found.map(|unihash| name(&unihash.to_text()))
        }
        Operation::RemoveTask { task } => count(world, "remove", "taskhash", task).await,
        Operation::RemoveUnihash { unihash } => count(world, "remove", "unihash", unihash).await,
        Operation::Mark { mark, unihash } => {
            let argument = format!(
                "{{\"mark\": \"{mark}\", \"where\": {{\"unihash\": \"{}\"}}}}",
                hash(unihash)
            );
            number(world.command("gc-mark", &argument).await)
        }
        Operation::Sweep { mark } => number(
            world
                .command("gc-sweep", &format!("{{\"mark\": \"{mark}\"}}"))
                .await,
        ),
    }
}

async fn count(world: &World, command: &str, column: &str, value: &str) -> Answer {
    let argument = format!("{{\"where\": {{\"{column}\": \"{}\"}}}}", hash(value));
    number(world.command(command, &argument).await)
}

fn number(answer: Result<String, String>) -> Answer {
    let answer: serde_json::Value = serde_json::from_str(&answer.ok()?).unwrap();
    Some(answer["count"].to_string())
}

/// The rows of U and of O, each a pair of short names.
type State = (Vec<(String, String)>, Vec<(String, String)>);

/// The relations as the database has them.
async fn state(world: &World) -> State {
    let text = |bytes: Vec<u8>| name(&Taskhash::from_bytes(bytes.try_into().unwrap()).to_text());
    let pairs = move |sql: &'static str| {
        move |conn: &rusqlite::Connection| {
            conn.prepare(sql)?
                .query_map([], |row| Ok((text(row.get(0)?), text(row.get(1)?))))?
                .collect::<rusqlite::Result<Vec<_>>>()
        }
    };
    let unihashes = "SELECT taskhash, unihash FROM unihash JOIN task ON task.id = unihash.task
                      ORDER BY taskhash";
    let outputs = "SELECT taskhash, outhash FROM outhash JOIN task ON task.id = outhash.task
                    ORDER BY outhash.id";
    (
        world.db.read(pairs(unihashes)).await.unwrap(),
        world.db.read(pairs(outputs)).await.unwrap(),
    )
}

/// Whether some order of `operations`, applied to `start`, gives these answers
/// and this end.
fn explains(start: &Model, operations: &[Operation], answers: &[Answer], end: &State) -> bool {
    fn search(
        model: &Model,
        left: &mut Vec<usize>,
        operations: &[Operation],
        answers: &[Answer],
        end: &State,
    ) -> bool {
        if left.is_empty() {
            let unihashes = model
                .unihashes
                .iter()
                .map(|(task, row)| (task.clone(), row.0.clone()));
            return unihashes.collect::<Vec<_>>() == end.0 && model.outputs == end.1;
        }
        for position in 0..left.len() {
            let index = left.remove(position);
            let mut next = model.clone();
            let fits = next.apply(&operations[index]) == answers[index];
            if fits && search(&next, left, operations, answers, end) {
                return true;
            }
            left.insert(position, index);
        }
        false
    }
    search(
        start,
        &mut (0..operations.len()).collect(),
        operations,
        answers,
        end,
    )
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

/// Runs `before` one after another and `together` at once, on `services` that
/// share a file.
async fn check(
    before: Vec<Operation>,
    together: Vec<Operation>,
    services: usize,
) -> Result<(), TestCaseError> {
    let first = World::new().await;
    let mut worlds = vec![Arc::new(first)];
    for _ in 1..services {
        let neighbour = worlds[0].neighbour().await;
        worlds.push(Arc::new(neighbour));
    }
    let mut model = Model::default();
    for operation in &before {
        let expected = model.apply(operation);
        prop_assert_eq!(
            &run(&worlds[0], operation).await,
            &expected,
            "{:?}",
            operation
        );
    }
    let running: Vec<_> = together
        .iter()
        .enumerate()
        .map(|(index, operation)| {
            let (world, operation) = (Arc::clone(&worlds[index % services]), operation.clone());
            tokio::spawn(async move { run(&world, &operation).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in running {
        answers.push(task.await.unwrap());
    }
    let end = state(&worlds[0]).await;
    prop_assert!(
        explains(&model, &together, &answers, &end),
        "no order of {together:?} answers {answers:?} and ends with {end:?}"
    );
    Ok(())
}

fn property(cases: u32, services: usize, filter: fn(&Operation) -> bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let cases = std::env::var("FINGERPOST_ORDER_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(cases);
    let mut runner = TestRunner::new(RunnerConfig {
        cases,
        failure_persistence: None,
        ..RunnerConfig::default()
    });
    let operations =
        |range| prop::collection::vec(operation().prop_filter("not here", filter), range);
    let inputs = (operations(0..4), operations(2..7));
    runner
        .run(&inputs, |(before, together)| {
            runtime.block_on(check(before, together, services))
        })
        .unwrap();
}

#[test]
fn any_interleaving_equals_some_order_of_the_model() {
    property(150, 1, |_| true);
}

/// Another process's deletions reach a cache within 100 ms, not at once: so
/// look-ups are left out here.
#[test]
fn any_interleaving_over_two_processes_equals_some_order_of_the_model() {
    property(60, 2, |operation| {
        !matches!(operation, Operation::LookUp { .. })
    });
}

/// The promise that the reference does not keep: first reports of one output
/// never end with two unihashes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_reports_of_one_output_receive_one_unihash() {
    let world = Arc::new(World::new().await);
    let neighbour = Arc::new(world.neighbour().await);
    for round in 0..20 {
        let reports: Vec<_> = (0..16)
            .map(|builder| {
                let world = if builder % 2 == 0 {
                    Arc::clone(&world)
                } else {
                    Arc::clone(&neighbour)
                };
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
    let usage = world.command("get-db-usage", "null").await.unwrap();
    assert!(
        usage.contains("\"unihashes_v3\": {\"rows\": 320}"),
        "{usage}"
    );
}
