//! `fingerpost client`, `backup` and `restore` against a running server: the
//! outputs and exit codes that scripts count on.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{Report, Server, TestFarm};
use serde_json::Value;

use crate::world::{farm, fill};

/// A server with an administrator, and what a user at a shell has.
struct Desk {
    farm: TestFarm,
    server: Server,
}

impl Desk {
    async fn open() -> Result<Self> {
        let farm = farm();
        let options = farm
            .server()
            .admin("admin", "secret")
            .anonymous("@read,@report,@db-admin");
        let server = options.start().await?;
        Ok(Self { farm, server })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fingerpost"));
        command
            .args(["client", "--address", self.server.address()])
            .args(arguments)
            .current_dir(self.farm.directory())
            .env_clear()
            .env("HOME", self.farm.directory())
            .stdin(Stdio::null());
        command
    }

    /// Standard output and the exit code.
    fn run(&self, arguments: &[&str]) -> Result<(String, i32)> {
        let output = self.command(arguments).output()?;
        let code = output.status.code().context("killed by a signal")?;
        Ok((String::from_utf8(output.stdout)?, code))
    }

    fn check(&self, arguments: &[&str], expected: &str, code: i32) -> Result<()> {
        let got = self.run(arguments)?;
        ensure!(got == (expected.to_owned(), code), "{arguments:?}: {got:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_sorted_json_and_nothing_when_unknown() -> Result<()> {
    let desk = Desk::open().await?;
    let report = Report::new(1, 1).with_siginfo("é\n");
    desk.server.session().await?.report(&report).await?;
    let (out, code) = desk.run(&["get", &report.method, &report.taskhash])?;
    ensure!(code == 0 && out.starts_with("{\n    \"PN\": "), "{out}");
    ensure!(out.contains("\"outhash_siginfo\": \"\\u00e9\\n\""), "{out}");
    let row: Value = serde_json::from_str(&out)?;
    ensure!(row["unihash"] == report.unihash.as_str(), "{row}");
    let same = [
        "get-outhash",
        &report.method,
        &report.outhash,
        &report.taskhash,
    ];
    ensure!(desk.run(&same)? == (out, 0));
    desk.check(&["get", "m", "unknown"], "", 0)?;
    desk.check(&["unihash-exists", &report.unihash], "true\n", 0)?;
    desk.check(&["unihash-exists", "none"], "false\n", 0)?;
    desk.check(&["unihash-exists", "--quiet", &report.unihash], "", 0)?;
    desk.check(&["unihash-exists", "--quiet", "none"], "", 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_shown_in_aligned_lines() -> Result<()> {
    let desk = Desk::open().await?;
    let login = ["--login", "admin", "--password", "secret"];
    let run = |arguments: &[&str]| desk.run(&[&login[..], arguments].concat());
    let (out, _) = run(&["new-user", "-u", "bob", "@report", "@read"])?;
    let token = out
        .strip_prefix("Username:    bob\nPermissions: @read @report\nToken:       ")
        .context(out.clone())?
        .trim_end();
    ensure!(token.len() == 64, "{out}");
    desk.check(
        &["-l", "bob", "-p", token, "get-user"],
        "Username:    bob\nPermissions: @read @report\n",
        0,
    )?;
    let (out, _) = run(&["refresh-token", "-u", "bob"])?;
    ensure!(out.starts_with("Username:    bob\nToken:       "), "{out}");
    let (out, _) = run(&["get-all-users"])?;
    ensure!(
        out.contains("\nbob                 | @read @report\n\nTotal users: 2\n"),
        "{out}"
    );
    let (out, code) = run(&["delete-user", "-u", "bob"])?;
    ensure!((out.as_str(), code) == ("Username:    bob\n", 0));
    let (out, code) = run(&["delete-user", "-u", "bob"])?;
    ensure!((out.as_str(), code) == ("ERROR: No user named 'bob' exists\n", 1));
    desk.check(
        &["-l", "admin", "-p", "wrong", "get-user"],
        "ERROR: Unable to authenticate as admin\n",
        1,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_shown_used_and_revoked() -> Result<()> {
    let desk = Desk::open().await?;
    let login = ["--login", "admin", "--password", "secret", "--json"];
    let run = |arguments: &[&str]| desk.run(&[&login[..], arguments].concat());
    let (out, code) = run(&[
        "token-new",
        "--name",
        "nightly",
        "--days",
        "30",
        "@db-admin",
    ])?;
    let made: Value = serde_json::from_str(&out)?;
    ensure!(code == 0 && made["permissions"][0] == "@db-admin", "{out}");
    let (id, token) = (made["id"].as_str(), made["token"].as_str());
    let (id, token) = id.zip(token).context("no token")?;
    let with_token = ["-l", "admin", "-p", token, "get-db-usage"];
    ensure!(desk.run(&with_token)?.1 == 0);
    // It acts for the user, and has no account to manage.
    ensure!(desk.run(&["-l", "admin", "-p", token, "token-list"])?.1 == 1);
    let (out, _) = desk.run(&["-l", "admin", "-p", "secret", "token-list"])?;
    ensure!(
        out.contains(id) && out.contains("nightly: @db-admin in all"),
        "{out}"
    );
    let revoke = ["-l", "admin", "-p", "secret", "token-revoke", id];
    desk.check(&revoke, &format!("Revoked:     {id}\n"), 0)?;
    let told = "ERROR: Unable to authenticate as admin\n";
    desk.check(&with_token, told, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn netrc_is_read_with_the_whole_address_as_machine() -> Result<()> {
    let desk = Desk::open().await?;
    let netrc = format!(
        "machine {} login admin password secret\n",
        desk.server.address()
    );
    std::fs::write(desk.farm.path(".netrc"), netrc)?;
    let (out, code) = desk.run(&["get-user"])?;
    ensure!(
        code == 0 && out.starts_with("Username:    admin\n"),
        "{out}"
    );
    let (_, code) = desk.run(&["--no-netrc", "get-user"])?;
    ensure!(code == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_driven_to_its_end() -> Result<()> {
    let desk = Desk::open().await?;
    fill(&desk.server, 0..10).await?;
    desk.check(&["gc-status"], "No Garbage collection in progress\n", 0)?;
    let kept = Report::new(1, 1);
    desk.check(
        &["gc-mark", "K", "-w", "unihash", &kept.unihash],
        "New hashes marked: 1\n",
        0,
    )?;
    let mut child = desk
        .command(&["gc-mark-stream", "K"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = child.stdin.take().context("piped")?;
    for task in 2..4 {
        writeln!(
            lines,
            "unihash {} method TestMethod",
            Report::new(task, task).unihash
        )?;
    }
    drop(lines);
    let output = child.wait_with_output()?;
    ensure!(output.stdout == b"New hashes marked: 2\n", "{output:?}");
    desk.check(
        &["gc-status"],
        "Current Mark: K\nTotal hashes to keep: 3\nTotal hashes to remove: 7\n",
        0,
    )?;
    desk.check(
        &["gc-sweep", "L"],
        "ERROR: 'L' is not the current mark. Refusing to sweep\n",
        1,
    )?;
    desk.check(&["gc-sweep", "K"], "Removed 7 rows\n", 0)?;
    desk.check(&["clean-unused", "3600"], "Removed 0 rows\n", 0)?;
    desk.check(
        &["remove", "-w", "method", "TestMethod"],
        "Removed 13 row(s)\n",
        0,
    )?;
    desk.check(&["remove"], "No query specified\n", 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_tables_or_json() -> Result<()> {
    let desk = Desk::open().await?;
    let (out, _) = desk.run(&["get-db-usage"])?;
    ensure!(
        out.contains("\nunihashes_v3        | 0\n") && out.contains("\nTotal rows: "),
        "{out}"
    );
    let (out, _) = desk.run(&["get-db-query-columns"])?;
    ensure!(out.starts_with("PN\nPR\nPV\ngc_mark\n"), "{out}");
    let (out, _) = desk.run(&["stats", "--reset"])?;
    let stats: Value = serde_json::from_str(&out)?;
    ensure!(stats["requests"]["num"].is_u64(), "{stats}");
    let (out, code) = desk.run(&["stress", "--clients", "2", "--requests", "5", "--report"])?;
    ensure!(code == 0 && out.contains("10 requests in "), "{out}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_to_what_was_answered_before_it() -> Result<()> {
    let desk = Desk::open().await?;
    fill(&desk.server, 0..200).await?;
    let (database, copy) = (
        desk.server.options().database_path().to_owned(),
        desk.farm.path("copy"),
    );
    let program = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fingerpost"));
        command.args(arguments).env_clear().output()
    };
    let (_, backed_up) = tokio::join!(fill(&desk.server, 200..1200), async {
        program(&[
            "backup".as_ref(),
            "-d".as_ref(),
            database.as_ref(),
            copy.as_ref(),
        ])
    });
    ensure!(backed_up?.status.success());
    let restored = desk.farm.path("restored.db");
    let restore = program(&[
        "restore".as_ref(),
        "-d".as_ref(),
        restored.as_ref(),
        copy.as_ref(),
    ])?;
    ensure!(restore.status.success(), "{restore:?}");
    let in_use = program(&[
        "restore".as_ref(),
        "--overwrite".as_ref(),
        "-d".as_ref(),
        database.as_ref(),
        copy.as_ref(),
    ])?;
    ensure!(in_use.status.code() == Some(69), "{in_use:?}");
    let server = desk.farm.server().database(restored).start().await?;
    let mut session = server.session().await?;
    for task in 0..200 {
        let report = Report::new(task, task);
        let unihash = session.unihash(&report.method, &report.taskhash).await?;
        ensure!(
            unihash.as_deref() == Some(&*report.unihash),
            "{task} is not in the backup"
        );
    }
    Ok(())
}
