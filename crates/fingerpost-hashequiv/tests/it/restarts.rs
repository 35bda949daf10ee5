//! Whatever happens between dumps, restarts and loads, memory says what the database
//! says.

use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, TestRunner};

use crate::dump::{CHAIN, Server};
use crate::model::Operation;
use crate::order::{operation, run};

/// What happens to the first of two servers on one file.
#[derive(Clone, Debug)]
enum Step {
    /// Something at one of them, in a namespace.
    Run(usize, usize, Operation),
    Dump,
    /// It restarts, and this happens while it loads.
    Restart(Vec<(usize, usize, Operation)>),
}

fn step() -> impl Strategy<Value = Step> {
    let run = || (0..2_usize, 0..4_usize, operation());
    prop_oneof![
        12 => run().prop_map(|(server, place, operation)| Step::Run(server, place, operation)),
        3 => Just(Step::Dump),
        1 => prop::collection::vec(run(), 0..6).prop_map(Step::Restart),
    ]
}

/// Everything that memory says is checked against the database after each restart;
/// how many entries were loaded.
async fn check(steps: Vec<Step>) -> u64 {
    let mut first = Server::new(CHAIN).await;
    let second = first.other(CHAIN).await;
    let mut loaded = 0;
    for step in steps {
        match step {
            Step::Run(server, place, operation) => {
                let server = [&first, &second][server];
                run(&server.worlds[place], &operation).await;
            }
            Step::Dump => {
                first.dump.write().await.unwrap();
            }
            Step::Restart(meanwhile) => {
                first = first.restart().await;
                let others = async {
                    for (server, place, operation) in meanwhile {
                        let server = [&first, &second][server];
                        run(&server.worlds[place], &operation).await;
                    }
                };
                let (dump, ()) = tokio::join!(first.dump.load(), others);
                assert!(dump.unusable.is_none(), "{dump:?}");
                loaded += dump.entries;
                first.check().await;
            }
        }
    }
    first.check().await;
    loaded
}

#[test]
fn no_answer_after_a_restart_differs_from_the_database() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = RunnerConfig {
        cases: 40,
        failure_persistence: None,
        ..RunnerConfig::default()
    };
    let loaded = std::cell::Cell::new(0);
    let steps = prop::collection::vec(step(), 1..60);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        loaded.set(loaded.get() + runtime.block_on(check(steps)));
        Ok(())
    });
    outcome.unwrap();
    assert!(loaded.get() > 0, "no dump was of any use");
}
