//! `kill -9` of instances and of PostgreSQL: no answered report is lost, and no answer
//! is wrong.
//!
//! The kills are those of processes; what a power cut takes from under PostgreSQL is its
//! own affair, which is why it has to say that it syncs.
//!
//! For the reference the same would be measured with this load against two
//! `bitbake-hashserv` on `postgresql+asyncpg://…`, each behind a fixed port, killed and
//! started again as here: the load speaks nothing but its protocol and proposes what
//! BitBake proposes. It cannot be installed where these tests run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fingerpost_testkit::{PostgresCluster, Report, Session, hash};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Client, Instances, PATIENCE, PAUSE, is_durable};
use crate::world::{eventually, from_environment};

/// Rounds, unless `FINGERPOST_POSTGRES_KILLS` says otherwise: every other one is of
/// PostgreSQL, the others are of an instance.
const KILLS: u64 = 4;
const BUILDERS: usize = 8;
/// New tasks in a batch. Of three tasks the third repeats the second's output.
const BATCH: u64 = 6;
/// Reports that are answered between two kills at least.
const ANSWERED: usize = 60;
/// Look-ups sent at once.
const CHECKED: usize = 500;

fn output(task: u64) -> u64 {
    task - u64::from(task % 3 == 2)
}

/// The only right unihash: the first to report an output proposed it.
fn right(task: u64) -> String {
    hash(1, output(task))
}

fn report(task: u64) -> String {
    let listing = hash(7, task).repeat(1 + task as usize % 20);
    let report = Report::new(task, output(task)).with_siginfo(listing);
    report.request().to_string()
}

fn look_up(task: u64) -> String {
    json!({"get": {"method": "TestMethod", "taskhash": hash(1, task)}}).to_string()
}

/// What all builders know.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// The task that each builder is at.
    at: [AtomicU64; BUILDERS],
    /// Every answered report and its answer, in order.
    answered: Mutex<Vec<(u64, String)>>,
    found: AtomicU64,
    missed: AtomicU64,
    repeated: AtomicU64,
}

impl Load {
    fn answered(&self) -> usize {
        self.answered.lock().len()
    }

    fn any_answered(&self, random: &mut StdRng) -> Option<u64> {
        let answered = self.answered.lock();
        answered.choose(random).map(|(task, _)| *task)
    }

    fn take_report(&self, task: u64, answer: &Value) -> Result<()> {
        let unihash = answer["unihash"].as_str();
        let unihash = unihash.with_context(|| format!("task {task}: {answer}"))?;
        self.answered.lock().push((task, unihash.to_owned()));
        ensure!(unihash == right(task), "wrong answer to {task}: {answer}");
        Ok(())
    }

