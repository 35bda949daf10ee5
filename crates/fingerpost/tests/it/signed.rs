//! Signed rows through the real server, the client and the second implementation.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fingerpost_testkit::{PostgresCluster, Report, Server, TestFarm};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::world::farm;

/// A server, two signers who trust each other, and one whom nobody trusts.
pub(crate) struct Farm {
    pub(crate) farm: TestFarm,
    pub(crate) server: Server,
}

/// Standard output, and what is said beside it.
struct Told {
    out: String,
    err: String,
}

impl Farm {
    pub(crate) async fn open() -> Result<Self> {
        Self::open_on(None).await
    }

    /// One whose database is not a file.
    async fn open_on(database: Option<&str>) -> Result<Self> {
        let farm = farm();
        let config = farm.path("fingerpost.toml");
        fs::write(
            &config,
            "[hashequiv.namespaces.release]\nfallback = \"default\"\n",
        )?;
        let mut options = farm.server().argument("--config").argument(config);
        if let Some(database) = database {
            options = options.database(database);
        }
        let server = options.start().await?;
        let farm = Self { farm, server };
        for name in ["one", "two", "stranger"] {
            let ring = format!("{name}.toml");
            farm.run(&["key", "new", "--ring", &ring, "--name", name])?;
            let public = format!("{name}.public");
            farm.run(&["key", "export-public", "--ring", &ring, "--output", &public])?;
        }
        let public = |name| fs::read_to_string(farm.farm.path(&format!("{name}.public")));
        let (one, two) = (public("one")?, public("two")?);
        let keys = two.split_once("[[key]]").context("no key")?.1.to_owned();
        fs::write(
            farm.farm.path("readers.toml"),
            format!("{one}\n[[key]]{keys}"),
        )?;
        Ok(farm)
    }

    fn output(&self, words: &[&str]) -> Result<(i32, Told)> {
        let output = Command::new(env!("CARGO_BIN_EXE_fingerpost"))
            .args(words)
            .current_dir(self.farm.directory())
            .env_clear()
            .env("HOME", self.farm.directory())
            .stdin(Stdio::null())
            .output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = output.status.code().context("killed by a signal")?;
        let (out, err) = (text(output.stdout), text(output.stderr));
        Ok((code, Told { out, err }))
    }

    fn run(&self, words: &[&str]) -> Result<Told> {
        let (code, told) = self.output(words)?;
        ensure!(code == 0, "{words:?}: {code} {} {}", told.out, told.err);
        Ok(told)
    }

    fn client(&self, words: &[&str]) -> Result<Told> {
        let first = ["client", "--address", self.server.address()];
        self.run(&[&first, words].concat())
    }

    /// Reports (task, output) as `signer` under a policy; gives the unihash to go on
    /// with and the counts.
    pub(crate) fn report(
        &self,
        report: &Report,
        signer: &str,
        policy: &str,
    ) -> Result<(String, String)> {
        let ring = format!("{signer}.toml");
        let words = [
            "--policy",
            policy,
            "--ring",
            "readers.toml",
            "--sign-with",
            &ring,
            "report",
            &report.method,
            &report.taskhash,
            &report.outhash,
            &report.unihash,
        ];
        let told = self.client(&words)?;
        let counts = told.err.lines().last().unwrap_or_default().to_owned();
        Ok((told.out.trim_end().to_owned(), counts))
    }

    /// What a look-up comes to: the word, and whether it is a hit.
    fn look_up(&self, report: &Report, policy: &str) -> Result<(String, bool)> {
        let words = [
            "--json",
            "--policy",
            policy,
            "--ring",
            "readers.toml",
            "get",
            &report.method,
            &report.taskhash,
        ];
        let out = self.client(&words)?.out;
        if policy == "off" {
            // As without signatures, and nothing is counted.
            return Ok(("unchecked".to_owned(), !out.is_empty()));
        }
        let told: Value = serde_json::from_str(&out)?;
        let counts = told["counts"].as_object().context("no counts")?;
        let word = counts.keys().next().context("nothing counted")?;
        Ok((word.clone(), !told["row"].is_null()))
    }

