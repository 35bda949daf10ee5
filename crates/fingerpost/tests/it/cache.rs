//! `fingerpost cache` beside servers that run and that do not.

use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fingerpost_content::{Disk, Valkey, ValkeyConfig};
use fingerpost_core::{Cacher, Clock as _, EntryName, SystemClock, Timestamp};
use fingerpost_testkit::RedisServer;
use tempfile::TempDir;

use crate::world::farm;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fingerpost");
const DAY_MICROS: i64 = 86_400_000_000;

/// A directory with a store on disk, and maybe a Valkey.
struct World {
    root: TempDir,
    disk: Disk,
    valkey: Option<(RedisServer, Valkey)>,
}

struct Outcome {
    code: i32,
    out: Vec<u8>,
    err: String,
}

impl Outcome {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.out);
        text.lines().map(str::to_owned).collect()
    }
}

impl World {
    fn new() -> Result<Self> {
        let root = tempfile::tempdir()?;
        let disk = Disk::open(&root.path().join("disk"), 1 << 30, Arc::new(SystemClock))?;
        Ok(Self {
            root,
            disk,
            valkey: None,
        })
    }

    fn with_valkey() -> Result<Self> {
        let server = RedisServer::start()?;
        let valkey = Valkey::new(ValkeyConfig {
            url: server.url(),
            ..ValkeyConfig::default()
        });
        Ok(Self {
            valkey: Some((server, valkey.map_err(anyhow::Error::msg)?)),
            ..Self::new()?
        })
    }

    async fn put(&self, digits: &str, bytes: &'static [u8]) -> Result<()> {
        let content = Arc::new(bytes::Bytes::from_static(bytes));
        Ok(self.disk.store(&name(digits), content).await?)
    }

    fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(self.root.path())
            .env_clear()
            .env("FINGERPOST_CACHE__DISK_DIRECTORY", "disk")
            .stdin(Stdio::null())
            .arg("cache")
            .args(arguments);
        if let Some((server, _)) = &self.valkey {
            command
                .env("FINGERPOST_CACHE__VALKEY_URL", server.url())
                .env("FINGERPOST_CACHE__SECRET", "a secret of this test");
        }
        let output = command.output().context("cannot run the program")?;
        Ok(Outcome {
            code: output.status.code().context("killed by a signal")?,
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// The name that begins with these digits and goes on with zeros.
fn name(digits: &str) -> EntryName {
    EntryName::from_hex(&format!("{digits:0<64}")).expect("hex digits")
}

#[tokio::test]
async fn what_is_on_disk_is_listed_in_pages() -> Result<()> {
    let world = World::new()?;
    for digits in ["aaaaaaaa", "bbbbbbbb", "cccccccc"] {
        world.put(digits, b"an answer").await?;
    }
    let until = Timestamp(fingerpost_core::Clock::now(&SystemClock).0 + DAY_MICROS);
    world.disk.pin(&name("bbbbbbbb"), until).await?;
    let all = world.run(&["ls"])?;
    let lines = all.lines();
    ensure!(all.code == 0 && lines.len() == 3, "{}", all.err);
    ensure!(lines[0].starts_with(&name("aaaaaaaa").to_hex()));
    ensure!(lines[0].contains(" used 2") && lines[0].ends_with('Z'));
    ensure!(lines[1].contains(" pinned until 2"), "{}", lines[1]);
    ensure!(all.err.starts_with("3 entries, "), "{}", all.err);
    let after = name("aaaaaaaa").to_hex();
    let page = world.run(&["ls", "--json", "--max", "1", "--after", &after])?;
    let [line] = &page.lines()[..] else {
        anyhow::bail!("{} lines", page.lines().len());
    };
    let line: serde_json::Value = serde_json::from_str(line)?;
    ensure!(line["name"] == name("bbbbbbbb").to_hex());
    ensure!(line["file_bytes"].is_u64() && line["pinned_until"].is_string());
    Ok(())
}

#[tokio::test]
async fn an_answer_is_shown_and_written() -> Result<()> {
    let world = World::with_valkey()?;
    world.put("aaaaaaaa1", b"an answer").await?;
    world.put("aaaaaaaa2", b"another").await?;
    let (_, valkey) = world.valkey.as_ref().context("there is one")?;
    let only_there = bytes::Bytes::from_static(b"in Valkey");
    valkey.store(&name("bb"), Arc::new(only_there)).await?;
    let check = |arguments: &[&str], code: i32, expected: &str| {
        let got = world.run(&[&["show"], arguments].concat())?;
        let text = String::from_utf8_lossy(&got.out) + got.err.as_str();
        ensure!(got.code == code, "{arguments:?}: {} {text}", got.code);
        ensure!(text.contains(expected), "{arguments:?}: {text}");
        Ok(())
    };
    check(&["aaaaaaaa1"], 0, "disk    9 bytes, whole, used 2")?;
    check(&["aaaaaaaa1"], 0, "valkey  not there")?;
    check(&["aaaaaaaa2", "--bytes"], 0, "another")?;
    check(&["aaaaaaaa"], 64, "several entries begin so")?;
    check(&["aaaaaaaa3"], 1, "no entry on disk begins so")?;
    check(&["aaaaaaa"], 64, "8 to 64")?;
    let in_valkey = name("bb").to_hex();
    check(&[&in_valkey], 0, "valkey  9 bytes, whole")?;
    check(&[&in_valkey, "--bytes"], 0, "in Valkey")?;
    let nowhere = name("cc").to_hex();
    check(&[&nowhere], 1, "disk    not there")?;
    check(&[&nowhere, "--bytes"], 1, "it is nowhere")?;
    // A damaged one is told and gone.
    let hex = name("aaaaaaaa1").to_hex();
    let file = world.root.path().join("disk/aa").join(&hex);
    let mut damaged = std::fs::read(&file)?;
    *damaged.last_mut().context("it is not empty")? ^= 1;
    std::fs::write(&file, damaged)?;
    check(&[&hex], 1, "disk    damaged: ")?;
    check(&[&hex], 1, "disk    not there")?;
    Ok(())
}

#[tokio::test]
async fn answers_are_dropped_from_everywhere() -> Result<()> {
    let world = World::with_valkey()?;
    let (_, valkey) = world.valkey.as_ref().context("there is one")?;
    for digits in ["aaaaaaaa", "bbbbbbbb", "cccccccc"] {
        world.put(digits, b"an answer").await?;
        let same = bytes::Bytes::from_static(b"an answer");
        valkey.store(&name(digits), Arc::new(same)).await?;
    }
    // One that is mistyped keeps the others.
    let mistyped = world.run(&["drop", "aaaaaaaa", "dddddddd"])?;
    ensure!(mistyped.code == 1 && mistyped.out.is_empty());
    let one = world.run(&["drop", "aaaaaaaa"])?;
    let expected = format!(
        "{}: dropped from disk and valkey",
        name("aaaaaaaa").to_hex()
    );
    ensure!(one.code == 0 && one.lines() == [expected], "{}", one.err);
    ensure!(one.err.contains("in their memory"), "{}", one.err);
    let again = world.run(&["drop", &name("aaaaaaaa").to_hex()])?;
    ensure!(again.code == 1 && again.err.contains("not there"));
    for wrong in [&["drop"][..], &["drop", "--all", "aaaaaaaa"]] {
        ensure!(world.run(wrong)?.code == 64, "{wrong:?}");
    }
    // Nobody is there to ask.
    let unsure = world.run(&["drop", "--all"])?;
    ensure!(unsure.code == 64 && unsure.err.contains("--yes"));
    let all = world.run(&["drop", "--all", "--yes"])?;
    ensure!(all.code == 0, "{}", all.err);
    let lines = all.lines();
    ensure!(lines[0].starts_with("disk: dropped 2 entries"), "{lines:?}");
    ensure!(lines[1] == "valkey: dropped 2 entries", "{lines:?}");
    ensure!(world.disk.list(None, 10).await?.is_empty());
    ensure!(valkey.look_up(&name("bbbbbbbb")).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn stores_that_are_not_there_are_named() -> Result<()> {
    let mut world = World::with_valkey()?;
    world.put("aaaaaaaa", b"an answer").await?;
    if let Some((server, _)) = &mut world.valkey {
        server.kill()?;
    }
    let shown = world.run(&["show", "aaaaaaaa"])?;
    let lines = shown.lines();
    ensure!(shown.code == 0, "{}", shown.err);
    ensure!(lines[2].starts_with("valkey  does not answer"), "{lines:?}");
    let nowhere = world.run(&["show", &name("bb").to_hex()])?;
    ensure!(nowhere.code == 69, "it may be in Valkey");
    let dropped = world.run(&["drop", "aaaaaaaa"])?;
    ensure!(dropped.code == 69 && dropped.err.contains("valkey: "));
    ensure!(dropped.lines()[0].ends_with("dropped from disk"));
    std::fs::rename(
        world.root.path().join("disk"),
        world.root.path().join("moved"),
    )?;
    let listed = world.run(&["ls"])?;
    ensure!(listed.code == 74 && listed.err.contains("no server ever used it"));
    ensure!(!world.root.path().join("disk").exists(), "none is made");
    Ok(())
}

#[tokio::test]
async fn a_running_server_shows_its_counts() -> Result<()> {
    let farm = farm();
    std::fs::create_dir(farm.path("repositories"))?;
    let config = farm.path("fingerpost.toml");
    let served = farm.path("repositories").display().to_string();
    std::fs::write(&config, format!("[hg.collections]\n\"hg\" = {served:?}\n"))?;
    let server = farm
        .server()
        .argument("--config")
        .argument(&config)
        .argument("--set")
        .argument("metrics.bind=")
        .start()
        .await?;
    let world = World::new()?;
    let table = world.run(&["stats", server.address()])?;
    let text = table.lines().join("\n");
    ensure!(table.code == 0, "{}", table.err);
    ensure!(text.contains("stores by tier\n"), "{text}");
    ensure!(text.contains("memory"), "{text}");
    let json = world.run(&["stats", "--json", server.address()])?;
    let mut found = false;
    for line in json.lines() {
        let line: serde_json::Value = serde_json::from_str(&line)?;
        found |= line["name"] == "fingerpost_cache_suspended"
            && line["labels"]["tier"] == "memory"
            && line["value"] == 0;
    }
    ensure!(found, "{}", String::from_utf8_lossy(&json.out));
    let address = server.address().to_owned();
    server.stop().await?;
    let gone = world.run(&["stats", &address])?;
    ensure!(gone.code == 69 && gone.err.contains("does not answer"));
    Ok(())
}

#[tokio::test]
async fn what_clients_are_redirected_to_stays_unless_it_is_meant() -> Result<()> {
    let world = World::new()?;
    for digits in ["aaaaaaaa", "bbbbbbbb"] {
        world.put(digits, b"an answer").await?;
    }
    let tomorrow = Timestamp(SystemClock.now().0 + DAY_MICROS);
    ensure!(world.disk.pin(&name("aaaaaaaa"), tomorrow).await?);
    let one = world.run(&["drop", "aaaaaaaa"])?;
    ensure!(one.err.contains("kept in disk"), "{}", one.err);
    let all = world.run(&["drop", "--all", "--yes"])?;
    ensure!(all.code == 0 && all.err.contains("kept 1"), "{}", all.err);
    ensure!(world.disk.look_up(&name("aaaaaaaa")).await?.is_some());
    ensure!(world.disk.look_up(&name("bbbbbbbb")).await?.is_none());
    let meant = world.run(&["drop", "--also-redirected", "aaaaaaaa"])?;
    ensure!(meant.code == 0, "{}", meant.err);
    ensure!(world.disk.look_up(&name("aaaaaaaa")).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn looking_makes_no_directories() -> Result<()> {
    let world = World::new()?;
    world.put("aaaaaaaa", b"an answer").await?;
    let files = world.root.path().join("files");
    let url = format!("file://{}", files.display());
    let config = format!(
        "[cache]\nsecret = 'a secret of this test'\n[cache.objects.files]\nurl = '{url}'\n"
    );
    std::fs::write(world.root.path().join("keys.toml"), config)?;
    let run = |arguments: &[&str]| world.run(&[arguments, &["--config", "keys.toml"]].concat());
    for arguments in [
        &["ls"][..],
        &["show", "aaaaaaaa"],
        &["drop", "aaaaaaaa"],
        &["drop", "--all", "--yes"],
    ] {
        let got = run(arguments)?;
        let expected = format!("cache.objects.files.url {url}: no server ever used it");
        ensure!(got.code == 74, "{arguments:?}: {}", got.code);
        ensure!(got.err.contains(&expected), "{arguments:?}: {}", got.err);
        ensure!(!files.exists(), "{arguments:?} made it");
    }
    // A server that uses one part of it makes no other.
    std::fs::create_dir_all(files.join("answers"))?;
    let shown = run(&["show", "aaaaaaaa"])?;
    ensure!(shown.code == 0, "{}", shown.err);
    let lines = shown.lines();
    ensure!(
        lines.iter().any(|line| line.starts_with("files/answers")),
        "{lines:?}"
    );
    ensure!(!files.join("tier").exists());
    Ok(())
}