    fn take_look_up(&self, task: u64, answer: &Value) -> Result<()> {
        if answer.is_null() {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.found.fetch_add(1, Ordering::Relaxed);
        let unihash = answer["unihash"].as_str();
        ensure!(
            unihash == Some(&right(task)),
            "{task} was looked up wrongly: {answer}"
        );
        Ok(())
    }
}

/// Reports new tasks and repeats an old one, and looks up its own, what was answered to
/// anybody, and what others report at this moment; each batch at another instance.
async fn build(load: Arc<Load>, builder: usize, addresses: Vec<String>, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut clients: Vec<Client> = addresses.iter().map(|one| Client::new(one)).collect();
    let first = (builder as u64 + 1) << 24;
    for number in (first - first % 3..).step_by(BATCH as usize) {
        if load.stop.load(Ordering::Relaxed) {
            break;
        }
        load.at[builder].store(number, Ordering::Relaxed);
        let mut reports: Vec<u64> = (number..number + BATCH).collect();
        reports.extend(load.any_answered(&mut random));
        let mut look_ups = vec![number, number + 2];
        look_ups.extend((0..3).filter_map(|_| load.any_answered(&mut random)));
        for other in &load.at {
            look_ups.push(other.load(Ordering::Relaxed) + random.random_range(0..BATCH));
        }
        let requests = reports.iter().copied().map(report);
        let requests = requests.chain(look_ups.iter().copied().map(look_up));
        let requests: Vec<String> = requests.collect();
        let index = random.random_range(0..clients.len());
        let answers = clients[index].ask_all(&requests).await?;
        let mut answers = answers.iter();
        for (task, answer) in reports.iter().zip(&mut answers) {
            load.take_report(*task, answer)?;
        }
        for (task, answer) in look_ups.iter().zip(&mut answers) {
            load.take_look_up(*task, answer)?;
        }
    }
    let repeated = clients.iter().map(|client| client.repeated).sum();
    load.repeated.fetch_add(repeated, Ordering::Relaxed);
    Ok(())
}

fn spawn(load: &Arc<Load>, instances: &Instances, seed: u64) -> JoinSet<Result<()>> {
    let mut building = JoinSet::new();
    for builder in 0..BUILDERS {
        let seed = seed + builder as u64;
        let addresses = instances.addresses();
        building.spawn(build(Arc::clone(load), builder, addresses, seed));
    }
    building
}

/// Answered reports that an instance does not know within `limit`; fails on any other
/// unihash than the one that was answered.
async fn lost(address: &str, answered: &[(u64, String)], limit: Duration) -> Result<usize> {
    let mut session = Session::open(address).await?;
    session.enter("get-stream").await?;
    let start = Instant::now();
    let mut unknown: Vec<&(u64, String)> = answered.iter().collect();
    loop {
        let mut missed = Vec::new();
        for some in unknown.chunks(CHECKED) {
            let lines = some.iter().map(|(task, _)| hash(1, *task));
            let lines: Vec<String> = lines.map(|hash| format!("TestMethod {hash}")).collect();
            session.send_item(&lines.join("\n")).await?;
            for one in some {
                match session.item().await?.context("the server closed")? {
                    found if found.is_empty() => missed.push(*one),
                    found if found == one.1 => {}
                    found => bail!("{} was answered {} and is {found} now", one.0, one.1),
                }
            }
        }
        // A database that has only just come back is not waited for, and what it would
        // have said is unknown.
        if missed.is_empty() || start.elapsed() > limit {
            return Ok(missed.len());
        }
        unknown = missed;
        sleep(PAUSE).await;
    }
}

async fn is_all_there(instances: &Instances, answered: &[(u64, String)]) -> Result<()> {
    for address in instances.addresses() {
        let lost = lost(&address, answered, PATIENCE).await?;
        let all = answered.len();
        ensure!(lost == 0, "{lost} of {all} answered reports are lost");
    }
    Ok(())
}

/// Some more reports are answered, and no builder has failed.
async fn goes_on(load: &Load, building: &mut JoinSet<Result<()>>) -> Result<()> {
    let enough = load.answered() + ANSWERED;
    let answered = async || match building.try_join_next() {
        Some(ended) => ended?.map(|()| true),
        None => Ok(load.answered() >= enough),
    };
    eventually(PATIENCE, answered).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answered_report_is_lost_to_kills_of_instances_and_of_postgresql() -> Result<()> {
    let rounds = from_environment("FINGERPOST_POSTGRES_KILLS", KILLS);
    let seed = from_environment("FINGERPOST_SEED", 9);
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = PostgresCluster::durable()?;
    let url = cluster.fresh_database()?;
    let mut instances = Instances::start(&[&url, &url]).await?;
    let start = Instant::now();
    let load = Arc::new(Load::default());
    let mut building = spawn(&load, &instances, seed);
    let mut checked = 0;
    for round in 0..rounds {
        is_durable(&cluster, "test_1")?;
        let context = || format!("round {round}, seed {seed}");
        goes_on(&load, &mut building).await.with_context(context)?;
        sleep(Duration::from_millis(random.random_range(0..400))).await;
        let down = Duration::from_millis(random.random_range(0..300));
        if round % 2 == 0 {
            instances.kill(random.random_range(0..2), down).await?;
        } else {
            cluster.kill()?;
            sleep(down).await;
            cluster.restart()?;
        }
        goes_on(&load, &mut building).await.with_context(context)?;
        let fresh = load.answered.lock()[checked..].to_vec();
        let there = is_all_there(&instances, &fresh).await;
        there.with_context(context)?;
        checked += fresh.len();
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = building.join_next().await {
        ended??;
    }
    // One that has heard nothing of it all has only the database to ask.
    instances.add(&url, &[]).await?;
    let answered = load.answered.lock().clone();
    is_all_there(&instances, &answered).await?;
    instances.no_panic()?;
    println!(
        "{rounds} kills, {} of PostgreSQL, in {:.1?}: {} reports answered, 0 lost; {} look-ups \
         found, {} missed, 0 wrong; {} attempts were cut short",
        rounds / 2,
        start.elapsed(),
        answered.len(),
        load.found.load(Ordering::Relaxed),
        load.missed.load(Ordering::Relaxed),
        load.repeated.load(Ordering::Relaxed),
    );
    Ok(())
}

/// Answered reports that one kill of PostgreSQL costs.
async fn lost_to_a_kill(cluster: &mut PostgresCluster) -> Result<usize> {
    let url = cluster.fresh_database()?;
    let mut instances = Instances::start(&[]).await?;
    let allowed = [("postgresql.allow_asynchronous_commit", "true")];
    instances.add(&url, &allowed).await?;
    let load = Arc::new(Load::default());
    let mut building = spawn(&load, &instances, 1);
    goes_on(&load, &mut building).await?;
    cluster.kill()?;
    building.shutdown().await;
    cluster.restart()?;
    // What it remembers itself is no answer of the database.
    instances.kill(0, Duration::ZERO).await?;
    let answered = load.answered.lock().clone();
    let address = &instances.addresses()[0];
    lost(address, &answered, Duration::from_secs(1)).await
}

/// The test above can fail: it does when PostgreSQL answers before it has written. How
/// much it has not written yet is chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_costs_answered_reports_without_synchronous_commits() -> Result<()> {
    let lazy = ["synchronous_commit=off", "wal_writer_delay=10s"];
    let mut cluster = PostgresCluster::start_with(&lazy)?;
    for kills in 1..=20 {
        let lost = lost_to_a_kill(&mut cluster).await?;
        if lost > 0 {
            println!("{lost} answered reports lost to {kills} kills");
            return Ok(());
        }
    }
    bail!("nothing is lost, so the test above shows nothing")
}
