//! The second implementation, `clients/python/fingerpost_snapshot.py`, against
//! the test vectors.

use std::process::Command;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/python");

#[test]
fn the_python_module_agrees_with_the_vectors() {
    let output = Command::new("python3")
        .args(["-B", "-m", "unittest", "test_fingerpost_snapshot"])
        .current_dir(DIRECTORY)
        .output()
        .expect("python3 is installed by `make test`");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    // It says so also when it has found nothing to run.
    assert!(!told.contains("Ran 0 tests"), "{told}");
}
