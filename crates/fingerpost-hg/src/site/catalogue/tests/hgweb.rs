//! Sites described by a configuration file of hgweb.

use super::*;

fn hgweb(ground: &Ground, text: &str) -> SiteConfig {
    let text = text.replace(
        "DIR",
        ground.path("").to_str().unwrap().trim_end_matches('/'),
    );
    let mut config = site();
    config.hgweb_config = Some(ground.write("hgweb.conf", &text));
    config
}

#[test]
fn paths_and_collections_are_served_as_hgweb_does() {
    let ground = Ground::new();
    for name in [
        "one",
        "flat/a",
        "flat/a/inner",
        "deep/b",
        "deep/b/inner",
        "more/x/c",
    ] {
        ground.repository(name);
    }
    let catalogue = open(hgweb(
        &ground,
        "[paths]\nproject/one = DIR/one\n/f = DIR/flat/*\nd = DIR/deep/**\n\
         [collections]\nDIR = DIR/more\n",
    ));
    assert_eq!(listed(&catalogue), "d/b d/b/inner f/a more/x/c project/one");
    assert_eq!(found(&catalogue, "/f/a/inner"), "f/a+/inner");
    assert_eq!(found(&catalogue, "/d/b/inner"), "d/b/inner+");
    assert_eq!(found(&catalogue, "/more/x/c/api"), "more/x/c+/api");
    assert_eq!(found(&catalogue, "/project/one"), "project/one+");
}

#[test]
fn its_sections_are_defaults_below_each_hgrc() {
    let ground = Ground::new();
    ground.repository("c/a");
    ground.repository("c/b");
    ground.write(
        "c/b/.hg/hgrc",
        "[phases]\npublish = yes\n[web]\nallow_read = *\n",
    );
    let catalogue = open(hgweb(
        &ground,
        "[paths]\n/ = DIR/c/*\n[web]\nprefix = /hg/\nallow_read = alice\n[phases]\npublish = no\n",
    ));
    let of = |path| entry(&catalogue, path).settings().clone();
    let (a, b) = (of("/hg/a"), of("/hg/b"));
    assert!(!a.publishing && b.publishing);
    let bob = |settings: &crate::site::RepositorySettings| {
        settings.access.decide(Some("bob"), Operation::Read) == Decision::Allowed
    };
    assert!(!bob(&a) && bob(&b));
}

#[test]
fn the_systems_files_come_below_it() {
    let ground = Ground::new();
    ground.repository("c/a");
    let mut config = hgweb(&ground, "[paths]\n/ = DIR/c/*\n[web]\nallow-push = alice\n");
    let system = "[web]\nallow-push = *\ndeny_read = eve\n[paths]\ndefault = relative\n";
    config.hgrc = vec![ground.write("system", system), ground.path("none")];
    let access = entry(&open(config), "/a").settings().access.clone();
    assert_eq!(access.describe(Operation::Push), "alice");
    assert_eq!(access.describe(Operation::Read), "every login but eve");
}

#[test]
fn it_is_read_again_when_it_changes_and_nothing_is_served_while_it_is_wrong() {
    let ground = Ground::new();
    ground.repository("c/a");
    let catalogue = open(hgweb(&ground, "[paths]\nx = DIR/c/a\n"));
    let before = entry(&catalogue, "/x");
    hgweb(&ground, "[paths]\nx = DIR/c/a\ny = DIR/c/*\n");
    assert_eq!(found(&catalogue, "/y/a"), "y/a+");
    assert!(Arc::ptr_eq(&before, &entry(&catalogue, "/x")));
    hgweb(&ground, "[paths]\nx = DIR/c/a\n[web]\nallow_read\n");
    let told = found(&catalogue, "/x");
    assert!(
        told.starts_with("!!") && told.ends_with("line 4: neither key nor heading"),
        "{told}"
    );
    fs::remove_file(ground.path("hgweb.conf")).unwrap();
    assert!(found(&catalogue, "/x").ends_with("hgweb.conf does not exist"));
    hgweb(&ground, "[paths]\nx = DIR/c/a\n[web]\nallow_read = bob\n");
    let after = entry(&catalogue, "/x");
    assert_eq!(after.settings().access.describe(Operation::Read), "bob");
}

#[test]
fn what_is_wrong_in_it_is_named_with_its_line() {
    let ground = Ground::new();
    for (text, why) in [
        ("[paths]\nx = relative/*\n", ":2: x is not an absolute path"),
        ("[paths]\na//b = /srv\n", ":2: a//b has an empty component"),
        ("[paths]\nx = \"/srv\n", ":2: x has quotation"),
        (
            "[collections]\n/srv/hg/team = /srv/hg\n",
            ":2: /srv/hg/team takes off more",
        ),
        ("[paths]\nx = /a, /b\n", "named by"),
        (
            "[paths]\nx = /a\n/x = /b\n",
            "hgweb.conf:3: a repository of this name",
        ),
        (
            "[trusted]\nusers = \"a\n",
            ":2: trusted.users is no plain list",
        ),
        ("[web]\nprefix = a//b\n", "hg.prefix has an empty component"),
        ("%include none\n", ":1: "),
    ] {
        let told = bad(hgweb(&ground, text));
        assert!(told.contains(why), "{text}: {told}");
    }
    let mut missing = site();
    missing.hgweb_config = Some(ground.path("none"));
    assert!(bad(missing).ends_with("none does not exist"));
}
