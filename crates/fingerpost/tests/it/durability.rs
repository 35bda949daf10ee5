//! No answered report is ever lost: power cuts under SQLite, and `kill -9`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_core::{Call, Permission, PermissionSet, Principal};
use fingerpost_db::{Durability, Settings, Sqlite};
use fingerpost_hashequiv::{HashEquiv, commands};
use fingerpost_hashequiv_proto::types::Unihash;
use fingerpost_testkit::vfs::{FaultDisk, Survival};
use fingerpost_testkit::{Report, Server, Session, hash};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::in_process;
use crate::world::{eventually, farm, from_environment};

/// Power cuts, unless `FINGERPOST_POWER_CUTS` says otherwise.
const POWER_CUTS: u64 = 40;
/// Rounds of `kill -9`, unless `FINGERPOST_KILLS` says otherwise.
const KILLS: u64 = 4;
const REPORTERS: u64 = 6;
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// Taskhash and unihash of every report that was answered; empty when its
/// removal was answered as well.
type Answered = BTreeMap<String, String>;

/// How the drive of a round treats syncs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Kept,
    /// As if `synchronous=OFF` were forced.
    Forgotten,
    /// As `durability = "relaxed"` leaves them out.
    Relaxed,
}

struct Machine {
    disk: FaultDisk,
    directory: tempfile::TempDir,
    durability: Durability,
}

impl Machine {
    fn new(syncs: Syncs) -> Result<Self> {
        let disk = FaultDisk::register();
        disk.set_lying(syncs == Syncs::Forgotten);
        Ok(Self {
            disk,
            directory: tempfile::tempdir()?,
            durability: match syncs {
                Syncs::Relaxed => Durability::Relaxed,
                _ => Durability::Full,
            },
        })
    }

    /// Opens the database and the service, with checkpoints often enough that
    /// power cuts hit them too.
    async fn boot(&self) -> Result<(Sqlite, Arc<HashEquiv>)> {
        let mut settings = Settings::new(self.directory.path().join("machine.db"));
        settings.vfs = Some(self.disk.vfs_name().to_owned());
        settings.durability = self.durability;
        settings.checkpoint_bytes = 256 << 10;
        settings.checkpoint_idle = Duration::from_millis(20);
        settings.close_timeout = Duration::from_secs(20);
        in_process::service(settings).await
    }

    /// Waits until nothing of the dead machine's process is left, and turns the
    /// power on.
    async fn power_on(&self) -> Result<()> {
        eventually(ROUND_LIMIT, async || Ok(self.disk.power_on().is_ok())).await?;
        Ok(())
    }
}

/// Reports a task. Every third one repeats an output.
async fn report(service: &HashEquiv, number: u64, siginfo: String) -> Result<String> {
    let output = number - u64::from(number % 3 == 2);
    let siginfo = (!siginfo.is_empty()).then_some(siginfo);
    in_process::report(service, number, output, siginfo).await
}

/// Reports until one fails; gives what was answered.
async fn report_until_failure(service: Arc<HashEquiv>, first: u64, seed: u64) -> Answered {
    let mut random = StdRng::seed_from_u64(seed);
    let mut answered = Answered::new();
    for number in first.. {
        let lines = random.random_range(0..40);
        let siginfo = (0..lines)
            .map(|_| format!("{:x}\n", random.random::<u128>()))
            .collect();
        match report(&service, number, siginfo).await {
            Ok(unihash) => answered.insert(hash(1, number), unihash),
            Err(_) => break,
        };
    }
    answered
}

/// Reports tasks and removes them again, until one of both fails; gives those
/// of which the removal was answered.
async fn remove_until_failure(service: Arc<HashEquiv>, first: u64) -> Answered {
    let registry = commands();
    let (_, remove) = registry
        .find("remove", false)
        .expect("there is such a command");
    let principal = Principal::anonymous(PermissionSet::of(&[Permission::DbAdmin]));
    let call = Call {
        service: &service,
        principal: &principal,
        peer: "test",
        origin: fingerpost_core::Origin::Unknown,
    };
    let mut removed = Answered::new();
    for number in first.. {
        if report(&service, number, String::new()).await.is_err() {
            break;
        }
        let argument = json!({"where": {"taskhash": hash(1, number)}}).to_string();
        if remove.call(call, &argument).await.is_err() {
            break;
        }
        removed.insert(hash(1, number), String::new());
    }
    removed
}

/// What a power cut cost.
struct Cut {
    answered: usize,
    /// Answered reports that are gone; a failure when the database is not
    /// whole or takes no more reports.
    lost: Result<usize>,
}

