//! What was answered is there after a power cut, and a drive that fails is told.

use std::collections::HashSet;
use std::time::Instant;

use fingerpost_testkit::vfs::{Fault, FaultDisk, FaultKind, Operation, Survival};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

/// Power cuts, unless `FINGERPOST_POWER_CUTS` says otherwise.
const POWER_CUTS: u64 = 20;
const LIMIT: Duration = Duration::from_secs(60);

fn host_on(disk: &FaultDisk) -> Host {
    let mut host = Host::new();
    host.options.vfs = Some(disk.vfs_name().to_owned());
    host
}

/// Waits until nothing of the process before is left, and turns the power on.
async fn power_on(disk: &FaultDisk) {
    let began = Instant::now();
    while disk.power_on().is_err() {
        assert!(began.elapsed() < LIMIT, "files stay open");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Settles until the power goes; gives what was answered.
async fn settle_until_cut(state: &Arc<State>, first: u64) -> Vec<(LocalReport, Unihash)> {
    let mut answered = Vec::new();
    for number in first.. {
        let mut report = report(number, number / 3);
        report
            .request
            .push_str(&" ".repeat(number as usize * 97 % 6000));
        match state.settle(report.clone(), None).await {
            Ok(answer) => answered.push((report, answer.unihash)),
            Err(_) => break,
        }
    }
    answered
}

/// All reports that wait.
async fn spooled(state: &State) -> Vec<Spooled> {
    let mut all: Vec<Spooled> = Vec::new();
    loop {
        let after = all.last().map_or(0, |report| report.id);
        let batch = state
            .read(move |conn| spool::next(conn, after))
            .await
            .unwrap();
        if batch.is_empty() {
            return all;
        }
        all.extend(batch);
    }
}

/// Reports until the power goes, from two sides, and turns it on again; gives what was
/// answered.
async fn power_cut(host: &Host, disk: &FaultDisk, seed: u64) -> Vec<(LocalReport, Unihash)> {
    let state = Arc::new(host.open().await);
    let survival = match seed % 3 {
        0 => Survival::Nothing,
        _ => Survival::Some(seed),
    };
    let operations = StdRng::seed_from_u64(seed).random_range(1..400);
    disk.cut_power_after(operations, survival);
    let (mut answered, others) = tokio::join!(
        settle_until_cut(&state, (2 * seed) << 32),
        settle_until_cut(&state, (2 * seed + 1) << 32)
    );
    answered.extend(others);
    drop(state);
    power_on(disk).await;
    answered
}

/// How many of the answered reports do not wait, or have another answer now.
async fn lost(state: &State, answered: &[(LocalReport, Unihash)]) -> usize {
    let spooled = spooled(state).await;
    assert_eq!(waiting(state), spooled.len() as u64);
    let requests: HashSet<_> = spooled.iter().map(|report| &report.request).collect();
    let is_there = |(report, unihash): &&(LocalReport, Unihash)| {
        let told = state.provisional("", std::slice::from_ref(&report.task));
        requests.contains(&report.request) && told == [Some(unihash.clone())]
    };
    answered.len() - answered.iter().filter(is_there).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answered_report_is_lost_in_a_power_cut() {
    let cuts = std::env::var("FINGERPOST_POWER_CUTS");
    let cuts = cuts.map_or(POWER_CUTS, |cuts| cuts.parse().unwrap());
    let disk = FaultDisk::register();
    let host = host_on(&disk);
    let mut answered = Vec::new();
    for seed in 0..cuts {
        answered.extend(power_cut(&host, &disk, seed).await);
        let state = host.open().await;
        assert!(!host.has("agent.db.aside"), "seed {seed}");
        assert_eq!(lost(&state, &answered).await, 0, "seed {seed}");
        assert!(state.close().await);
    }
    assert!(answered.len() as u64 > cuts);
    println!("{} reports, {cuts} power cuts", answered.len());
}

/// The test above can fail: without syncs it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_cost_answered_reports_when_nothing_is_synced() {
    let mut all_lost = 0;
    for seed in 0..6 {
        let disk = FaultDisk::register();
        disk.set_lying(true);
        let host = host_on(&disk);
        let answered = power_cut(&host, &disk, seed).await;
        all_lost += lost(&host.open().await, &answered).await;
    }
    assert!(
        all_lost > 0,
        "nothing is lost, so the test above shows nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_in_a_replay_delivers_again_and_loses_nothing() {
    let disk = FaultDisk::register();
    let host = host_on(&disk);
    let server = Server::new(seven);
    let mut expected = Vec::new();
    for round in 0..POWER_CUTS {
        let state = host.open().await;
        for number in round * 100..round * 100 + 10 {
            settle(&state, report(number, number)).await;
            expected.push(report(number, number).request);
        }
        disk.cut_power_after(round % 7, Survival::Some(round));
        let _ = try_replay(&state, &server).await;
        drop(state);
        disk.cut_power(Survival::Nothing);
        power_on(&disk).await;
        let state = host.open().await;
        replay(&state, &server).await;
        let taken = server.taken();
        let missed = expected.iter().find(|request| !taken.contains(request));
        assert_eq!(missed, None, "round {round}");
        assert_eq!(state.figures().spooled_reports, 0);
        assert!(state.close().await);
    }
    assert!(
        server.taken().len() > expected.len(),
        "no cut hit a removal"
    );
}

#[tokio::test]
async fn a_drive_that_fails_is_told_and_leaves_no_trace() {
    let disk = FaultDisk::register();
    let host = host_on(&disk);
    let state = host.open().await;
    settle(&state, report(1, 1)).await;
    for (on, kind) in [
        (Operation::Write, FaultKind::Full),
        (Operation::Write, FaultKind::Io),
        (Operation::Sync, FaultKind::Io),
    ] {
        disk.inject(Some(Fault {
            on,
            kind,
            one_in: 1,
        }));
        let outcome = state.settle(report(2, 1), None).await;
        assert!(
            matches!(outcome, Err(StateError::Database(_))),
            "{outcome:?}"
        );
        assert!(!state.has_spooled("", &task(2)));
        assert_eq!(told(&state, 1), Some(unihash(1)));
        disk.inject(None);
        // It is no damage.
        assert!(!state.figures().damaged);
    }
    assert_eq!(settle(&state, report(2, 1)).await, unihash(1));
}

/// Opens the state when the one before is closed at last.
async fn reopened(host: &Host) -> State {
    let began = Instant::now();
    loop {
        match host.try_open().await {
            Ok(state) => return state,
            Err(error) => assert!(began.elapsed() < LIMIT, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_drive_that_hangs_holds_nobody_up() {
    let disk = FaultDisk::register();
    let mut host = host_on(&disk);
    drop(host.open().await);
    host.options.patience = Duration::from_millis(50);
    let state = reopened(&host).await;
    disk.set_sync_delay(Duration::from_secs(2));
    let outcome = state.settle(report(1, 1), None).await;
    assert!(matches!(outcome, Err(StateError::Slow)), "{outcome:?}");
    disk.set_sync_delay(Duration::ZERO);
}
