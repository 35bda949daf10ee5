//! Moving a farm that builds: the commands of `docs/migrating.md`, while a script writes to
//! the old database as its server does.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fingerpost_testkit::{Report, TestFarm};
use rusqlite::Connection;

use crate::moving::{difference, fingerpost, mappings, outputs, reference, succeed};
use crate::world::farm;

const DOCUMENT: &str = include_str!("../../../../docs/migrating.md");
const LIMIT: Duration = Duration::from_secs(60);

/// The arguments of the first command in the document with these words, for the files of
/// a test.
fn documented(words: &[&str]) -> Result<Vec<String>> {
    let mut lines = DOCUMENT.lines();
    let line = lines.find(|line| {
        line.starts_with("fingerpost ") && words.iter().all(|word| line.contains(word))
    });
    let line = line.with_context(|| format!("no command with {words:?}"))?;
    let line = line
        .replace("/var/lib/fingerpost/", "")
        .replace("30s", "1s");
    Ok(line.split_whitespace().skip(1).map(str::to_owned).collect())
}

/// A following that runs.
struct Following {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Following {
    fn start(farm: &TestFarm, arguments: &[String]) -> Result<Self> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut child = fingerpost(farm, &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().context("piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().context("it ended")??;
        ensure!(first.starts_with("Following "), "{first}");
        Ok(Self { child, lines })
    }

    /// Waits for a round that does this.
    fn until(&mut self, words: &str) -> Result<String> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            let line = self.lines.next().context("it ended")??;
            ensure!(line.starts_with("unihashes +"), "{line}");
            if line.contains(words) {
                return Ok(line);
            }
        }
        anyhow::bail!("no round did {words:?}")
    }

    /// Ends it as the document says.
    fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        let pid = rustix::process::Pid::from_raw(pid).context("it runs")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let last = self.lines.last().context("it said nothing")??;
        let ended = self.child.wait()?;
        ensure!(
            ended.success() && last.starts_with("Stopped"),
            "{ended}: {last}"
        );
        Ok(())
    }
}

/// A report, as the old server stores it.
fn report(conn: &Connection, number: u32) -> Result<()> {
    conn.execute_batch(&format!(
        "BEGIN;
         INSERT INTO outhashes_v2 (method, taskhash, outhash, created, PN, task, outhash_siginfo)
             VALUES ('m1', 'task-{number}', 'out-{number}', '2026-11-01T00:00:00.{number:06}+00:00',
                 'pn', 'package', 'text {number}');
         INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
             VALUES ('m1', 'task-{number}', printf('%064x', {number}),
                 ifnull((SELECT value FROM config WHERE name = 'gc-mark'), ''));
         COMMIT;"
    ))?;
    Ok(())
}

/// A day of the farm: reports, a removal, a collection from beginning to end, and users.
fn day(conn: &Connection, from: u32) -> Result<()> {
    (from..from + 100).try_for_each(|number| report(conn, number))?;
    conn.execute_batch(&format!(
        "DELETE FROM outhashes_v2 WHERE id < 2000 AND id % 30 = {from} % 9;
         DELETE FROM unihashes_v3 WHERE id < 2000 AND id % 30 = {from} % 9;
         INSERT OR REPLACE INTO config (name, value) VALUES ('gc-mark', 'mark-{from}');
         UPDATE unihashes_v3 SET gc_mark = 'mark-{from}' WHERE id % 20 <> 1;
         DELETE FROM unihashes_v3 WHERE gc_mark <> 'mark-{from}';
         UPDATE config SET value = NULL WHERE name = 'gc-mark';
         DELETE FROM users WHERE username = 'user-0';
         INSERT INTO users (username, token, permissions)
             VALUES ('user-{from}', 'sha256:00:{from}', '@read');"
    ))?;
    report(conn, from + 100)
}