    fn check(&self, report: &Report, policy: &str, expected: (&str, bool)) -> Result<()> {
        let (word, is_hit) = self.look_up(report, policy)?;
        ensure!(
            (word.as_str(), is_hit) == expected,
            "{policy}: {word} {is_hit}"
        );
        Ok(())
    }

    fn change(&self, sql: &str) -> Result<()> {
        let changed = Connection::open(self.server.options().database_path())?.execute(sql, [])?;
        ensure!(changed > 0, "{sql} changed nothing");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reporter_signs_what_they_were_answered_if_they_believe_it() -> Result<()> {
    let farm = Farm::open().await?;
    // (who signs the first task, policy of the second reporter, what they count, whether
    // they take the first one's unihash)
    let cases = [
        ("two", "off", "unchecked", true),
        ("two", "prefer", "verified", true),
        ("two", "require", "verified", true),
        ("stranger", "off", "unchecked", true),
        ("stranger", "prefer", "kept_own_unknown_key", false),
        ("stranger", "require", "kept_own_unknown_key", false),
    ];
    for (number, (first, policy, word, takes)) in (1u64..).zip(cases) {
        let (a, b) = (
            Report::new(number * 2, number),
            Report::new(number * 2 + 1, number),
        );
        let (unihash, counts) = farm.report(&a, first, "off")?;
        ensure!(
            unihash == a.unihash && counts == "own 1, signature_stored 1",
            "{counts}"
        );
        let (unihash, counts) = farm.report(&b, "one", policy)?;
        let expected = if takes { &a.unihash } else { &b.unihash };
        ensure!(unihash == *expected, "{first} {policy}: {unihash}");
        ensure!(counts.contains(word), "{first} {policy}: {counts}");
        ensure!(counts.contains("signature_stored 1") == takes, "{counts}");
        // The first task as readers see it, then the second.
        let believed = first == "two";
        for policy in ["off", "prefer", "require"] {
            let word = match (policy, believed) {
                ("off", _) => "unchecked",
                (_, true) => "verified",
                (_, false) => "unknown_key",
            };
            farm.check(&a, policy, (word, believed || policy == "off"))?;
            let expected = match (policy, takes) {
                ("off", _) => ("unchecked", true),
                (_, true) => ("verified", true),
                ("prefer", false) => ("unsigned_hit", true),
                _ => ("unsigned", false),
            };
            farm.check(&b, policy, expected)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_answer_is_kept_out_where_signatures_are_required() -> Result<()> {
    let farm = Farm::open().await?;
    let (a, b) = (Report::new(1, 1), Report::new(2, 1));
    farm.server.session().await?.report(&a).await?;
    let (unihash, counts) = farm.report(&b, "one", "require")?;
    ensure!(
        (unihash, &*counts) == (b.unihash.clone(), "kept_own_unsigned 1"),
        "{counts}"
    );
    let (unihash, counts) = farm.report(&b, "one", "prefer")?;
    ensure!(
        unihash == a.unihash && counts.starts_with("signature_stored 1, unsigned_hit 1"),
        "{counts}"
    );
    // With a signature the row of the task itself is what speaks for it.
    ensure!(farm.report(&b, "two", "require")?.1.contains("verified 1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_in_the_database_is_refused_and_counted() -> Result<()> {
    let farm = Farm::open().await?;
    let report = Report::new(1, 1);
    farm.report(&report, "one", "require")?;
    farm.check(&report, "require", ("verified", true))?;
    // A digit of the proof, which stays base64url.
    let flip = "UPDATE signature SET text = substr(text, 1, 60)
        || CASE substr(text, 61, 1) WHEN 'A' THEN 'B' ELSE 'A' END || substr(text, 62)";
    farm.change(flip)?;
    for policy in ["prefer", "require"] {
        farm.check(&report, policy, ("mismatch", false))?;
    }
    farm.check(&report, "off", ("unchecked", true))?;
    farm.change("UPDATE signature SET text = 'nonsense'")?;
    farm.check(&report, "prefer", ("malformed", false))?;
    farm.report(&report, "one", "off")?;
    farm.check(&report, "require", ("verified", true))?;
    farm.change("UPDATE unihash SET unihash = randomblob(32)")?;
    farm.check(&report, "require", ("mismatch", false))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_implementation_verifies_what_the_server_tells() -> Result<()> {
    let farm = Farm::open().await?;
    let report = Report::new(1, 1);
    farm.report(&report, "one", "require")?;
    let mut session = farm.server.session().await?;
    let asked = json!({"get-signed": {"method": report.method, "taskhash": report.taskhash}});
    let told = session.ask(asked).await?;
    let verify = |row: &Value, word: &str| -> Result<()> {
        fs::write(farm.farm.path("rows"), row.to_string())?;
        let output = Command::new("python3")
            .args([
                "-m",
                "fingerpost_signatures",
                "verify",
                "--ring",
                "readers.toml",
                "--rows",
                "rows",
            ])
            .current_dir(farm.farm.directory())
            .env(
                "PYTHONPATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/python"),
            )
            .output()?;
        let out = String::from_utf8(output.stdout)?;
        ensure!(
            out.trim_end() == word,
            "{out} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    verify(&told, "hit verified")?;
    let mut other = told;
    other["unihash"] = Report::new(9, 9).unihash.into();
    verify(&other, "miss mismatch")
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_rows_are_signed_resigned_and_counted_before_a_revocation() -> Result<()> {
    let farm = Farm::open().await?;
    let file = farm.server.options().database_path().display().to_string();
    sign_and_revoke(&farm, &file, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_postgresql_are_signed_resigned_and_counted_before_a_revocation() -> Result<()> {
    let cluster = PostgresCluster::start()?;
    let url = cluster.fresh_database()?;
    let farm = Farm::open_on(Some(&url)).await?;
    sign_and_revoke(&farm, &url, Some(&cluster)).await
}

/// What operators do with the rows that a database has, beside its server.
async fn sign_and_revoke(
    farm: &Farm,
    database: &str,
    cluster: Option<&PostgresCluster>,
) -> Result<()> {
    let mut session = farm.server.session().await?;
    for number in 1..=3 {
        session.report(&Report::new(number, number)).await?;
    }
    let key = |words: &[&str]| farm.run(&[&["key"], words, &["--database", database]].concat());
    let report = Report::new(1, 1);
    farm.check(&report, "require", ("unsigned", false))?;
    let existing = ["sign-existing", "--ring", "one.toml"];
    let told = key(&[&existing[..], &["--after", "default:2"]].concat())?;
    ensure!(told.out.starts_with("Signed 1 rows with "), "{}", told.out);
    let told = key(&existing)?;
    ensure!(told.out.starts_with("Signed 2 rows with "), "{}", told.out);
    farm.check(&report, "require", ("verified", true))?;
    ensure!(key(&existing)?.out.starts_with("Signed 0 rows"));
    let first = [&["key"], &existing[..], &["--database", database]].concat();
    for wrong in [["--namespace", "no"], ["--after", "no:1"], ["--after", "1"]] {
        let (code, told) = farm.output(&[&first[..], &wrong].concat())?;
        ensure!([2, 64].contains(&code), "{wrong:?}: {code} {}", told.err);
    }

    farm.run(&["key", "new", "--ring", "one.toml", "--name", "next"])?;
    let resign = [
        "resign", "--ring", "one.toml", "--from", "one", "--to", "next",
    ];
    ensure!(key(&resign)?.out.starts_with("Signed 3 rows"));
    match cluster {
        None => farm.change("DELETE FROM signature WHERE id = (SELECT max(id) FROM signature)")?,
        Some(cluster) => {
            let (_, name) = database.rsplit_once('/').context("no name")?;
            cluster.sql(
                name,
                "DELETE FROM signature WHERE output = 3 AND number = 2",
            )?;
        }
    }
    let told = key(&["revoke", "--yes", "--ring", "one.toml", "one"])?;
    ensure!(
        told.err
            .contains("3 rows are signed by this key, 1 of them by no other"),
        "{}",
        told.err
    );
    ensure!(!told.err.contains('@'), "{}", told.err);
    let public = [
        "key",
        "export-public",
        "--ring",
        "one.toml",
        "--output",
        "readers.toml",
    ];
    farm.run(&public)?;
    ensure!(
        fs::metadata(farm.farm.path("readers.toml"))?
            .permissions()
            .mode()
            & 0o777
            == 0o644
    );
    farm.check(&report, "require", ("verified", true))?;
    farm.check(&Report::new(3, 3), "require", ("revoked", false))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_fallback_is_verified_as_what_it_is_and_only_where_it_is_expected() -> Result<()>
{
    let farm = Farm::open().await?;
    let (a, b) = (Report::new(1, 1), Report::new(2, 1));
    farm.report(&a, "two", "off")?;
    let release = format!("ws://{}/ns/release", farm.server.host_and_port());
    let first = [
        "client",
        "--address",
        &release,
        "--json",
        "--policy",
        "require",
    ];
    let first = [&first[..], &["--ring", "readers.toml"]].concat();
    let (own, both) = (
        ["--namespace", "release"],
        ["--namespace", "release", "--namespace", "default"],
    );
    let get = |namespaces: &[&str], report: &Report| -> Result<Value> {
        let words = ["get", &report.method, &report.taskhash];
        let told = farm.run(&[&first, namespaces, &words].concat())?;
        Ok(serde_json::from_str(&told.out)?)
    };
    let told = get(&both, &a)?;
    ensure!(
        told["row"]["namespace"] == "default" && told["counts"]["verified"] == 1,
        "{told}"
    );
    let told = get(&own, &a)?;
    ensure!(
        told == json!({"row": null, "counts": {"other_row": 1}}),
        "{told}"
    );
    // Of the same output, in the namespace that falls back.
    let report = ["report", &b.method, &b.taskhash, &b.outhash, &b.unihash];
    let signer = ["--sign-with", "one.toml"];
    let told = farm
        .run(&[&first[..], &both, &signer, &report].concat())?
        .out;
    let lines: Vec<Value> = told
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(lines[0]["unihash"] == a.unihash.as_str(), "{told}");
    let counts = json!({"counts": {"signature_stored": 1, "verified": 1}});
    ensure!(lines[1] == counts, "{told}");
    let told = get(&own, &b)?;
    ensure!(
        told["row"]["namespace"] == "release" && told["counts"]["verified"] == 1,
        "{told}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_reported_by_lines_and_an_output_is_verified_too() -> Result<()> {
    let farm = Farm::open().await?;
    let reports: Vec<_> = (1..=20).map(|task| Report::new(task, task)).collect();
    let lines = reports.iter().map(|report| {
        let Report {
            method,
            taskhash,
            outhash,
            unihash,
            ..
        } = report;
        format!("{method} {taskhash} {outhash} {unihash}\n")
    });
    fs::write(farm.farm.path("lines"), lines.collect::<String>())?;
    let output = Command::new(env!("CARGO_BIN_EXE_fingerpost"))
        .args([
            "client",
            "--address",
            farm.server.address(),
            "--sign-with",
            "one.toml",
            "report",
        ])
        .current_dir(farm.farm.directory())
        .stdin(fs::File::open(farm.farm.path("lines"))?)
        .output()?;
    let unihashes: String = reports
        .iter()
        .map(|report| format!("{}\n", report.unihash))
        .collect();
    ensure!(String::from_utf8(output.stdout)? == unihashes);
    ensure!(String::from_utf8(output.stderr)? == "own 20, signature_stored 20\n");
    let last = &reports[19];
    let words = [
        "--policy",
        "require",
        "--ring",
        "readers.toml",
        "get-outhash",
        &last.method,
        &last.outhash,
        &last.taskhash,
    ];
    let told: Value = serde_json::from_str(&farm.client(&words)?.out)?;
    ensure!(told["unihash"] == last.unihash.as_str(), "{told}");
    Ok(())
}
