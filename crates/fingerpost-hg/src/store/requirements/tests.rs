use std::fs;

use super::*;

const USUAL: &str = "dotencode\nfncache\ngeneraldelta\nrevlogv1\nsparserevlog\nstore\n";

/// A directory with the named files in it.
fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn formats_are_what_the_reference_advertises() {
    let dir = repository(&[(".hg/requires", &format!("{USUAL}revlog-compression-zstd\n"))]);
    let requirements = Requirements::read(&dir.path().join(".hg"), None).unwrap();
    assert_eq!(
        requirements.formats(),
        ["generaldelta", "revlogv1", "sparserevlog"]
    );
    assert!(!requirements.is_shared() && !requirements.treemanifest());
}

#[test]
fn an_unknown_requirement_is_refused_by_name() {
    let dir = repository(&[(".hg/requires", &format!("{USUAL}exp-quantum\n"))]);
    let error = Requirements::read(&dir.path().join(".hg"), None).unwrap_err();
    assert!(matches!(&error, RequirementsError::Refused { name, .. } if name == "exp-quantum"));
    assert!(error.to_string().contains("exp-quantum"));
}

#[test]
fn a_narrow_clone_is_refused() {
    let dir = repository(&[(".hg/requires", &format!("{USUAL}narrowhg-experimental\n"))]);
    let error = Requirements::read(&dir.path().join(".hg"), None).unwrap_err();
    assert!(error.to_string().contains("incomplete"));
}

#[test]
fn a_repository_without_requirements_is_too_old() {
    let dir = repository(&[(".hg/branch", "default\n")]);
    let error = Requirements::read(&dir.path().join(".hg"), None).unwrap_err();
    assert!(matches!(
        error,
        RequirementsError::Absent {
            name: "revlogv1",
            ..
        }
    ));
}

#[test]
fn with_share_safe_both_files_count() {
    let dir = repository(&[
        (".hg/requires", "share-safe\ndirstate-v2\n"),
        (".hg/store/requires", USUAL),
    ]);
    let requirements = Requirements::read(&dir.path().join(".hg"), None).unwrap();
    assert!(requirements.contains("dirstate-v2") && requirements.contains("fncache"));
}

#[test]
fn requirements_of_the_store_are_checked_as_well() {
    let dir = repository(&[
        (".hg/requires", "share-safe\n"),
        (".hg/store/requires", &format!("{USUAL}nope\n")),
    ]);
    let error = Requirements::read(&dir.path().join(".hg"), None).unwrap_err();
    assert!(matches!(error, RequirementsError::Refused { file, .. } if file == "store/requires"));
}

#[test]
fn a_relative_share_is_followed() {
    let dir = repository(&[
        ("source/.hg/store/requires", USUAL),
        ("copy/.hg/requires", "share-safe\nrelshared\n"),
        ("copy/.hg/sharedpath", "../../source/.hg\n"),
    ]);
    let requirements = Requirements::read(&dir.path().join("copy/.hg"), None).unwrap();
    assert!(requirements.is_shared() && requirements.contains("store"));
    let source = requirements.source().canonicalize().unwrap();
    assert_eq!(
        source,
        dir.path().join("source/.hg").canonicalize().unwrap()
    );
}

#[test]
fn an_absolute_share_needs_no_newline() {
    let dir = repository(&[("source/.hg/requires", USUAL)]);
    let source = dir.path().join("source/.hg");
    let copy = repository(&[
        (".hg/requires", &format!("{USUAL}shared\n")),
        (".hg/sharedpath", source.to_str().unwrap()),
    ]);
    let requirements = Requirements::read(&copy.path().join(".hg"), None).unwrap();
    assert_eq!(requirements.source(), source);
}

#[test]
fn a_share_of_nothing_is_an_error() {
    let dir = repository(&[
        (".hg/requires", "shared\n"),
        (".hg/sharedpath", "/nowhere/at/all/.hg\n"),
    ]);
    let error = Requirements::read(&dir.path().join(".hg"), None).unwrap_err();
    assert!(matches!(error, RequirementsError::SharedPath { .. }));
}
