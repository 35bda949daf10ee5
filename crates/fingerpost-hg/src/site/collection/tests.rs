use super::super::TrustPolicy;
use super::super::testing::{Ground, is_root, stranger};
use super::*;

fn collection(ground: &Ground, nested: bool) -> Collection {
    Collection {
        prefix: String::new(),
        directory: ground.path("c"),
        nested,
    }
}

/// What a path leads to: a name, `-`, or `!NAME`.
fn reached(collection: &Collection, path: &str, links: Links<'_>) -> String {
    match collection.reach(path, links) {
        Reached::Member(member) => match member.real_name {
            Some(real) => format!("{} ({real})", member.name),
            None => member.name,
        },
        Reached::Refused(name, _) => format!("!{name}"),
        Reached::Nothing => "-".to_owned(),
    }
}

fn scanned(collection: &Collection, links: Links<'_>) -> String {
    let scan = collection.scan(links);
    let members = scan.members.into_iter().map(|member| member.name);
    let refused = scan.refused.into_iter().map(|(name, _)| format!("!{name}"));
    members.chain(refused).collect::<Vec<_>>().join(" ")
}

fn trusting() -> TrustPolicy {
    TrustPolicy::of_this_process()
}

const fn careful(trust: &TrustPolicy) -> Links<'_> {
    Links {
        trust,
        follow: false,
    }
}

#[test]
fn repositories_are_found_at_any_depth_but_not_inside_of_others() {
    let ground = Ground::new();
    for name in [
        "c/a",
        "c/d/e/b",
        "c/a/inner",
        "c/.hidden",
        "c/d/.snapshot/b",
    ] {
        ground.repository(name);
    }
    ground.write("c/a/api/file", "");
    let (trust, flat) = (trusting(), collection(&ground, false));
    let reach = |path| reached(&flat, path, careful(&trust));
    assert_eq!(reach("/a"), "a");
    assert_eq!(reach("/a/api/x"), "a");
    assert_eq!(reach("/a/inner"), "a");
    assert_eq!(reach("/d/e/b/"), "d/e/b");
    for path in [
        "",
        "/",
        "/d",
        "/d/e",
        "/A",
        "//a",
        "/.hidden",
        "/d/.snapshot/b",
        "/none/a",
    ] {
        assert_eq!(reach(path), "-", "{path}");
    }
    assert_eq!(scanned(&flat, careful(&trust)), "a d/e/b");
}

#[test]
fn nested_repositories_are_served_when_asked_for() {
    let ground = Ground::new();
    for name in ["c/a", "c/a/x/inner"] {
        ground.repository(name);
    }
    ground.write("c/a/api/file", "");
    let (trust, nested) = (trusting(), collection(&ground, true));
    let reach = |path| reached(&nested, path, careful(&trust));
    assert_eq!(reach("/a/x/inner/api"), "a/x/inner");
    assert_eq!(reach("/a/x"), "a");
    assert_eq!(reach("/a/api/file"), "a");
    assert_eq!(reach("/a/.hg/store"), "a");
    assert_eq!(scanned(&nested, careful(&trust)), "a a/x/inner");
}

#[test]
fn a_collection_that_is_a_repository_is_served_at_its_prefix() {
    let ground = Ground::new();
    ground.repository("c");
    ground.repository("c/inner");
    let trust = trusting();
    let reach = |nested, path| reached(&collection(&ground, nested), path, careful(&trust));
    assert_eq!(reach(false, "/inner/api"), "");
    assert_eq!(reach(true, "/inner/api"), "inner");
    assert_eq!(reach(true, "/other"), "");
}

#[test]
fn links_that_lead_out_are_refused_unless_allowed() {
    let ground = Ground::new();
    ground.repository("c/a");
    let outside = ground.repository("outside/b");
    ground.link("c/b", &outside);
    ground.link("c/up", "..");
    ground.link("c/dangling", "nowhere");
    let (trust, flat) = (trusting(), collection(&ground, false));
    let reach = |path, follow| {
        reached(
            &flat,
            path,
            Links {
                trust: &trust,
                follow,
            },
        )
    };
    assert_eq!(reach("/b/api", false), "!b");
    assert_eq!(reach("/up/outside/b", false), "!up");
    assert_eq!(reach("/dangling", false), "-");
    assert_eq!(reach("/b/api", true), "b");
    assert_eq!(reach("/up/outside/b", true), "up/outside/b");
    assert_eq!(scanned(&flat, careful(&trust)), "a !b !up");
}

#[test]
fn links_within_a_collection_know_where_they_lead() {
    let ground = Ground::new();
    ground.repository("c/d/a");
    ground.link("c/alias", "d/a");
    ground.link("c/d/circle", "..");
    let (trust, flat) = (trusting(), collection(&ground, false));
    assert_eq!(reached(&flat, "/alias", careful(&trust)), "alias (d/a)");
    assert_eq!(
        reached(&flat, "/d/circle/d/a", careful(&trust)),
        "d/circle/d/a (d/a)"
    );
    assert_eq!(scanned(&flat, careful(&trust)), "alias");
}

#[test]
fn an_untrusted_link_to_what_belongs_to_others_is_refused() {
    let ground = Ground::new();
    ground.repository("c/a");
    let alias = ground.link("c/alias", "a");
    ground.untrust(&alias);
    let (trust, flat) = (stranger(), collection(&ground, false));
    // Without root, link and repository have the same owner, who may do that.
    let expected = if is_root() { "!alias" } else { "alias (a)" };
    assert_eq!(reached(&flat, "/alias", careful(&trust)), expected);
    ground.untrust(&ground.path("c/a"));
    assert_eq!(reached(&flat, "/alias", careful(&trust)), "alias (a)");
}

#[test]
fn a_missing_collection_serves_nothing_and_says_so() {
    let ground = Ground::new();
    let (trust, missing) = (trusting(), collection(&ground, false));
    assert_eq!(reached(&missing, "/a", careful(&trust)), "-");
    let problems = missing.scan(careful(&trust)).problems;
    assert!(
        problems[0].starts_with("there is no directory "),
        "{problems:?}"
    );
}

#[test]
fn depth_is_limited_alike_for_looking_up_and_for_scanning() {
    let ground = Ground::new();
    let deep = vec!["d"; DEPTH_MAX].join("/");
    ground.repository(&format!("c/{deep}"));
    ground.repository(&format!("c/e/{deep}"));
    let (trust, flat) = (trusting(), collection(&ground, false));
    assert_eq!(reached(&flat, &format!("/{deep}"), careful(&trust)), deep);
    assert_eq!(reached(&flat, &format!("/e/{deep}"), careful(&trust)), "-");
    let scan = flat.scan(careful(&trust));
    assert_eq!(scan.members.len(), 1);
    assert!(
        scan.problems[0].contains("nothing below it"),
        "{:?}",
        scan.problems
    );
}
