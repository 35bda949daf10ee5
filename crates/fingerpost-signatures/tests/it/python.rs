//! The second implementation, `clients/python/fingerpost_signatures.py`, against
//! the same vectors.

#[test]
fn the_python_module_agrees_with_the_vectors() {
    fingerpost_testkit::run_python_tests("test_fingerpost_signatures").unwrap();
}
