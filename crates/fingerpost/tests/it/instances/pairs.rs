//! Two builders make the same output at the same time and report it to two instances:
//! both are told the same unihash, whatever is killed meanwhile.
//!
//! For the reference the same would be measured with this load against four
//! `bitbake-hashserv` on one `postgresql+asyncpg://…`, each behind a fixed port, killed
//! and started again as here; divergent pairs are counted from the answers, as here, and
//! by SQL over its tables `outhashes_v2` and `unihashes_v3`. It
//! cannot be installed where these tests run.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fingerpost_testkit::{PostgresCluster, Report, hash};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Client, Instances};
use crate::world::from_environment;

/// Pairs, unless `FINGERPOST_PAIRS` says otherwise.
const PAIRS: u64 = 3_000;
const INSTANCES: usize = 4;
/// Pairs of builders; each has a connection to every instance.
const BUILDERS: u64 = 96;
/// Pairs in a batch: every instance gets half as many reports.
const BATCH: u64 = 8;
/// The longest time between two kills, in milliseconds. The first come faster, so that
/// short runs have some too.
const BETWEEN_KILLS: u64 = 4_000;

/// What became of the pairs.
#[derive(Default)]
struct Count {
    next: AtomicU64,
    answered: AtomicU64,
    divergent: AtomicU64,
    /// Pairs whose second report came first.
    second_won: AtomicU64,
    repeated: AtomicU64,
    over: Notify,
}

/// Two reports of one output, each with a proposal of its own.
fn reports(pair: u64) -> [String; 2] {
    [2 * pair, 2 * pair + 1].map(|task| Report::new(task, pair).request().to_string())
}

/// The unihash that was answered, which is one of the two that were proposed.
fn unihash(pair: u64, answer: &Value) -> Result<String> {
    let unihash = answer["unihash"].as_str();
    let unihash = unihash.with_context(|| format!("pair {pair}: {answer}"))?;
    let proposed = [hash(1, 2 * pair), hash(1, 2 * pair + 1)];
    ensure!(
        proposed.iter().any(|one| one == unihash),
        "nobody proposed what pair {pair} was answered: {answer}"
    );
    Ok(unihash.to_owned())
}

/// What goes to which instance: the reports, and the pair of each.
type Batch = [Vec<(u64, String)>; INSTANCES];

/// Two pairs at a time are dealt to two instances each, so that both reports of a pair
/// stand at the same place.
fn deal(pairs: Range<u64>, random: &mut StdRng) -> Batch {
    let mut batch = Batch::default();
    let mut order: [usize; INSTANCES] = std::array::from_fn(|index| index);
    for pair in pairs {
        if pair % 2 == 0 {
            order.shuffle(random);
        }
        let places = &order[2 * (pair % 2) as usize..];
        for (report, place) in reports(pair).into_iter().zip(places) {
            batch[*place].push((pair, report));
        }
    }
    batch
}

/// Reports to one instance; gives what was answered for each pair.
async fn ask(client: &mut Client, reports: Vec<(u64, String)>) -> Result<Vec<(u64, String)>> {
    let (pairs, reports): (Vec<u64>, Vec<String>) = reports.into_iter().unzip();
    let answers = client.ask_all(&reports).await?;
    let told = pairs.into_iter().zip(&answers);
    told.map(|(pair, answer)| Ok((pair, unihash(pair, answer)?)))
        .collect()
}

/// Reports pairs until `all` are taken.
async fn build(count: Arc<Count>, all: u64, addresses: Vec<String>, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut clients: [Client; INSTANCES] =
        std::array::from_fn(|index| Client::new(&addresses[index]));
    loop {
        let first = count.next.fetch_add(BATCH, Ordering::Relaxed);
        if first >= all {
            break;
        }
        let pairs = first..all.min(first + BATCH);
        let [one, two, three, four] = deal(pairs.clone(), &mut random);
        let [a, b, c, d] = &mut clients;
        let told = tokio::try_join!(ask(a, one), ask(b, two), ask(c, three), ask(d, four))?;
        let mut unihashes: Vec<Vec<String>> = vec![Vec::new(); BATCH as usize];
        for (pair, unihash) in [told.0, told.1, told.2, told.3].into_iter().flatten() {
            unihashes[(pair - first) as usize].push(unihash);
        }
        for (pair, told) in pairs.zip(&unihashes) {
            settle(&count, pair, told)?;
        }
    }
    let repeated = clients.iter().map(|client| client.repeated).sum();
    count.repeated.fetch_add(repeated, Ordering::Relaxed);
    Ok(())
}

