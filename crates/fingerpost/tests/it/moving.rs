//! Moving in from the reference's database, and back, by the program itself.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use fingerpost_testkit::{Report, Session, TestFarm, memory_bytes};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::world::{farm, fill, from_environment};

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE unihashes_v3 (id INTEGER PRIMARY KEY AUTOINCREMENT, method TEXT NOT NULL,
        taskhash TEXT NOT NULL, unihash TEXT NOT NULL, gc_mark TEXT NOT NULL,
        UNIQUE (method, taskhash));
    CREATE TABLE outhashes_v2 (id INTEGER PRIMARY KEY AUTOINCREMENT, method TEXT NOT NULL,
        taskhash TEXT NOT NULL, outhash TEXT NOT NULL, created DATETIME, owner TEXT, PN TEXT,
        PV TEXT, PR TEXT, task TEXT, outhash_siginfo TEXT, UNIQUE (method, taskhash, outhash));
    CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT NOT NULL,
        token TEXT NOT NULL, permissions TEXT NOT NULL, UNIQUE (username));
    CREATE TABLE config (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, value TEXT,
        UNIQUE (name));";

/// The notice about cleaning jobs, which ran without a login so far.
const NOTICE: &str = "Anonymous clients may no longer clean or collect (reference default: \
    @db-admin). Cron jobs need --login, or set anonymous_permissions = \
    [\"@read\",\"@report\",\"@db-admin\"].\n";

/// A reference database of `rows` tasks, each with an output and, if
/// `listing_bytes` are not 0, a listing.
pub(crate) fn reference(path: &Path, rows: u32, listing_bytes: u32) -> Result<Connection> {
    let conn = Connection::open(path)?;
    conn.execute_batch(TABLES)?;
    conn.execute_batch("PRAGMA synchronous = OFF; BEGIN")?;
    conn.execute(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
         INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
         SELECT 'm' || n % 3, lower(hex(randomblob(32))), lower(hex(randomblob(32))),
                iif(n % 4 = 0, 'K', '') FROM n",
        [rows],
    )?;
    conn.execute(
        "INSERT INTO outhashes_v2 (method, taskhash, outhash, created, PN, task, outhash_siginfo)
         SELECT method, taskhash, lower(hex(randomblob(32))),
                iif(id % 2, '2024-05-01 12:30:00', '2026-05-01T12:30:00+00:00'), 'pn', 'package',
                iif(?1, lower(hex(randomblob(?1 / 2))), NULL) FROM unihashes_v3",
        [listing_bytes],
    )?;
    conn.execute_batch("INSERT INTO config (name, value) VALUES ('gc-mark', 'K'); COMMIT")?;
    Ok(conn)
}

pub(crate) fn fingerpost(farm: &TestFarm, arguments: &[&str]) -> Command {
    let mut command = Command::new(farm.binary());
    command
        .args(arguments)
        .current_dir(farm.directory())
        .stdin(Stdio::null());
    command
}

/// Runs the program, which has to succeed; gives what it printed.
pub(crate) fn succeed(farm: &TestFarm, arguments: &[&str]) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = fingerpost(farm, arguments).output()?;
    let errors = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{arguments:?}: {status}\n{errors}");
    Ok(String::from_utf8(stdout)?)
}

/// Rows that only one of two databases has, by a query over each.
pub(crate) fn difference(
    left: &Path,
    right: &Path,
    query: impl Fn(&str) -> String,
) -> Result<(u64, u64)> {
    let conn = Connection::open(left)?;
    conn.execute("ATTACH ?1 AS other", [right.to_string_lossy()])?;
    let (left, right) = (query("main"), query("other"));
    let count = |sql: String| conn.query_row(&sql, [], |row| row.get(0));
    Ok((
        count(format!("SELECT count(*) FROM ({left} EXCEPT {right})"))?,
        count(format!("SELECT count(*) FROM ({right} EXCEPT {left})"))?,
    ))
}

pub(crate) fn mappings(schema: &str) -> String {
    format!("SELECT method, taskhash, unihash, gc_mark FROM {schema}.unihashes_v3")
}

pub(crate) fn outputs(schema: &str) -> String {
    format!(
        "SELECT method, taskhash, outhash, created, owner, PN, PV, PR, task, outhash_siginfo
           FROM {schema}.outhashes_v2"
    )
}

