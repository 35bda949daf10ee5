//! Shares: where their stores are, and whose rules hold.

use super::*;

#[test]
fn a_share_is_served_once_its_source_is_there() {
    let ground = Ground::new();
    ground.write("c/a/.hg/requires", "shared\n");
    let source = ground.path("source/.hg");
    ground.write("c/a/.hg/sharedpath", source.to_str().unwrap());
    let catalogue = open(ground.collection("c"));
    assert!(found(&catalogue, "/a").contains("there is no directory"));
    ground.repository("source");
    assert_eq!(found(&catalogue, "/a"), "a+");
}

#[test]
fn only_share_safe_shares_take_their_sources_rules() {
    let ground = Ground::new();
    ground.repository("c/source");
    ground.write(
        "c/source/.hg/hgrc",
        "[web]\ndeny_read = eve\nallow_read = alice\n",
    );
    ground.write("c/source/.hg/hgrc-not-shared", "[web]\nname = source\n");
    for (name, requires, path) in [
        (
            "safe",
            "share-safe\nshared\n",
            ground.path("c/source/.hg").display().to_string(),
        ),
        (
            "plain",
            "shared\n",
            format!("{}\n", ground.path("c/source/.hg").display()),
        ),
        (
            "relative",
            "share-safe\nrelshared\n",
            "../../source/.hg".to_owned(),
        ),
    ] {
        ground.write(&format!("c/{name}/.hg/requires"), requires);
        ground.write(&format!("c/{name}/.hg/sharedpath"), &path);
        ground.write(&format!("c/{name}/.hg/hgrc"), "[web]\nallow_read = bob\n");
    }
    let catalogue = open(ground.collection("c"));
    let reads = |name: &str, user| {
        let entry = entry(&catalogue, name);
        assert_eq!(entry.store_dot_hg(), ground.path("c/source/.hg"));
        assert_eq!(entry.settings().name, None);
        entry.settings().access.decide(Some(user), Operation::Read) == Decision::Allowed
    };
    for name in ["/safe", "/relative"] {
        assert!(
            reads(name, "bob") && !reads(name, "alice") && !reads(name, "eve"),
            "{name}"
        );
    }
    ground.write("c/plain/.hg/hgrc", "");
    assert!(reads("/plain", "eve"));
    let notes = |name| entry(&catalogue, name).settings().notes.clone();
    assert!(notes("/plain")[0].sentence.contains("not share-safe"));
    assert!(notes("/safe").is_empty());
    ground.write("c/safe/.hg/hgrc", "");
    assert!(reads("/safe", "alice") && !reads("/safe", "eve"));
    ground.write("c/source/.hg/hgrc", "[web]\nallow_read = carol\n");
    assert!(reads("/safe", "carol") && !reads("/safe", "alice"));
}

#[test]
fn shares_that_lead_nowhere_are_refused() {
    let ground = Ground::new();
    for (path, why) in [
        ("/nonexistent/.hg", "there is no directory"),
        ("", "holds no path"),
        ("relative/.hg", "holds no absolute path"),
        ("/a\0b", "holds no path"),
    ] {
        ground.write("c/a/.hg/requires", "shared\n");
        ground.write("c/a/.hg/sharedpath", path);
        let told = found(&open(ground.collection("c")), "/a");
        assert!(told.starts_with("!a: ") && told.contains(why), "{told}");
    }
}

#[test]
fn untrusted_shares_and_store_links_to_what_belongs_to_others_are_refused() {
    let ground = Ground::new();
    ground.repository("source");
    ground.write("c/a/.hg/requires", "shared\n");
    let text = ground.path("source/.hg").display().to_string();
    let shared = ground.write("c/a/.hg/sharedpath", &text);
    ground.write("c/b/.hg/requires", "");
    let store = ground.link("c/b/.hg/store", ground.path("source/.hg/store"));
    let mut config = ground.collection("c");
    assert_eq!(found(&open(config.clone()), "/a"), "a+");
    assert!(found(&open(config.clone()), "/b").contains("leads out of"));
    ground.untrust(&shared);
    ground.untrust(&store);
    config.trust = stranger();
    let told = found(&open(config.clone()), "/a");
    // Without root the share and its source have one owner, who may do that.
    assert_eq!(told.contains("is not trusted"), is_root(), "{told}");
    config.follow_symlinks = true;
    assert_eq!(found(&open(config.clone()), "/a"), "a+");
    assert_eq!(found(&open(config), "/b"), "b+");
}