/// One power cut under reports.
async fn power_cut(seed: u64, syncs: Syncs) -> Result<Cut> {
    let machine = Machine::new(syncs)?;
    let mut random = StdRng::seed_from_u64(seed);
    let survival = match seed % 2 {
        0 => Survival::Nothing,
        _ => Survival::Some(seed),
    };
    // Every eighth cut comes early enough to hit the first start.
    let operations = match seed % 8 {
        0 => random.random_range(0..60),
        _ => random.random_range(0..600),
    };
    let first_start = seed.is_multiple_of(8);
    if first_start {
        machine.disk.cut_power_after(operations, survival);
    }
    let mut answered = Answered::new();
    if let Ok((db, service)) = machine.boot().await {
        if !first_start {
            machine.disk.cut_power_after(operations, survival);
        }
        let mut reporters = JoinSet::new();
        for number in 0..REPORTERS {
            let service = Arc::clone(&service);
            reporters.spawn(report_until_failure(
                service,
                number << 32,
                seed * 100 + number,
            ));
        }
        reporters.spawn(remove_until_failure(Arc::clone(&service), REPORTERS << 32));
        while let Some(part) = reporters.join_next().await {
            answered.extend(part?);
        }
        drop(service);
        db.close().await;
    }
    ensure!(
        !machine.disk.is_powered(),
        "a report failed before the power cut"
    );
    machine.power_on().await?;
    Ok(Cut {
        answered: answered.len(),
        lost: lost(&machine, &answered).await,
    })
}

/// Boots again and counts the answered reports that are gone.
async fn lost(machine: &Machine, answered: &Answered) -> Result<usize> {
    let (db, service) = machine.boot().await?;
    let keys: Vec<(String, String)> = answered
        .keys()
        .map(|taskhash| ("TestMethod".to_owned(), taskhash.clone()))
        .collect();
    let found = service.unihashes(keys).await.context("look-ups")?;
    let lost = found
        .iter()
        .map(|found| found.as_ref().map(Unihash::to_text).unwrap_or_default())
        .zip(answered.values())
        .filter(|(found, answered)| found != *answered)
        .count();
    let after = report(&service, u64::MAX, String::new()).await;
    after.context("a report after the power cut")?;
    let whole = db.read(|conn| conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)));
    let whole: String = whole.await?;
    drop(service);
    db.close().await;
    ensure!(whole == "ok", "{whole}");
    Ok(lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answered_report_is_lost_in_a_power_cut() -> Result<()> {
    let rounds = from_environment("FINGERPOST_POWER_CUTS", POWER_CUTS);
    let first = from_environment("FINGERPOST_SEED", 0);
    let mut answered = 0;
    for seed in first..first + rounds {
        let round = || format!("seed {seed}");
        let cut = timeout(ROUND_LIMIT * 2, power_cut(seed, Syncs::Kept)).await;
        let cut = cut.with_context(round)?.with_context(round)?;
        let lost = cut.lost.with_context(round)?;
        ensure!(
            lost == 0,
            "seed {seed}: {lost} of {} answered reports are lost",
            cut.answered
        );
        answered += cut.answered;
    }
    println!("{answered} reports, {rounds} power cuts");
    Ok(())
}

/// The test above can fail: without syncs it does.
#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_cost_answered_reports_when_nothing_is_synced() -> Result<()> {
    for syncs in [Syncs::Forgotten, Syncs::Relaxed] {
        let mut lost = 0;
        for seed in 1..8 {
            let cut = timeout(ROUND_LIMIT * 2, power_cut(seed, syncs)).await??;
            // A malformed database has lost everything.
            lost += cut.lost.unwrap_or(cut.answered);
        }
        ensure!(lost > 0, "nothing is lost, so the test above shows nothing");
        println!("{lost} answered reports lost");
    }
    Ok(())
}

/// Reports over the wire until the server is gone; gives what was answered.
async fn report_until_closed(address: String, first: u64) -> Answered {
    let mut answered = Answered::new();
    let Ok(mut session) = Session::open(&address).await else {
        return answered;
    };
    for number in first.. {
        let siginfo = hash(7, number).repeat(1 + number as usize % 20);
        let report = Report::new(number, number).with_siginfo(siginfo);
        match session.report(&report).await {
            Ok(unihash) => answered.insert(report.taskhash, unihash),
            Err(_) => break,
        };
    }
    answered
}

async fn is_all_there(server: &Server, answered: &Answered) -> Result<()> {
    let mut session = server.session().await?;
    session.enter("get-stream").await?;
    for (taskhash, unihash) in answered {
        let found = session.line(&format!("TestMethod {taskhash}")).await?;
        ensure!(
            found == *unihash,
            "{taskhash} was answered {unihash} and is {found:?} now"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answered_report_is_lost_to_kill_9() -> Result<()> {
    let rounds = from_environment("FINGERPOST_KILLS", KILLS);
    let mut random = StdRng::seed_from_u64(from_environment("FINGERPOST_SEED", 9));
    let farm = farm();
    let mut server = farm.server().start().await?;
    let mut answered = Answered::new();
    for round in 0..rounds {
        let mut reporters = JoinSet::new();
        for reporter in 0..REPORTERS {
            let first = (round * REPORTERS + reporter) << 24;
            reporters.spawn(report_until_closed(server.address().to_owned(), first));
        }
        sleep(Duration::from_millis(random.random_range(20..400))).await;
        let options = server.kill().await?;
        let mut fresh = Answered::new();
        while let Some(part) = reporters.join_next().await {
            fresh.extend(part?);
        }
        server = options.start().await?;
        is_all_there(&server, &fresh)
            .await
            .with_context(|| format!("round {round}"))?;
        answered.extend(fresh);
    }
    is_all_there(&server, &answered).await?;
    ensure!(Path::new(server.options().database_path()).exists());
    println!("{} reports, {rounds} kills", answered.len());
    Ok(())
}