#[tokio::test]
async fn import_serve_export_and_roll_back() -> Result<()> {
    let reports = from_environment("FINGERPOST_ROUND_TRIP_REPORTS", 400);
    let farm = farm();
    let (source, back) = (farm.path("hashserv.db"), farm.path("back.db"));
    let conn = reference(&source, 2000, 2000)?;
    let digest = Sha256::digest("0011223344556677secret");
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    conn.execute(
        "INSERT INTO users (username, token, permissions) VALUES ('bob', ?1, '@read @report')",
        [format!("sha256:0011223344556677:{digest}")],
    )?;

    let said = succeed(&farm, &["import", "hashserv.db", "--into", "moved.db"])?;
    ensure!(
        said.starts_with("Imported hashserv.db into moved.db\n"),
        "{said}"
    );
    ensure!(
        said.contains("unihashes  2000 read, 2000 taken\n"),
        "{said}"
    );
    ensure!(said.ends_with(NOTICE), "{said}");

    let server = farm
        .server()
        .database(farm.path("moved.db"))
        .start()
        .await?;
    let mut bob = server.login("bob", "secret").await?;
    fill(&server, 0..reports).await?;
    let owned = Report::new(1_000_000, 1_000_000);
    bob.report(&owned).await?;
    let exporting = succeed(&farm, &["export", "moved.db", "--to", "back.db"])?;
    ensure!(
        exporting.contains("the collection \"K\" is running"),
        "{exporting}"
    );
    server.stop().await?;

    let users = |schema: &str| format!("SELECT username, token, permissions FROM {schema}.users");
    let config = |schema: &str| format!("SELECT name, value FROM {schema}.config");
    ensure!(difference(&source, &back, mappings)? == (0, reports + 1));
    ensure!(difference(&source, &back, outputs)? == (0, reports + 1));
    ensure!(difference(&source, &back, users)? == (0, 0));
    ensure!(difference(&source, &back, config)? == (0, 0));
    let marked: u64 = Connection::open(&back)?.query_row(
        "SELECT count(*) FROM unihashes_v3 WHERE gc_mark = 'K'",
        [],
        |row| row.get(0),
    )?;
    ensure!(
        marked == 500 + reports + 1,
        "new rows carry the running mark: {marked}"
    );

    // The old token opens a server on what was rolled back and moved in again.
    succeed(&farm, &["import", "back.db"])?;
    let again = farm.path("back.db.fingerpost");
    let server = farm.server().database(again).start().await?;
    server.login("bob", "secret").await?;
    Ok(())
}

#[tokio::test]
async fn a_namespace_is_filled_beside_its_server_and_goes_back() -> Result<()> {
    let farm = farm();
    let (first, second) = (farm.path("first.db"), farm.path("second.db"));
    reference(&first, 300, 100)?;
    let second_conn = reference(&second, 200, 100)?;
    // A task that both know, by another unihash.
    second_conn.execute("ATTACH ?1 AS first", [first.to_string_lossy()])?;
    second_conn.execute_batch(
        "UPDATE unihashes_v3 SET taskhash = (SELECT taskhash FROM first.unihashes_v3 WHERE id = 3)
          WHERE id = 3",
    )?;
    let task = "SELECT method, taskhash, unihash FROM unihashes_v3 WHERE id = 3";
    let task = |conn: &Connection| {
        conn.query_row(task, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    };
    let (method, taskhash, unihash): (String, String, String) = task(&second_conn)?;
    let (.., other): (String, String, String) = task(&Connection::open(&first)?)?;

    succeed(&farm, &["import", "first.db", "--into", "moved.db"])?;
    let config = farm.path("namespaces.toml");
    std::fs::write(&config, "[hashequiv.namespaces.release]\n")?;
    let options = farm.server().database(farm.path("moved.db"));
    let server = options
        .argument("--config")
        .argument(config)
        .start()
        .await?;
    let words = ["import", "second.db", "--into", "moved.db", "--namespace"];
    let said = succeed(&farm, &[&words[..], &["release"]].concat())?;
    ensure!(
        said.starts_with("Added second.db to the namespace release of moved.db\n"),
        "{said}"
    );
    for (path, wanted) in [("", other), ("/ns/release", unihash)] {
        let address = format!("ws://{}{path}", server.host_and_port());
        let mut session = Session::open(&address).await?;
        let found = session.unihash(&method, &taskhash).await?;
        ensure!(found.as_ref() == Some(&wanted), "{path}: {found:?}");
    }
    succeed(&farm, &["export", "moved.db", "--to", "default.db"])?;
    let words = ["export", "moved.db", "--to", "release.db", "--namespace"];
    let said = succeed(&farm, &[&words[..], &["release"]].concat())?;
    ensure!(
        said.starts_with("Exported the namespace release of moved.db to release.db\n"),
        "{said}"
    );
    for (source, back) in [(&first, "default.db"), (&second, "release.db")] {
        let back = farm.path(back);
        ensure!(difference(source, &back, mappings)? == (0, 0), "{back:?}");
        ensure!(difference(source, &back, outputs)? == (0, 0), "{back:?}");
    }
    Ok(())
}

#[test]
fn an_import_killed_again_and_again_ends_complete() -> Result<()> {
    let farm = farm();
    let source = farm.path("hashserv.db");
    drop(reference(
        &source,
        from_environment("FINGERPOST_KILLED_IMPORT_ROWS", 10_000),
        0,
    )?);
    let target = farm.path("hashserv.db.fingerpost");
    let mut kills = 0;
    loop {
        let mut command = fingerpost(&farm, &["import", "hashserv.db"]);
        let mut importing = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(30 + kills * 40));
        let _ = importing.kill();
        let output = importing.wait_with_output()?;
        if output.status.success() {
            break;
        }
        ensure!(!target.exists(), "an incomplete target appeared");
        kills += 1;
        ensure!(kills < 200, "no progress between kills");
    }
    ensure!(kills > 0, "never killed");
    succeed(
        &farm,
        &["export", "hashserv.db.fingerpost", "--to", "back.db"],
    )?;
    ensure!(difference(&source, &farm.path("back.db"), mappings)? == (0, 0));
    ensure!(difference(&source, &farm.path("back.db"), outputs)? == (0, 0));
    let left = std::fs::read_dir(farm.directory())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    ensure!(
        !left.iter().any(|name| name.contains("importing")),
        "{left:?}"
    );
    Ok(())
}

