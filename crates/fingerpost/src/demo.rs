//! `fingerpost demo`: what hash equivalence is for, shown with a server of its
//! own, in a few seconds.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fingerpost_hashequiv_client::{Client, ClientOptions};
use fingerpost_hashequiv_proto::client::{Report, request};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::exit::Exit;
use crate::signals::StopSignals;

/// Show two builders sharing a result, then measure look-ups; cleans up.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look-ups to measure; a large build asks for as many at its start.
    #[arg(long, default_value_t = 15_000)]
    lookups: usize,
}

/// Runs the demonstration.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut signals = StopSignals::catch().context("cannot catch signals")?;
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let mut server = start(dir.path())?;
        let shown = tokio::select! {
            _ = signals.next() => Ok(()),
            shown = show(dir.path(), &mut server, args.lookups) => shown,
        };
        let stopped = stop(server).await;
        shown.and(stopped)?;
        dir.close()
            .context("cannot remove the temporary directory")?;
        println!("stopped and cleaned up");
        Ok(Exit::Ok)
    })
}

fn start(dir: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let log = std::fs::File::create(dir.join("log"))?;
    Command::new(program)
        .args([
            "serve",
            "--bind",
            "127.0.0.1:0",
            "--metrics",
            "",
            "--config",
            "/dev/null",
        ])
        .arg("--database")
        .arg(dir.join("demo.db"))
        .arg("--address-file")
        .arg(dir.join("address"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a server")
}

async fn show(dir: &Path, server: &mut Child, lookups: usize) -> anyhow::Result<()> {
    let address = timeout(START_MAX, address(dir, server))
        .await
        .context("the server did not start in time")??;
    println!("a server on {address}");
    let options = ClientOptions::to(address.parse()?);
    share(&options).await?;
    measure(&options, lookups).await
}

/// Waits until the server has said where it listens.
async fn address(dir: &Path, server: &mut Child) -> anyhow::Result<String> {
    loop {
        if let Ok(text) = std::fs::read_to_string(dir.join("address")) {
            return Ok(text.trim().to_owned());
        }
        if let Some(status) = server.try_wait()? {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            bail!("the server ended at once ({status}):\n{log}");
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Two builders, two task hashes, one output.
async fn share(options: &ClientOptions) -> anyhow::Result<()> {
    let output = sha256("what zlib:do_package makes");
    let first = sha256("zlib:do_package, as it was");
    let second = sha256("zlib:do_package, with a comment changed");
    let mut builder_1 = Client::new(options.clone());
    let answer = builder_1
        .call(&request::report(&report(&first, &output)))
        .await?;
    println!("builder 1 built zlib:do_package: taskhash {first}");
    println!("  output {output}");
    let mut builder_2 = Client::new(options.clone());
    let reused = builder_2
        .call(&request::report(&report(&second, &output)))
        .await?;
    println!("builder 2 changed a comment:     taskhash {second}");
    println!("  the same output");
    ensure!(
        reused.unihash == answer.unihash,
        "builder 2 was given unihash {} and not {}",
        reused.unihash,
        answer.unihash
    );
    println!(
        "builder 2 reuses builder 1's result: unihash {}",
        reused.unihash
    );
    Ok(())
}

/// Looks tasks up one after the other, as one build does.
async fn measure(options: &ClientOptions, lookups: usize) -> anyhow::Result<()> {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| sha256(&format!("task {task}")))
        .collect();
    let mut client = Client::new(options.clone());
    for taskhash in &tasks {
        client
            .call(&request::report_equiv(METHOD, taskhash, taskhash))
            .await?;
    }
    let mut times = Vec::with_capacity(lookups);
    let started = Instant::now();
    for number in 0..lookups {
        let task = (METHOD.to_owned(), tasks[number % tasks.len()].clone());
        let asked = Instant::now();
        let found = client.unihashes(std::slice::from_ref(&task)).await?;
        times.push(asked.elapsed());
        ensure!(
            found.first().is_some_and(Option::is_some),
            "{} is not known",
            task.1
        );
    }
    let elapsed = started.elapsed();
    times.sort_unstable();
    if let Some(p99) = times.get(times.len().saturating_sub(1) * 99 / 100) {
        println!(
            "{lookups} look-ups in {:.2} s: {:.0} a second, p99 {} µs",
            elapsed.as_secs_f64(),
            lookups as f64 / elapsed.as_secs_f64(),
            p99.as_micros()
        );
    }
    Ok(())
}

async fn stop(mut server: Child) -> anyhow::Result<()> {
    let pid = server
        .id()
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM).context("cannot stop the server")?;
    }
    let status = timeout(STOP_MAX, server.wait())
        .await
        .context("the server did not stop")??;
    ensure!(status.success(), "the server ended with {status}");
    Ok(())
}

fn report<'a>(taskhash: &'a str, outhash: &'a str) -> Report<'a> {
    Report {
        taskhash,
        method: METHOD,
        outhash,
        unihash: taskhash,
        pn: Some("zlib"),
        task: Some("do_package"),
        ..Report::default()
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

const METHOD: &str = "oe.sstatesig.OEOuthashBasic";
/// Tasks that are looked up again and again.
const TASKS: usize = 200;
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(10);
