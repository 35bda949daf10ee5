//! What the program remembers of look-ups over a restart.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Report, Session};

use crate::world::{eventually, metric, server};

/// Loading takes milliseconds, on an idle machine.
const LOADS_WITHIN: Duration = Duration::from_secs(10);

async fn ask(session: &mut Session, reports: &[Report]) -> Result<()> {
    for report in reports {
        let line = format!("{} {}", report.method, report.taskhash);
        let unihash = session.line(&line).await?;
        ensure!(unihash == report.unihash, "{unihash} for {line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_sends_no_known_look_up_to_the_database() -> Result<()> {
    let (farm, server) = server().await?;
    let reports: Vec<Report> = (0..50).map(|number| Report::new(number, number)).collect();
    let mut session = server.session().await?;
    for report in &reports {
        session.report(report).await?;
    }
    session.enter("get-stream").await?;
    ask(&mut session, &reports).await?;
    drop(session);
    let stopped = server.stop().await?;
    ensure!(stopped.status.success());
    let mut dump = stopped.options.database_path().as_os_str().to_owned();
    dump.push(".lookup-cache.dump");
    let mode = std::fs::metadata(&dump).context("no dump")?.permissions();
    ensure!(mode.mode() & 0o777 == 0o600, "{mode:?}");
    let server = stopped.options.start().await?;
    let loaded = "fingerpost_hashequiv_cache_dump_entries_loaded_total";
    eventually(LOADS_WITHIN, async || {
        Ok(metric(&server, loaded, "").await? > 49.0)
    })
    .await?;
    let mut session = server.session().await?;
    session.enter("get-stream").await?;
    ask(&mut session, &reports).await?;
    let misses = metric(&server, "fingerpost_hashequiv_cache_misses_total", "").await?;
    ensure!(misses < 1.0, "{misses} look-ups went to the database");
    drop(session);
    // A damaged one is no reason not to start.
    let stopped = server.stop().await?;
    std::fs::write(&dump, "nonsense")?;
    let server = stopped.options.start().await?;
    let dropped = "fingerpost_hashequiv_cache_dump_dropped_total";
    eventually(LOADS_WITHIN, async || {
        Ok(metric(&server, dropped, "reason=\"damaged\"").await? > 0.0)
    })
    .await?;
    drop(farm);
    Ok(())
}