#[test]
fn memory_does_not_grow_with_the_source() -> Result<()> {
    const LIMIT: u64 = 256 << 20;
    let farm = farm();
    // 320 MB of listings.
    drop(reference(&farm.path("hashserv.db"), 20_000, 16_000)?);
    let mut importing = fingerpost(&farm, &["import", "hashserv.db"])
        .stdout(Stdio::null())
        .spawn()?;
    let mut peak = 0;
    let ended = loop {
        // A process that has just ended has no memory.
        peak = memory_bytes(importing.id(), "VmHWM").unwrap_or(peak);
        if let Some(ended) = importing.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    ensure!(ended.success(), "{ended}");
    ensure!(peak > 0 && peak < LIMIT, "{peak} bytes at the peak");
    Ok(())
}

#[test]
fn what_cannot_be_imported_is_told_with_its_exit_code() -> Result<()> {
    let farm = farm();
    reference(&farm.path("hashserv.db"), 1, 0)?;
    std::fs::write(farm.path("text"), "no database".repeat(100))?;
    for (arguments, code, words) in [
        (
            &["import", "text"][..],
            65,
            "text is no bitbake-hashserv database",
        ),
        (&["import", "nowhere"], 74, "cannot access nowhere"),
        (
            &["import", "hashserv.db", "--into", "hashserv.db"],
            64,
            "into itself",
        ),
        (
            &["import", "hashserv.db", "--into", "text"],
            78,
            "no Fingerpost database",
        ),
        (
            &["export", "hashserv.db", "--to", "x"],
            78,
            "bitbake-hashserv database",
        ),
        (&["export", "nowhere", "--to", "text"], 64, "text exists"),
        (
            &["import", "hashserv.db", "--namespace", "release"],
            64,
            "no namespace 'release' in hashserv.db.fingerpost",
        ),
        (
            &["import", "hashserv.db", "--dry-run", "--namespace", "a b"],
            64,
            "'a b' is no name of a namespace",
        ),
    ] {
        let output = fingerpost(&farm, arguments).output()?;
        let error = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(code),
            "{arguments:?}: {}\n{error}",
            output.status
        );
        ensure!(error.contains(words), "{arguments:?}: {error}");
    }
    let said = succeed(&farm, &["import", "hashserv.db", "--dry-run"])?;
    ensure!(
        said.starts_with("Read hashserv.db; nothing was written\n"),
        "{said}"
    );
    ensure!(!farm.path("hashserv.db.fingerpost").exists());
    Ok(())
}
