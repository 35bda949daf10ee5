use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::testing::{Ground, LATER, found, is_root, site, stranger};
use super::super::{Decision, Operation, OwnRules};
use super::*;

fn open(config: SiteConfig) -> Catalogue {
    Catalogue::open(config, LATER).unwrap()
}

fn bad(config: SiteConfig) -> String {
    Catalogue::open(config, LATER).unwrap_err().to_string()
}

fn entry(catalogue: &Catalogue, path: &str) -> Arc<RepositoryEntry> {
    entry_at(catalogue, path, LATER)
}

fn entry_at(catalogue: &Catalogue, path: &str, now: Timestamp) -> Arc<RepositoryEntry> {
    match catalogue.find(path, now) {
        Found::Repository { repository, .. } => repository,
        other => panic!("{path}: {other:?}"),
    }
}

fn listed(catalogue: &Catalogue) -> String {
    let listing = catalogue.list(LATER);
    let shown = listing
        .repositories
        .into_iter()
        .map(|listed| match listed.state {
            Ok(entry) => entry.id().to_string(),
            Err(refusal) => format!("!{}", refusal.id()),
        });
    shown.collect::<Vec<_>>().join(" ")
}

fn named(ground: &Ground, names: &[(&str, &str)]) -> SiteConfig {
    let mut config = site();
    for (name, below) in names {
        config
            .repositories
            .insert((*name).to_owned(), ground.path(below));
    }
    config
}

#[test]
fn the_longest_name_wins_and_the_rest_follows() {
    let ground = Ground::new();
    for name in ["a", "b", "c"] {
        ground.repository(name);
    }
    let catalogue = open(named(&ground, &[("x", "a"), ("x/y", "b"), ("/z/", "c")]));
    for (path, expected) in [
        ("/x", "x+"),
        ("/x/", "x+/"),
        ("/x/api/exp", "x+/api/exp"),
        ("/x/y/api", "x/y+/api"),
        ("/x/yy", "x+/yy"),
        ("/z", "z+"),
        ("/", "-"),
        ("", "-"),
        ("x", "-"),
        ("/xx", "-"),
        ("/x/../z", "-"),
        ("/./x", "-"),
        ("/x/\0", "-"),
        ("//x", "-"),
    ] {
        assert_eq!(found(&catalogue, path), expected, "{path}");
    }
    assert_eq!(listed(&catalogue), "x x/y z");
}

#[test]
fn a_repository_at_the_root_takes_every_path_that_nothing_else_takes() {
    let ground = Ground::new();
    ground.repository("a");
    ground.repository("b");
    let catalogue = open(named(&ground, &[("", "a"), ("b", "b")]));
    assert_eq!(found(&catalogue, ""), "/+");
    assert_eq!(found(&catalogue, "/api/x"), "/+/api/x");
    assert_eq!(found(&catalogue, "/b/api"), "b+/api");
    assert_eq!(entry(&catalogue, "/").url_path(), "");
}

#[test]
fn a_prefix_is_part_of_every_path() {
    let ground = Ground::new();
    let root = ground.repository("a");
    let mut config = named(&ground, &[("x", "a")]);
    config.prefix = "hg/".to_owned();
    let catalogue = open(config);
    assert_eq!(found(&catalogue, "/hg/x/api"), "x+/api");
    for path in ["/x", "/hg", "/hgx", "/hg/", "/hgg/x"] {
        assert_eq!(found(&catalogue, path), "-", "{path}");
    }
    let entry = entry(&catalogue, "/hg/x");
    assert_eq!((entry.url_path(), entry.root()), ("/hg/x", root.as_path()));
    assert_eq!(entry.dot_hg(), root.join(".hg"));
    assert_eq!(catalogue.prefix(LATER), "/hg");
}

#[test]
fn a_named_repository_that_is_not_there_is_refused_by_name() {
    let ground = Ground::new();
    ground.write("file", "");
    let catalogue = open(named(&ground, &[("x", "nowhere"), ("y", "file")]));
    assert!(found(&catalogue, "/x/api").starts_with("!x: there is no directory "));
    assert!(found(&catalogue, "/y").starts_with("!y: "));
    let Found::Refused(refusal) = catalogue.find("/x", LATER) else {
        panic!("it is refused");
    };
    let public = refusal.public();
    assert!(
        public.contains(" x ") && !public.contains("nowhere"),
        "{public}"
    );
}