/// Counts a pair from what its two builders were told.
fn settle(count: &Count, pair: u64, told: &[String]) -> Result<()> {
    let [one, other] = told else {
        bail!("pair {pair} has {} answers", told.len());
    };
    count.answered.fetch_add(2, Ordering::Relaxed);
    if one != other {
        count.divergent.fetch_add(1, Ordering::Relaxed);
    } else if *one == hash(1, 2 * pair + 1) {
        count.second_won.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Kills one instance after the other until it is over; gives the number of kills.
async fn kill(mut instances: Instances, count: Arc<Count>, seed: u64) -> Result<(Instances, u64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    loop {
        let longest = BETWEEN_KILLS.min(500 * (kills + 1));
        let until = Duration::from_millis(random.random_range(100..longest));
        if timeout(until, count.over.notified()).await.is_ok() {
            return Ok((instances, kills));
        }
        let down = Duration::from_millis(random.random_range(0..200));
        let index = random.random_range(0..INSTANCES);
        instances.kill(index, down).await?;
        kills += 1;
    }
}

/// Reports all pairs.
async fn report_all(count: &Arc<Count>, all: u64, addresses: &[String], seed: u64) -> Result<()> {
    let mut building = JoinSet::new();
    for builder in 0..BUILDERS {
        let addresses = addresses.to_vec();
        building.spawn(build(Arc::clone(count), all, addresses, seed + builder));
    }
    while let Some(ended) = building.join_next().await {
        ended??;
    }
    Ok(())
}

/// What the database says of outputs that two tasks made, with one unihash between
/// them: committed reports that nobody was answered count too.
const AGREED: &str = "SET statement_timeout = '10min'; ANALYZE output, mapping; \
    SELECT count(*) FROM (SELECT FROM output JOIN mapping USING (namespace, method, taskhash) \
    GROUP BY namespace, method, outhash \
    HAVING count(*) = 2 AND count(DISTINCT unihash) = 1) AS agreed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_reports_of_one_output_agree_over_four_instances_that_are_killed() -> Result<()> {
    let all = from_environment("FINGERPOST_PAIRS", PAIRS);
    let seed = from_environment("FINGERPOST_SEED", 7);
    let cluster = PostgresCluster::durable()?;
    let url = cluster.fresh_database()?;
    let instances = Instances::start(&[url.as_str(); INSTANCES]).await?;
    let addresses = instances.addresses();
    let count = Arc::new(Count::default());
    let start = Instant::now();
    let killing = tokio::spawn(kill(instances, Arc::clone(&count), seed));
    let reported = report_all(&count, all, &addresses, seed).await;
    let took = start.elapsed();
    count.over.notify_one();
    let (instances, kills) = killing.await??;
    reported.with_context(|| format!("seed {seed}"))?;
    let divergent = count.divergent.load(Ordering::Relaxed);
    println!(
        "{all} pairs, {} reports answered, {kills} kills, {divergent} divergent; {} were won by \
         the second report, {} attempts were cut short; {took:.1?}, {:.0} pairs/s",
        count.answered.load(Ordering::Relaxed),
        count.second_won.load(Ordering::Relaxed),
        count.repeated.load(Ordering::Relaxed),
        all as f64 / took.as_secs_f64(),
    );
    ensure!(divergent == 0, "{divergent} of {all} pairs diverge");
    ensure!(kills > 0, "nothing was killed");
    let agreed = cluster.sql("test_1", AGREED)?;
    ensure!(agreed == all.to_string(), "{agreed} of {all} pairs agree");
    instances.no_panic()
}

/// The test above can fail: it does when the instances know nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_reports_of_one_output_diverge_over_instances_that_share_nothing() -> Result<()> {
    let files: Vec<String> = (0..INSTANCES).map(|index| format!("{index}.db")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let instances = Instances::start(&files).await?;
    let count = Arc::new(Count::default());
    report_all(&count, 200, &instances.addresses(), 1).await?;
    let divergent = count.divergent.load(Ordering::Relaxed);
    ensure!(divergent == 200, "only {divergent} of 200 pairs diverge");
    Ok(())
}
