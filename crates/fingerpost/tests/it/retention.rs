//! `fingerpost retention` on a database in use, and a server with a schedule.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fingerpost_testkit::{Session, hash};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{outcome, program};
use crate::world::{eventually, farm, fill, metric};

const ROWS: u64 = 300;
const KEPT: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration under which of all mappings `KEPT` stay, task 7 among them.
fn configuration(directory: &Path, schedule: &str) -> Result<String> {
    let file = directory.join(format!("config-{}.toml", schedule.len()));
    let pinned = hash(1, 7);
    let text = format!(
        "[retention]\n{schedule}\n[[retention.rules]]\nmethod = 'Test*'\n\
         mappings = {{ max_rows = {KEPT} }}\npins = [{{ taskhash = '{pinned}' }}]\n"
    );
    std::fs::write(&file, text)?;
    Ok(file.to_string_lossy().into_owned())
}

async fn known(session: &mut Session, numbers: std::ops::Range<u64>) -> Result<u64> {
    let mut known = 0;
    for number in numbers {
        let found = session.unihash("TestMethod", &hash(1, number)).await?;
        known += u64::from(found.is_some());
    }
    Ok(known)
}

#[tokio::test]
async fn what_is_planned_goes_by_hand_and_by_schedule() -> Result<()> {
    let farm = farm();
    let here = TempDir::new()?;
    let options = farm.server();
    let database = options.database_path().to_owned();
    let server = options.start().await?;
    fill(&server, 0..ROWS).await?;
    let by_hand = configuration(here.path(), "")?;
    let path = database.to_string_lossy().into_owned();
    let retention = |words: &[&str]| -> Result<(i32, String, String)> {
        let which = ["--config", &by_hand, "--database", &path];
        outcome(&here, &[&["retention"], words, &which].concat())
    };
    let answer = |words: &[&str]| -> Result<Value> {
        let (code, out, err) = retention(words)?;
        ensure!(code == 0, "{err}");
        Ok(serde_json::from_str(&out)?)
    };
    let plan = answer(&["plan", "--json"])?;
    ensure!(plan["rows"] == json!(ROWS - KEPT), "{plan}");
    let first = &plan["gone"][0];
    let what = (&first["rule"], &first["kind"], &first["term"]);
    ensure!(
        what == (&json!(1), &json!("mappings"), &json!("rows")),
        "{plan}"
    );
    ensure!(answer(&["status", "--json"])?["last"].is_null());

    let every = configuration(here.path(), "every_hours = 1")?;
    let scheduled = farm
        .server()
        .database(&database)
        .argument("--config")
        .argument(every);
    let scheduled = scheduled.start().await?;
    let name = "fingerpost_retention_rows_deleted_total";
    eventually(PATIENCE, async || {
        Ok(metric(&scheduled, name, "kind=\"mappings\"").await? == (ROWS - KEPT) as f64)
    })
    .await?;
    eventually(PATIENCE, async || {
        Ok(metric(&scheduled, "fingerpost_retention_last_success_seconds", "").await? > 0.0)
    })
    .await?;
    let mut session = server.session().await?;
    eventually(PATIENCE, async || {
        Ok(known(&mut session, 0..ROWS).await? == KEPT)
    })
    .await?;
    ensure!(known(&mut session, 7..8).await? == 1, "the pinned one went");

    fill(&server, ROWS..ROWS + 10).await?;
    let (code, out, err) = retention(&["run"])?;
    ensure!(code == 0 && out.contains("\n10 rows went"), "{out}{err}");
    let status = answer(&["status", "--json"])?;
    ensure!(status["last"]["rows"] == json!(10), "{status}");
    ensure!(status["last"]["outcome"] == json!("done"), "{status}");
    let (_, out, _) = retention(&["status"])?;
    ensure!(out.contains("10 rows of"), "{out}");
    let again = answer(&["run", "--json"])?;
    ensure!(again["rows"] == json!(0), "{again}");
    Ok(())
}

#[test]
fn what_cannot_be_done_is_said() -> Result<()> {
    let here = TempDir::new()?;
    let config = configuration(here.path(), "")?;
    let which = ["--config", &config, "--database", "nowhere.db"];
    let (code, _, err) = outcome(&here, &[&["retention", "plan"], &which[..]].concat())?;
    ensure!(code == 64 && err.contains("no database"), "{code} {err}");
    std::fs::write(
        &config,
        "[retention]\n[[retention.rules]]\nmappings = { max_rows = 0 }\n",
    )?;
    let (code, _, err) = outcome(&here, &["check-config", "--config", &config])?;
    let wanted = "line 3: retention.rules[1].mappings.max_rows: is at least 1";
    ensure!(code == 78 && err.contains(wanted), "{code} {err}");
    Ok(())
}

