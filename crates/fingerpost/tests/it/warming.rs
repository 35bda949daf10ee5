//! `fingerpost cache warm` against `fingerpost hg serve`.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::program::{Serving, address, outcome, program};

/// A server of the recorded repository, and its URL.
fn serve(dir: &TempDir) -> Result<(Serving, String)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let repository = dir.path().join("repository");
    std::fs::create_dir(&repository)?;
    let mut untar = Command::new("tar");
    untar
        .arg("-xf")
        .arg(fixtures.join("hg-v2-examples/sample-dothg.tar"));
    ensure!(untar.arg("-C").arg(&repository).status()?.success());
    std::fs::write(repository.join(".hg/hgrc"), "[phases]\npublish = no\n")?;
    let mut command = program(dir);
    command.args(["hg", "serve", "--bind", "127.0.0.1:0", "--cache-mib", "16"]);
    command.arg(repository);
    let mut serving = Serving::start(command)?;
    let url = address(&serving.line()?)?;
    Ok((serving, url))
}

#[test]
fn every_request_of_a_clone_is_made() -> Result<()> {
    let dir = TempDir::new()?;
    let (_serving, url) = serve(&dir)?;
    let (code, out, err) = outcome(&dir, &["cache", "warm", "--json", &url])?;
    ensure!((code, &err[..]) == (0, ""), "{code}: {err}");
    let summary: serde_json::Value = serde_json::from_str(&out)?;
    ensure!(
        summary["requests"] == 5 && summary["changesets"] == 9,
        "{out}"
    );
    ensure!(summary["bytes"].as_u64() > Some(100_000), "{out}");
    let two = ["--encoding", "zlib", "--encoding", "identity"];
    let (code, out, _) = outcome(&dir, &[&["cache", "warm", &url][..], &two].concat())?;
    ensure!(
        code == 0 && out.contains(": 10 requests for 9 changesets"),
        "{out}"
    );
    Ok(())
}

#[test]
fn one_bad_url_does_not_keep_the_others_from_it() -> Result<()> {
    let dir = TempDir::new()?;
    let (_serving, url) = serve(&dir)?;
    let bad = format!("{url}nothing");
    let (code, out, err) = outcome(&dir, &["cache", "warm", "--redirects", &bad, &url])?;
    ensure!(
        code == 69 && err.starts_with(&format!("{bad}: ")),
        "{code}: {err}"
    );
    ensure!(err.contains("offers no redirects"), "{err}");
    ensure!(out.contains("5 requests"), "{out}");
    Ok(())
}
