use std::fs;

use super::directory::{name, own, sweep};

/// Directories of snapshots, of which those in `published` have a signature.
fn put(root: &std::path::Path, namespace: &str, created: &[u64], published: &[u64]) {
    for created in created {
        let path = root.join(name(namespace, *created));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("manifest.json"), "").unwrap();
        if published.contains(created) {
            fs::write(path.join("manifest.sig"), "").unwrap();
        }
    }
}

#[test]
fn old_snapshots_go_and_what_is_not_ours_stays() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put(root, "a", &[1, 2, 3, 4, 5, 6], &[1, 2, 3]);
    put(root, "a-1", &[7], &[]);
    for other in ["mine", ".snapshot-being-written", ".removed-half"] {
        fs::create_dir(root.join(other)).unwrap();
    }
    sweep(root, "a", 2).unwrap();
    let mut left: Vec<_> = own(root, "a").unwrap();
    left.sort_by_key(|one| one.created);
    let left: Vec<_> = left.iter().map(|one| one.created).collect();
    assert_eq!(left, [2, 3, 5, 6]);
    assert_eq!(own(root, "a-1").unwrap().len(), 1);
    assert!(root.join("mine").exists() && root.join(".snapshot-being-written").exists());
    assert!(!root.join(".removed-half").exists());
    assert_eq!(own(&root.join("nowhere"), "a").unwrap(), []);
}