#[test]
fn new_and_removed_repositories_of_a_collection_count_at_once() {
    let ground = Ground::new();
    ground.repository("c/a");
    let catalogue = open(ground.collection("c"));
    assert_eq!(found(&catalogue, "/d/b/api"), "-");
    ground.repository("c/d/b");
    assert_eq!(found(&catalogue, "/d/b/api"), "d/b+/api");
    assert_eq!(listed(&catalogue), "a d/b");
    fs::remove_dir_all(ground.path("c/d/b/.hg")).unwrap();
    assert_eq!(found(&catalogue, "/d/b/api"), "-");
}

#[test]
fn settings_are_read_again_when_a_file_changes() {
    let ground = Ground::new();
    ground.repository("c/a");
    let catalogue = open(ground.collection("c"));
    let first = entry(&catalogue, "/a");
    assert!(Arc::ptr_eq(&first, &entry(&catalogue, "/a")));
    ground.write("c/a/.hg/hgrc", "[phases]\npublish = no\n");
    let second = entry(&catalogue, "/a");
    assert!(first.settings().publishing && !second.settings().publishing);
    ground.write("c/a/.hg/hgrc-not-shared", "%include extra\n");
    assert!(found(&catalogue, "/a").starts_with("!a: "));
    ground.write("c/a/.hg/extra", "[web]\nhidden = yes\n");
    let third = entry(&catalogue, "/a");
    assert!(third.settings().hidden && !third.settings().publishing);
    ground.write("c/a/.hg/extra", "[web]\nhidden = no \n");
    assert!(!entry(&catalogue, "/a").settings().hidden);
    fs::remove_file(ground.path("c/a/.hg/hgrc-not-shared")).unwrap();
    fs::remove_file(ground.path("c/a/.hg/hgrc")).unwrap();
    assert_eq!(*entry(&catalogue, "/a"), *first);
}

#[test]
fn a_file_that_changed_just_now_is_read_every_time_and_the_entry_stays() {
    let ground = Ground::new();
    ground.repository("c/a");
    ground.write("c/a/.hg/hgrc", "[web]\nname = one\n");
    let catalogue = open(ground.collection("c"));
    let long_ago = Timestamp(0);
    let first = entry_at(&catalogue, "/a", long_ago);
    assert!(Arc::ptr_eq(&first, &entry_at(&catalogue, "/a", long_ago)));
    ground.write("c/a/.hg/hgrc", "[web]\nname = two\n");
    let second = entry_at(&catalogue, "/a", long_ago);
    assert_eq!(second.settings().name.as_deref(), Some("two"));
}

#[test]
fn another_repository_in_the_same_place_is_another_entry() {
    let ground = Ground::new();
    ground.repository("c/a");
    let catalogue = open(ground.collection("c"));
    let first = entry(&catalogue, "/a");
    ground.repository("other");
    fs::rename(ground.path("c/a"), ground.path("old")).unwrap();
    fs::rename(ground.path("other"), ground.path("c/a")).unwrap();
    let second = entry(&catalogue, "/a");
    assert_ne!(first.identity(), second.identity());
    assert_eq!(first.id(), second.id());
}

#[test]
fn one_directory_under_two_sources_is_one_repository_and_two_are_none() {
    let ground = Ground::new();
    ground.repository("c/a");
    ground.repository("d/a");
    let mut config = ground.collection("c");
    config
        .repositories
        .insert("a".to_owned(), ground.path("c/a"));
    assert_eq!(found(&open(config.clone()), "/a"), "a+");
    config
        .repositories
        .insert("a".to_owned(), ground.path("d/a"));
    let catalogue = open(config);
    assert!(found(&catalogue, "/a").starts_with("!a: two repositories have this name: "));
    assert_eq!(listed(&catalogue), "!a");
}

#[test]
fn a_name_given_twice_is_a_wrong_configuration() {
    let ground = Ground::new();
    let twice = bad(named(&ground, &[("x", "a"), ("/x", "b")]));
    assert_eq!(
        twice,
        "hg.repositories.x: a repository of this name, \"x\", is named by hg.repositories./x already"
    );
    for name in ["a//b", "a/../b", "a\0"] {
        assert!(
            bad(named(&ground, &[(name, "a")])).starts_with("hg.repositories."),
            "{name:?}"
        );
    }
}

