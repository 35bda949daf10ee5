use std::sync::Arc;

use fingerpost_hg_proto::Node;

use crate::testing::unpack_fixture;
use crate::tests::world::{Commit, World};
use crate::{LookupError, Phase, Repository, RepositoryOptions, Rev, Revlog, RevlogName, Snapshot};

/// The repository of the recorded examples, with what the recording server was
/// told of it.
fn sample(publishing: bool) -> Arc<Snapshot> {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("sample-dothg", dir.path());
    let options = RepositoryOptions {
        publishing,
        marker_exchange: true,
        ..RepositoryOptions::default()
    };
    let repository = Repository::open(&dir.path().join(".hg"), options).unwrap();
    let snapshot = repository.snapshot().unwrap();
    // What is read later is read while the directory is there.
    snapshot.tags().unwrap();
    snapshot.branch_heads().unwrap();
    snapshot
}

fn in_sample<T>(ask: impl FnOnce(&Snapshot) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("sample-dothg", dir.path());
    let options = RepositoryOptions::default();
    let repository = Repository::open(&dir.path().join(".hg"), options).unwrap();
    ask(&repository.snapshot().unwrap())
}

fn hex(nodes: impl IntoIterator<Item = Node>) -> Vec<String> {
    nodes.into_iter().map(|node| node.to_string()).collect()
}

fn keys(snapshot: &Snapshot, namespace: &str) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let keys = snapshot.listkeys(namespace.as_bytes()).into_iter();
    keys.map(|(key, value)| (text(key), text(value))).collect()
}

const TIP: &str = "c2ec9936abe0458ee66f6867cea8b196b77d5d02";
const OTHER_HEAD: &str = "f01eb1639989329c659f6fae6edb3fdcc799ae06";
const LAST_PUBLIC: &str = "789016c98c456690f89865a0ba73242d79b54280";
const SECRET: &str = "68d98d86415235c69ad32472c07b6cf53aaaf2b5";
const PRUNED: &str = "d38e2bcf174d0d60c56dc7c5add818817cff226f";
const RELEASED: &str = "243f35e561924fd4b75df5c266ffd3c90919c4ac";
const STABLE: &str = "b9a72dd4c1ef65c0591835d12fa46ed372765d19";
const DRAFT_ROOT: &str = "804c11cbe204fedd37687379d158f07efb8cd332";
const TAGGED: &str = "36030d6693a71db913505ba6378f3e034a07c955";

#[test]
fn heads_are_those_of_examples_19_and_20() {
    let snapshot = sample(false);
    let heads = |public| hex(snapshot.heads(public).iter().map(|rev| snapshot.node(*rev)));
    assert_eq!(heads(false), [TIP, OTHER_HEAD]);
    assert_eq!(heads(true), [LAST_PUBLIC]);
}

#[test]
fn secret_and_pruned_changesets_do_not_exist() {
    let snapshot = sample(false);
    assert!(snapshot.has_unserved());
    for hidden in [SECRET, PRUNED] {
        let node = hidden.parse().unwrap();
        assert_eq!(snapshot.rev(&node), None);
        assert!(!snapshot.is_known(&node));
        assert!(snapshot.unserved_rev(&node).is_some());
    }
    assert_eq!(snapshot.len(), 11);
    assert_eq!(snapshot.served().count(), 9);
    assert!(snapshot.is_known(&TIP.parse().unwrap()));
    assert!(snapshot.is_known(&Node::NULL));
}

#[test]
fn branchmap_is_that_of_example_24() {
    let branches = sample(false).branchmap().unwrap();
    let branches: Vec<_> = branches
        .into_iter()
        .map(|(name, heads)| (String::from_utf8(name).unwrap(), hex(heads)))
        .collect();
    let expected = [
        (
            "default".to_owned(),
            vec![OTHER_HEAD.to_owned(), TIP.to_owned()],
        ),
        ("stable".to_owned(), vec![STABLE.to_owned()]),
    ];
    assert_eq!(branches, expected);
}

#[test]
fn listkeys_are_those_of_examples_25_to_28_and_89() {
    let snapshot = sample(false);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let namespaces = ["bookmarks", "namespaces", "obsolete", "phases"].map(|name| pair(name, ""));
    assert_eq!(keys(&snapshot, "namespaces"), namespaces);
    let bookmarks = [pair("@", OTHER_HEAD), pair("released", RELEASED)];
    assert_eq!(keys(&snapshot, "bookmarks"), bookmarks);
    let roots = [pair(DRAFT_ROOT, "1"), pair(TIP, "1")];
    assert_eq!(keys(&snapshot, "phases"), roots);
    assert_eq!(keys(&snapshot, "nonsense"), []);
    let published = [
        pair(DRAFT_ROOT, "1"),
        pair(TIP, "1"),
        pair("publishing", "True"),
    ];
    assert_eq!(keys(&sample(true), "phases"), published);
}

