//! A full disk: reports fail cleanly, look-ups go on, and with room reports
//! are taken again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_db::Settings;
use fingerpost_hashequiv::HashEquiv;
use fingerpost_testkit::vfs::{Fault, FaultDisk, FaultKind, Operation};
use fingerpost_testkit::{Report, Server, hash};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::in_process::{self, service};
use crate::small_disk::SmallDisk;
use crate::world::{eventually, farm, no_panic};

/// Recovery may need the writer to try again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(10);

/// Text that does not compress.
fn listing(number: u64) -> String {
    let mut random = StdRng::seed_from_u64(number);
    (0..300)
        .map(|_| format!("{:032x}\n", random.random::<u128>()))
        .collect()
}

async fn report(service: &HashEquiv, number: u64) -> Result<()> {
    in_process::report(service, number, number, Some(listing(number))).await?;
    Ok(())
}

/// Reports until one fails; gives the number of those that were answered.
async fn report_until_full(service: &HashEquiv) -> Result<u64> {
    for number in 0..5000 {
        if report(service, number).await.is_err() {
            return Ok(number);
        }
    }
    anyhow::bail!("the disk is never full")
}

/// Every answered report is found, and one that failed is not.
async fn look_ups_go_on(service: &HashEquiv, answered: u64) -> Result<()> {
    let keys = (0..=answered)
        .map(|number| ("TestMethod".to_owned(), hash(1, number)))
        .collect();
    let found = service.unihashes(keys).await?;
    for (number, unihash) in found.iter().enumerate() {
        let known = (number as u64) < answered;
        ensure!(
            unihash.is_some() == known,
            "task {number}, {answered} answered"
        );
    }
    Ok(())
}

async fn resumes(service: &HashEquiv, number: u64) -> Result<()> {
    eventually(RECOVERY_LIMIT, async || {
        Ok(report(service, number).await.is_ok())
    })
    .await
    .context("reports are not taken again")?;
    look_ups_go_on(service, number + 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_drive_stops_reports_only() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = FaultDisk::register();
    let mut settings = Settings::new(directory.path().join("full.db"));
    settings.vfs = Some(disk.vfs_name().to_owned());
    settings.checkpoint_bytes = 256 << 10;
    let (db, service) = service(settings).await?;
    let mut answered = 0;
    for room in [400_000, 2_000_000] {
        disk.set_capacity(Some(disk.used_bytes() + room));
        let before = answered;
        loop {
            match report(&service, answered).await {
                Ok(()) => answered += 1,
                Err(_) => break,
            }
            ensure!(answered < 5000, "the drive is never full");
        }
        ensure!(answered > before, "not one report fits into {room} bytes");
        for _ in 0..5 {
            ensure!(report(&service, answered).await.is_err());
            look_ups_go_on(&service, answered).await?;
        }
        disk.set_capacity(None);
        resumes(&service, answered).await?;
        answered += 1;
    }
    ensure!(disk.counters().faults > 0);
    drop(service);
    db.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_reports_errors_stops_reports_only() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let disk = FaultDisk::register();
    let mut settings = Settings::new(directory.path().join("errors.db"));
    settings.vfs = Some(disk.vfs_name().to_owned());
    settings.checkpoint_bytes = 256 << 10;
    let (_db, service) = service(settings).await?;
    let mut answered = 0;
    for on in [Operation::Write, Operation::Sync] {
        for one_in in [1, 2, 5] {
            report(&service, answered)
                .await
                .context("a healthy drive")?;
            answered += 1;
            disk.inject(Some(Fault {
                on,
                kind: FaultKind::Io,
                one_in,
            }));
            let mut failed = false;
            for _ in 0..20 {
                match report(&service, answered).await {
                    Ok(()) => answered += 1,
                    Err(_) => failed = true,
                }
            }
            ensure!(failed, "{on:?}, one in {one_in}: no report failed");
            look_ups_go_on(&service, answered).await?;
            disk.inject(None);
            resumes(&service, answered).await?;
            answered += 1;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_limit_stops_reports_only() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("pages.db");
    let mut settings = Settings::new(&path);
    settings.page_count_max = Some(200);
    let (db, limited) = service(settings).await?;
    let answered = report_until_full(&limited).await?;
    ensure!(answered > 0);
    look_ups_go_on(&limited, answered).await?;
    drop(limited);
    db.close().await;
    let (_db, boundless) = service(Settings::new(&path)).await?;
    resumes(&boundless, answered).await
}

/// The server closes without a word on a report that it cannot store.
async fn report_over_the_wire(server: &Server, number: u64) -> Result<bool> {
    let mut session = server.session().await?;
    let report = Report::new(number, number).with_siginfo(listing(number));
    session.send(&report.request()).await?;
    let answer = session.answer().await?;
    if let Some(answer) = &answer {
        ensure!(answer["unihash"] == hash(1, number), "{answer}");
    }
    Ok(answer.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_stops_reports_only() -> Result<()> {
    let farm = farm();
    let mount = farm.path("small");
    let _disk = match SmallDisk::mount(&mount, 6 << 20) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: {reason}");
            return Ok(());
        }
    };
    let ballast = mount.join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20])?;
    let server = farm
        .server()
        .database(mount.join("small.db"))
        .start()
        .await?;
    let mut answered = 0;
    while report_over_the_wire(&server, answered).await? {
        answered += 1;
        ensure!(answered < 5000, "the file system is never full");
    }
    ensure!(answered > 0, "not one report fits");
    for round in 0..3 {
        ensure!(
            !report_over_the_wire(&server, answered).await?,
            "round {round}"
        );
        let mut session = server.session().await?;
        session.enter("get-stream").await?;
        for number in 0..=answered {
            let found = session
                .line(&format!("TestMethod {}", hash(1, number)))
                .await?;
            ensure!(
                found.is_empty() == (number == answered),
                "task {number}: {found:?}"
            );
        }
    }
    std::fs::remove_file(&ballast)?;
    eventually(RECOVERY_LIMIT, async || {
        report_over_the_wire(&server, answered).await
    })
    .await
    .context("reports are not taken again")?;
    no_panic(&server)?;
    ensure!(server.stop().await?.status.success());
    Ok(())
}