/// Compares what was followed with a fresh import of what the source is now.
fn compare(farm: &TestFarm, source: &str, followed: &str) -> Result<()> {
    succeed(farm, &["import", source, "--into", "fresh.db"])?;
    succeed(farm, &["export", "fresh.db", "--to", "fresh-back.db"])?;
    succeed(farm, &["export", followed, "--to", "followed-back.db"])?;
    let (left, right) = (farm.path("fresh-back.db"), farm.path("followed-back.db"));
    ensure!(difference(&left, &right, mappings)? == (0, 0), "unihashes");
    ensure!(difference(&left, &right, outputs)? == (0, 0), "outputs");
    let ids = |schema: &str| format!("SELECT id, outhash FROM {schema}.outhashes_v2");
    ensure!(
        difference(&left, &right, ids)? == (0, 0),
        "numbers of outputs"
    );
    let users = |schema: &str| format!("SELECT id, username, token FROM {schema}.users");
    ensure!(difference(&left, &right, users)? == (0, 0), "users");
    let config = |schema: &str| format!("SELECT name, value FROM {schema}.config");
    ensure!(
        difference(&left, &right, config)? == (0, 0),
        "configuration"
    );
    Ok(())
}

fn text(conn: &Connection, sql: &str) -> Result<String> {
    Ok(conn.query_row(sql, [], |row| row.get(0))?)
}

/// In order of times, as a server writes.
fn old_database(path: &Path) -> Result<Connection> {
    let conn = reference(path, 2000, 400)?;
    conn.execute(
        "UPDATE outhashes_v2 SET created = '2026-05-01T12:30:00+00:00'",
        [],
    )?;
    Ok(conn)
}

#[tokio::test]
async fn a_farm_moves_while_it_builds_and_can_go_back() -> Result<()> {
    let farm = farm();
    let old = old_database(&farm.path("hashserv.db"))?;

    // 1, and 0: a server that looks at the file.
    let command = documented(&["import hashserv.db", "--follow"])?;
    let mut following = Following::start(&farm, &command)?;
    following.until("unihashes +2000 -0, outputs +2000 -0")?;
    let looking = farm.server().database(farm.path("fingerpost.db"));
    let looking = looking.read_only().start().await?;
    let mut session = looking.session().await?;
    let task = "FROM unihashes_v3 WHERE id = 21";
    let method = text(&old, &format!("SELECT method {task}"))?;
    let gone = text(&old, &format!("SELECT taskhash {task}"))?;
    let unihash = text(&old, &format!("SELECT unihash {task}"))?;
    ensure!(session.unihash(&method, &gone).await?.as_ref() == Some(&unihash));
    day(&old, 0)?;
    let begun = Instant::now();
    while session.unihash(&method, &gone).await?.is_some() {
        ensure!(
            begun.elapsed() < LIMIT,
            "what was removed is still answered"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    looking.stop().await?;
    following.stop()?;

    // It goes on where it was.
    let mut following = Following::start(&farm, &command)?;
    following.until("unihashes +")?;
    day(&old, 1000)?;
    following.until("outputs +101")?;
    following.stop()?;

    // 2. Somebody forgot to stop the old server.
    let finish = documented(&["import hashserv.db", "--finish"])?;
    let finish: Vec<&str> = finish.iter().map(String::as_str).collect();
    let stop = AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        let writing = scope.spawn(|| -> Result<()> {
            for number in 2000.. {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                report(&old_again(&farm)?, number)?;
            }
            Ok(())
        });
        let refused = fingerpost(&farm, &finish).output();
        stop.store(true, Ordering::Release);
        writing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        anyhow::Ok(refused?)
    })?;
    let said = String::from_utf8(refused.stderr)?;
    ensure!(
        refused.status.code() == Some(1),
        "{}: {said}",
        refused.status
    );
    ensure!(
        said.contains("was written to meanwhile: stop its server"),
        "{said}"
    );

    day(&old, 900_000)?;
    let said = succeed(&farm, &finish)?;
    ensure!(
        said.starts_with("Finished fingerpost.db from hashserv.db in "),
        "{said}"
    );
    ensure!(!farm.path("fingerpost.db.following").exists());
    compare(&farm, "hashserv.db", "fingerpost.db")?;
    let again = fingerpost(&farm, &finish).output()?;
    ensure!(again.status.code() == Some(64), "{}", again.status);

    let server = farm.server().database(farm.path("fingerpost.db"));
    let server = server.start().await?;
    let mut session = server.session().await?;
    // The last report of the day: what came before it may have been collected.
    ensure!(session.unihash("m1", "task-900100").await? == Some(format!("{:064x}", 900_100)));
    session.report(&Report::new(7, 7)).await?;
    server.stop().await?;

    // 3.
    let export = documented(&["export"])?;
    succeed(
        &farm,
        &export.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    let (old, back) = (farm.path("hashserv.db"), farm.path("back.db"));
    ensure!(
        difference(&old, &back, mappings)? == (0, 1),
        "a report goes back"
    );
    ensure!(
        difference(&old, &back, outputs)? == (0, 1),
        "a report goes back"
    );
    Ok(())
}

fn old_again(farm: &TestFarm) -> Result<Connection> {
    let conn = Connection::open(farm.path("hashserv.db"))?;
    conn.busy_timeout(LIMIT)?;
    conn.execute_batch("PRAGMA synchronous = OFF")?;
    Ok(conn)
}

#[test]
fn what_cannot_be_followed_is_told_with_its_exit_code() -> Result<()> {
    let farm = farm();
    drop(old_database(&farm.path("hashserv.db"))?);
    succeed(&farm, &["import", "hashserv.db", "--into", "there.db"])?;
    for (arguments, code, words) in [
        (
            &["import", "hashserv.db", "--into", "there.db", "--follow"][..],
            64,
            "exists and follows no database",
        ),
        (
            &[
                "import",
                "hashserv.db",
                "--into",
                "x.db",
                "--follow",
                "--every",
                "1d",
            ],
            64,
            "from 1s to 1h",
        ),
        (
            &[
                "import",
                "hashserv.db",
                "--into",
                "x.db",
                "--finish",
                "--follow",
            ],
            64,
            "cannot be used with",
        ),
        (
            &["import", "nowhere", "--into", "x.db", "--finish"],
            74,
            "cannot access nowhere",
        ),
    ] {
        let output = fingerpost(&farm, arguments).output()?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(code) && error.contains(words),
            "{arguments:?}: {}\n{error}",
            output.status
        );
    }
    Ok(())
}