#[test]
fn a_publishing_repository_announces_drafts_as_public() {
    let draft: Node = TIP.parse().unwrap();
    let phase = |publishing| {
        let snapshot = sample(publishing);
        let rev = snapshot.rev(&draft).unwrap();
        (snapshot.phase(rev), snapshot.raw_phase(rev))
    };
    assert_eq!(phase(false), (Phase::Draft, Phase::Draft));
    assert_eq!(phase(true), (Phase::Public, Phase::Draft));
}

#[test]
fn lookup_answers_as_hg_does() {
    in_sample(|snapshot| {
        let found = [
            ("tip", TIP),
            ("null", "0000000000000000000000000000000000000000"),
            ("000", "0000000000000000000000000000000000000000"),
            ("-1", TIP),
            ("-11", "ab6f6465b68b31ae30e4c3be9b7a36403a275cb3"),
            ("0", "ab6f6465b68b31ae30e4c3be9b7a36403a275cb3"),
            ("10", TIP),
            ("@", OTHER_HEAD),
            ("released", RELEASED),
            ("v1.0", TAGGED),
            ("default", TIP),
            ("stable", STABLE),
            ("f01eb", OTHER_HEAD),
            ("F01EB", OTHER_HEAD),
            ("xf01eb", OTHER_HEAD),
            (OTHER_HEAD, OTHER_HEAD),
        ];
        for (key, node) in found {
            let answer = snapshot.lookup(key.as_bytes());
            assert_eq!(answer.unwrap().to_string(), node, "{key}");
        }
        let unknown = [
            "-2",
            "-12",
            "8",
            "9",
            "11",
            "d38e2",
            PRUNED,
            SECRET,
            "x68",
            "05",
            "2147483647",
            "99999999999999999999",
            "p1(tip)",
            "nope",
            "",
            ".",
            "ffffffffffffffffffffffffffffffffffffffff",
        ];
        for key in unknown {
            let error = snapshot.lookup(key.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("unknown revision '{key}'"));
        }
        let ambiguous = snapshot.lookup(b"f");
        assert!(matches!(ambiguous, Err(LookupError::Ambiguous(_))));
    });
}

#[test]
fn files_and_manifests_of_unserved_changesets_are_not_servable() {
    in_sample(|snapshot| {
        let manifests = snapshot.manifests().unwrap();
        let unservable: Vec<u32> = manifests
            .revs()
            .filter(|rev| !snapshot.servable_manifest(&manifests, *rev).unwrap())
            .map(|rev| manifests.link_rev(rev))
            .collect();
        assert_eq!(unservable, [8, 9]);
        let path = b"s";
        let filelog = Revlog::open(snapshot.store(), RevlogName::Filelog(path)).unwrap();
        let introducer = snapshot.introducer(RevlogName::Filelog(path), &filelog, Rev(0));
        assert_eq!(introducer.unwrap(), None);
        let path = b"src/a.txt";
        let filelog = Revlog::open(snapshot.store(), RevlogName::Filelog(path)).unwrap();
        for rev in filelog.revs() {
            let introducer = snapshot.introducer(RevlogName::Filelog(path), &filelog, rev);
            assert_eq!(introducer.unwrap(), Some(Rev(filelog.link_rev(rev))));
        }
    });
}

#[test]
fn what_a_hidden_changeset_shares_with_a_visible_one_is_servable() {
    let mut world = World::new();
    let both = [("kept", Some("kept")), ("dir/a", Some("1"))];
    world.add(Commit {
        files: &[("x", Some("x"))],
        ..Commit::default()
    });
    for message in ["first try", "second try"] {
        world.add(Commit {
            parents: [Some(0), None],
            files: &both,
            message,
            extra: "",
        });
    }
    let only_first = [("lost", Some("lost"))];
    world.add(Commit {
        parents: [Some(1), None],
        files: &only_first,
        ..Commit::default()
    });
    world.write();
    world.phases(&[(1, 1), (1, 2)]);
    world.prune(1);
    world.prune(3);
    let snapshot = world.open().snapshot().unwrap();
    assert_eq!(snapshot.served().collect::<Vec<_>>(), [Rev(0), Rev(2)]);
    for (path, introducer) in [("kept", Some(Rev(2))), ("lost", None), ("x", Some(Rev(0)))] {
        let name = RevlogName::Filelog(path.as_bytes());
        let filelog = Revlog::open(snapshot.store(), name).unwrap();
        let found = snapshot.introducer(name, &filelog, Rev(0)).unwrap();
        assert_eq!(found, introducer, "{path}");
    }
    // The two tries have one manifest, whose link revision is the hidden one.
    let manifests = snapshot.manifests().unwrap();
    let introducers: Vec<_> = manifests
        .revs()
        .map(|rev| {
            snapshot
                .introducer(RevlogName::Manifest, &manifests, rev)
                .unwrap()
        })
        .collect();
    assert_eq!(introducers, [Some(Rev(0)), Some(Rev(2)), None]);
}

