//! The second implementation in Python, `clients/python`.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/python");

/// Runs a module of tests in `clients/python` and waits for its end. An error if there
/// is no Python, if one of its tests fails, and if it has none.
pub fn run_python_tests(module: &str) -> Result<()> {
    let output = Command::new("python3")
        .args(["-B", "-m", "unittest", module])
        .current_dir(DIRECTORY)
        .output()
        .context("`make test` installs python3")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{told}");
    // It says so also when it has found nothing to run.
    ensure!(!told.contains("Ran 0 tests"), "{told}");
    Ok(())
}