/// `FINGERPOST_FOLLOWED_ROWS=1000000 cargo nextest run --no-capture -E 'test(how_long)'`
#[test]
fn how_long_the_rest_takes() -> Result<()> {
    let rows = crate::world::from_environment("FINGERPOST_FOLLOWED_ROWS", 5000);
    let farm = farm();
    let conn = reference(&farm.path("hashserv.db"), rows, 100)?;
    conn.execute(
        "UPDATE outhashes_v2 SET created = '2026-05-01T12:30:00+00:00'",
        [],
    )?;
    let mut following = Following::start(&farm, &documented(&["hashserv.db", "--follow"])?)?;
    let begun = Instant::now();
    let line = following.lines.next().context("it ended")??;
    println!("first round: {:?}: {line}", begun.elapsed());
    following.stop()?;
    let changed = rows / 100;
    conn.execute_batch(&format!(
        "BEGIN;
         DELETE FROM unihashes_v3 WHERE id % 100 = 50;
         DELETE FROM outhashes_v2 WHERE id % 100 = 50;
         UPDATE unihashes_v3 SET gc_mark = 'all';
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {changed})
         INSERT INTO outhashes_v2 (method, taskhash, outhash, created, PN, task, outhash_siginfo)
             SELECT 'm1', lower(hex(randomblob(32))), lower(hex(randomblob(32))),
                    '2026-06-01T12:30:00+00:00', 'pn', 'package', lower(hex(randomblob(50))) FROM n;
         INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
             SELECT method, taskhash, outhash, 'all' FROM outhashes_v2
              ORDER BY id DESC LIMIT {changed};
         COMMIT;"
    ))?;
    let begun = Instant::now();
    let finish = documented(&["hashserv.db", "--finish"])?;
    let said = succeed(
        &farm,
        &finish.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    println!("finish: {:?}\n{said}", begun.elapsed());
    if rows <= 100_000 {
        compare(&farm, "hashserv.db", "fingerpost.db")?;
    }
    Ok(())
}