#[test]
fn a_link_revision_beyond_the_snapshot_is_not_served() {
    let mut world = World::new();
    world.commit(None, "one");
    let repository = world.open();
    let snapshot = repository.snapshot().unwrap();
    world.add(Commit {
        parents: [Some(0), None],
        files: &[("f", Some("new"))],
        ..Commit::default()
    });
    world.write();
    let name = RevlogName::Filelog(b"f");
    let filelog = Revlog::open(snapshot.store(), name).unwrap();
    let introducer = |snapshot: &Snapshot| snapshot.introducer(name, &filelog, Rev(0)).unwrap();
    assert_eq!(introducer(&snapshot), None);
    let later = repository.snapshot().unwrap();
    assert_eq!(introducer(&later), Some(Rev(1)));
}

#[test]
fn divergent_bookmarks_are_found_and_not_listed() {
    let mut world = World::new();
    world.commit(None, "one");
    world.bookmarks(&[("x", 0), ("x@default", 0), ("@", 0)]);
    let snapshot = world.open().snapshot().unwrap();
    let names: Vec<_> = snapshot.bookmarks().keys().cloned().collect();
    assert_eq!(names, [b"@".to_vec(), b"x".to_vec()]);
    assert_eq!(snapshot.lookup(b"x@default").unwrap(), world.node(0));
}

#[test]
fn bookmarks_pin_and_those_on_unserved_changesets_are_dropped() {
    let mut world = World::new();
    world.commit(None, "public");
    world.commit(Some(0), "obsolete, bookmarked");
    world.commit(Some(0), "secret");
    world.phases(&[(1, 1), (2, 2)]);
    world.prune(1);
    world.bookmarks(&[("kept", 1), ("private", 2)]);
    let snapshot = world.open().snapshot().unwrap();
    assert!(snapshot.is_served(Rev(1)));
    let names: Vec<_> = snapshot.bookmarks().keys().cloned().collect();
    assert_eq!(names, [b"kept".to_vec()]);
    assert!(matches!(
        snapshot.lookup(b"private"),
        Err(LookupError::Unknown(_))
    ));
}

#[test]
fn a_bookmark_on_the_null_revision_is_listed() {
    let mut world = World::new();
    world.commit(None, "one");
    let line = format!("{} nowhere\n", Node::NULL);
    std::fs::write(world.dot_hg().join("bookmarks"), line).unwrap();
    let snapshot = world.open().snapshot().unwrap();
    let listed = [("nowhere".to_owned(), Node::NULL.to_string())];
    assert_eq!(keys(&snapshot, "bookmarks"), listed);
    assert!(snapshot.lookup(b"nowhere").unwrap().is_null());
}

#[test]
fn a_name_is_a_bookmark_before_a_tag_before_a_branch() {
    let mut world = World::new();
    let tagged = world.commit(None, "tagged");
    let tags = format!("{tagged} b\n{tagged} t\n{tagged} m\n{} gone\n", Node::NULL);
    world.add(Commit {
        parents: [Some(0), None],
        files: &[(".hgtags", Some(&tags))],
        extra: "branch:t",
        message: "tags",
    });
    world.add(Commit {
        parents: [Some(1), None],
        extra: "branch:b",
        ..Commit::default()
    });
    world.add(Commit {
        parents: [Some(1), None],
        extra: "branch:m",
        ..Commit::default()
    });
    world.write();
    world.bookmarks(&[("m", 3)]);
    let snapshot = world.open().snapshot().unwrap();
    assert_eq!(snapshot.lookup(b"m").unwrap(), world.node(3));
    assert_eq!(snapshot.lookup(b"t").unwrap(), tagged);
    assert_eq!(snapshot.lookup(b"b").unwrap(), tagged);
    assert!(snapshot.lookup(b"gone").is_err());
    assert_eq!(snapshot.lookup(b"default").unwrap(), tagged);
}

#[test]
fn the_tip_of_a_branch_is_its_last_open_head() {
    let mut world = World::new();
    world.commit(None, "root");
    world.add(Commit {
        parents: [Some(0), None],
        extra: "branch:b",
        ..Commit::default()
    });
    world.add(Commit {
        parents: [Some(0), None],
        extra: "branch:b\0close:1",
        ..Commit::default()
    });
    world.add(Commit {
        parents: [Some(0), None],
        extra: "branch:c\0close:1",
        ..Commit::default()
    });
    world.write();
    let snapshot = world.open().snapshot().unwrap();
    assert_eq!(snapshot.lookup(b"b").unwrap(), world.node(1));
    assert_eq!(snapshot.lookup(b"c").unwrap(), world.node(3));
    let nodes = [world.node(1), world.node(2)];
    assert_eq!(snapshot.branchmap().unwrap()[&b"b"[..]], nodes);
}

#[test]
fn an_empty_repository_has_the_null_tip() {
    let world = World::new();
    let snapshot = world.open().snapshot().unwrap();
    assert!(snapshot.is_empty());
    assert!(snapshot.heads(false).is_empty());
    assert!(snapshot.lookup(b"tip").unwrap().is_null());
    assert!(snapshot.branchmap().unwrap().is_empty());
    assert!(snapshot.lookup(b"0").unwrap().is_null());
    assert!(snapshot.lookup(b"default").is_err());
}