#[test]
fn our_own_rules_apply_by_name_and_also_behind_links() {
    let ground = Ground::new();
    for name in ["secret", "open", "half"] {
        ground.repository(&format!("c/{name}"));
    }
    ground.link("c/alias", "secret");
    let mut config = ground.collection("c");
    let rules = |read: &str, write: Option<&str>| OwnRules {
        read: Some(vec![read.to_owned()]),
        write: write.map(|write| vec![write.to_owned()]),
    };
    config
        .rules
        .insert("secret".to_owned(), rules("alice", None));
    config
        .rules
        .insert("*".to_owned(), rules("*", Some("carol")));
    config.rules.insert(
        "half".to_owned(),
        OwnRules {
            read: None,
            write: Some(vec![]),
        },
    );
    let catalogue = open(config.clone());
    let may = |path: &str, user, operation| {
        entry(&catalogue, path)
            .settings()
            .access
            .decide(Some(user), operation)
            == Decision::Allowed
    };
    for path in ["/secret", "/alias"] {
        assert!(
            may(path, "alice", Operation::Read) && !may(path, "bob", Operation::Read),
            "{path}"
        );
    }
    assert!(may("/open", "bob", Operation::Read) && may("/open", "carol", Operation::Push));
    assert!(may("/half", "bob", Operation::Read) && !may("/half", "carol", Operation::Push));
    config.collections.clear();
    assert_eq!(
        bad(config),
        "hg.rules.half is for a repository that nothing names"
    );
}

#[test]
fn untrusted_hgrc_narrows_only() {
    let ground = Ground::new();
    ground.repository("c/a");
    let hgrc = ground.write(
        "c/a/.hg/hgrc",
        "[web]\nallow-push = *\ndeny_read = eve\nhidden = yes\n",
    );
    ground.untrust(&hgrc);
    let mut config = ground.collection("c");
    config.trust = stranger();
    let entry = entry(&open(config), "/a");
    let access = &entry.settings().access;
    assert_eq!(
        access.decide(Some("bob"), Operation::Push),
        Decision::Denied(Operation::Push)
    );
    assert_eq!(
        access.decide(Some("eve"), Operation::Read),
        Decision::Denied(Operation::Read)
    );
    assert!(entry.settings().hidden && entry.settings().notes.len() == 2);
}

#[test]
fn users_named_by_the_site_are_trusted() {
    let ground = Ground::new();
    ground.repository("c/a");
    let hgrc = ground.write("c/a/.hg/hgrc", "[web]\nallow-push = *\n");
    ground.untrust(&hgrc);
    let pushes = |config: SiteConfig| {
        let access = entry(&open(config), "/a").settings().access.clone();
        access.decide(Some("bob"), Operation::Push) == Decision::Allowed
    };
    let mut config = ground.collection("c");
    config.trust = stranger();
    assert!(!pushes(config.clone()));
    let uid = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&hgrc).unwrap());
    let mut by_key = config.clone();
    by_key.trusted_users = vec![uid.to_string()];
    assert!(pushes(by_key));
    let mut by_file = config.clone();
    let text = format!("[trusted]\nusers = nobody-of-this-name, {uid}\n");
    by_file.hgweb_config = Some(ground.write("hgweb.conf", &text));
    assert!(pushes(by_file.clone()));
    assert!(open(by_file).list(LATER).problems[0].contains("nobody-of-this-name"));
    config.trusted_groups = vec!["no such group".to_owned()];
    assert!(bad(config).starts_with("hg.trusted_groups: no such group is neither"));
}

#[test]
fn a_file_that_cannot_be_read_refuses_the_repository() {
    let ground = Ground::new();
    ground.repository("c/a");
    fs::create_dir(ground.path("c/a/.hg/hgrc")).unwrap();
    let catalogue = open(ground.collection("c"));
    assert!(found(&catalogue, "/a").ends_with("is no regular file"));
    fs::remove_dir(ground.path("c/a/.hg/hgrc")).unwrap();
    let hgrc = ground.write("c/a/.hg/hgrc", "");
    fs::set_permissions(&hgrc, fs::Permissions::from_mode(0o0)).unwrap();
    if is_root() {
        // Root reads it all the same; what is in it has to be right.
        assert_eq!(found(&catalogue, "/a"), "a+");
        ground.write("c/a/.hg/hgrc", "allow_read\n");
        assert!(found(&catalogue, "/a").contains("line 1: neither key nor heading"));
    } else {
        assert!(found(&catalogue, "/a").contains("cannot be read"));
    }
}

#[test]
fn what_could_not_be_read_is_read_again() {
    let ground = Ground::new();
    ground.repository("c/a");
    let mut config = ground.collection("c");
    let site = ground.write("site.rc", "");
    config.hgrc = vec![site.clone()];
    let catalogue = open(config);
    for (path, why) in [(ground.path("c/a/.hg/hgrc"), "!a: "), (site, "!!")] {
        // A link to itself can be opened by nobody, not even by root.
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let told = found(&catalogue, "/a");
        assert!(
            told.starts_with(why) && told.contains("cannot be read"),
            "{told}"
        );
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(found(&catalogue, "/a"), "a+");
    }
}

mod hgweb;
mod shares;