/// Rows of a file that takes some seconds to empty.
const MANY: u64 = 20_000;

/// A run by hand in a directory with `many.db`, and how many mappings there are when it
/// has begun to delete.
struct Running {
    here: TempDir,
    config: String,
    child: Child,
}

impl Running {
    fn start() -> Result<Self> {
        let here = TempDir::new()?;
        let rows = MANY.to_string();
        let filled = outcome(&here, &["bench", "fill", "many.db", "--rows", &rows])?;
        ensure!(filled.0 == 0, "{}", filled.2);
        let config = here.path().join("config.toml");
        std::fs::write(
            &config,
            "[[retention.rules]]\nmappings = { max_rows = 10 }\n",
        )?;
        let config = config.to_string_lossy().into_owned();
        let mut command = program(&here);
        let child = command
            .args(["retention", "run", "-c", &config, "-d", "many.db"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let running = Self {
            here,
            config,
            child,
        };
        let began = Instant::now();
        while running.rows()? == MANY {
            ensure!(began.elapsed() < PATIENCE, "nothing is deleted");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(running)
    }

    fn file(&self) -> Result<Connection> {
        Ok(Connection::open(self.here.path().join("many.db"))?)
    }

    fn rows(&self) -> Result<u64> {
        let count = "SELECT count(*) FROM unihash";
        Ok(self.file()?.query_row(count, [], |row| row.get(0))?)
    }

    /// Ends it with a signal; gives its exit code, and how long it took to end.
    fn end(&mut self, signal: Signal) -> Result<(Option<i32>, Duration)> {
        let began = Instant::now();
        let pid = i32::try_from(self.child.id())?;
        kill_process(Pid::from_raw(pid).context("a process")?, signal)?;
        let status = self.child.wait()?;
        Ok((status.code(), began.elapsed()))
    }

    /// What another run deletes.
    fn go_on(&self) -> Result<u64> {
        let words = [
            "retention",
            "run",
            "--json",
            "-c",
            &self.config,
            "-d",
            "many.db",
        ];
        let (code, out, err) = outcome(&self.here, &words)?;
        ensure!(code == 0, "{code} {err}");
        let report: Value = serde_json::from_str(&out)?;
        report["rows"].as_u64().context("a number")
    }
}

#[test]
fn a_run_stops_within_a_second_and_the_next_one_goes_on() -> Result<()> {
    let mut running = Running::start()?;
    let (code, took) = running.end(Signal::TERM)?;
    ensure!(code == Some(1), "{code:?}");
    ensure!(took < Duration::from_secs(1), "it took {took:?}");
    let left = running.rows()?;
    ensure!(left > 10 && left < MANY, "{left} are left");
    let words = [
        "retention",
        "status",
        "-c",
        &running.config,
        "-d",
        "many.db",
    ];
    let (_, out, err) = outcome(&running.here, &words)?;
    ensure!(out.contains("was stopped"), "{out}{err}");
    ensure!(running.go_on()? == left - 10);
    Ok(())
}

#[test]
fn a_killed_run_leaves_a_whole_file_and_the_next_one_goes_on() -> Result<()> {
    let mut running = Running::start()?;
    running.end(Signal::KILL)?;
    let left = running.rows()?;
    let file = running.file()?;
    let text = |sql: &str| file.query_row(sql, [], |row| row.get::<_, String>(0));
    ensure!(text("PRAGMA integrity_check")? == "ok");
    let count = |sql: &str| file.query_row(sql, [], |row| row.get::<_, u64>(0));
    let tasks = count("SELECT count(*) FROM task")?;
    let logged = count("SELECT count(*) FROM deletion WHERE taskhash IS NOT NULL")?;
    ensure!(
        (tasks, logged) == (left, MANY - left),
        "{tasks} {logged} {left}"
    );
    let words = ["retention", "run", "-c", &running.config, "-d", "many.db"];
    let (code, _, err) = outcome(&running.here, &words)?;
    ensure!(
        code == 69 && err.contains("another process"),
        "{code} {err}"
    );
    // As if its lease had ended.
    file.execute("DELETE FROM lease", [])?;
    ensure!(running.go_on()? == left - 10);
    Ok(())
}
