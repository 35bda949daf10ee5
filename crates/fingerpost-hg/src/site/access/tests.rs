use super::Decision::{Allowed, Denied, NeedsLogin};
use super::Operation::{Pull, Push, Read};
use super::*;

fn names(list: &str) -> Names {
    Names::new(list.split_whitespace().map(str::to_owned).collect())
}

fn web(deny_read: &str, allow_read: &str) -> WebRules {
    WebRules {
        deny_read: names(deny_read),
        allow_read: names(allow_read),
        ..WebRules::default()
    }
}

fn pushing(deny_push: &str, allow_push: &str) -> WebRules {
    WebRules {
        deny_push: names(deny_push),
        allow_push: Some(names(allow_push)),
        ..WebRules::default()
    }
}

fn own(read: Option<&str>, write: Option<&str>) -> Arc<OwnRules> {
    let list = |names: &str| names.split_whitespace().map(str::to_owned).collect();
    Arc::new(OwnRules {
        read: read.map(list),
        write: write.map(list),
    })
}

/// What nobody in particular, alice and bob are told.
fn told(rules: &AccessRules, operation: Operation) -> [Decision; 3] {
    [None, Some("alice"), Some("bob")].map(|user| rules.decide(user, operation))
}

fn read_by(web_rules: WebRules) -> [Decision; 3] {
    told(&AccessRules::new(vec![web_rules], vec![]), Read)
}

fn push_by(web_rules: WebRules) -> [Decision; 3] {
    told(&AccessRules::new(vec![web_rules], vec![]), Push)
}

#[test]
fn without_rules_everybody_reads_and_nobody_pushes() {
    let rules = AccessRules::default();
    assert_eq!(told(&rules, Read), [Allowed; 3]);
    assert_eq!(told(&rules, Pull), [Allowed; 3]);
    assert_eq!(told(&rules, Push), [Denied(Push); 3]);
    assert!(rules.push_needs_tls());
}

/// Every pair of lists of hgweb's, with what hgweb 6.0.3 does; see its
/// `checkauthz`.
#[test]
fn reading_is_denied_first_and_then_allowed_as_in_hgweb() {
    let ok = Allowed;
    let no = Denied(Read);
    let login = NeedsLogin(Read);
    let cases: [(&str, &str, [Decision; 3]); 16] = [
        ("", "", [ok, ok, ok]),
        ("", "*", [ok, ok, ok]),
        ("", "alice", [login, ok, no]),
        ("", "alice *", [login, ok, no]),
        ("*", "", [no, no, no]),
        ("*", "*", [no, no, no]),
        ("*", "alice", [no, no, no]),
        ("*", "alice *", [no, no, no]),
        ("alice", "", [login, no, ok]),
        ("alice", "*", [login, no, ok]),
        ("alice", "alice", [no, no, no]),
        ("alice", "alice bob", [login, no, ok]),
        ("bob *", "", [no, no, no]),
        ("bob *", "*", [no, no, no]),
        ("bob", "alice", [login, ok, no]),
        ("carol", "alice bob", [login, ok, ok]),
    ];
    for (deny, allow, expected) in cases {
        assert_eq!(read_by(web(deny, allow)), expected, "{deny:?} {allow:?}");
    }
}

#[test]
fn pushing_needs_to_be_allowed_and_not_denied() {
    let ok = Allowed;
    let no = Denied(Push);
    let login = NeedsLogin(Push);
    let cases: [(&str, &str, [Decision; 3]); 8] = [
        ("", "", [no, no, no]),
        ("", "*", [ok, ok, ok]),
        ("", "alice", [login, ok, no]),
        ("*", "*", [no, no, no]),
        ("*", "alice", [no, no, no]),
        ("alice", "*", [login, no, ok]),
        ("alice", "alice", [no, no, no]),
        ("bob", "alice bob", [login, ok, no]),
    ];
    for (deny, allow, expected) in cases {
        assert_eq!(
            push_by(pushing(deny, allow)),
            expected,
            "{deny:?} {allow:?}"
        );
    }
}

#[test]
fn pulling_and_pushing_need_reading_first() {
    let rules = AccessRules::new(
        vec![WebRules {
            deny_read: names("alice"),
            ..pushing("", "*")
        }],
        vec![],
    );
    for operation in [Read, Pull, Push] {
        assert_eq!(rules.decide(Some("alice"), operation), Denied(Read));
        assert_eq!(rules.decide(Some("bob"), operation), Allowed);
    }
}

#[test]
fn pulling_can_be_off_for_everybody() {
    let off = WebRules {
        allow_pull: false,
        ..WebRules::default()
    };
    let rules = AccessRules::new(vec![off], vec![]);
    assert_eq!(told(&rules, Read), [Allowed; 3]);
    assert_eq!(told(&rules, Pull), [Denied(Pull); 3]);
}

#[test]
fn a_push_rule_that_cannot_be_evaluated_lets_nobody_push() {
    let unknown = WebRules {
        push_unknown: true,
        ..pushing("", "*")
    };
    assert_eq!(push_by(unknown), [Denied(Push); 3]);
}

#[test]
fn every_reading_of_the_files_has_to_permit() {
    let lists = ["", "*", "alice", "bob", "alice bob"];
    let users = [None, Some("alice"), Some("bob"), Some("carol")];
    for trusted in lists
        .iter()
        .flat_map(|deny| lists.map(|allow| web(deny, allow)))
    {
        for untrusted in lists
            .iter()
            .flat_map(|deny| lists.map(|allow| web(deny, allow)))
        {
            let alone = |rules: &WebRules| AccessRules::new(vec![rules.clone()], vec![]);
            let (one, other) = (alone(&trusted), alone(&untrusted));
            let both = AccessRules::new(vec![trusted.clone(), untrusted], vec![]);
            for user in users {
                let allowed = |rules: &AccessRules| rules.decide(user, Read) == Allowed;
                assert_eq!(allowed(&both), allowed(&one) && allowed(&other));
            }
        }
    }
}

#[test]
fn an_untrusted_reading_never_lets_anybody_push() {
    let rules = AccessRules::new(vec![WebRules::default(), pushing("", "*")], vec![]);
    assert_eq!(told(&rules, Push), [Denied(Push); 3]);
    let rules = AccessRules::new(vec![pushing("", "*"), pushing("", "alice")], vec![]);
    assert_eq!(
        told(&rules, Push),
        [NeedsLogin(Push), Allowed, Denied(Push)]
    );
}

#[test]
fn tls_is_needed_when_any_reading_needs_it() {
    let plain = WebRules {
        push_tls: false,
        ..WebRules::default()
    };
    assert!(!AccessRules::new(vec![plain.clone()], vec![]).push_needs_tls());
    assert!(AccessRules::new(vec![plain, WebRules::default()], vec![]).push_needs_tls());
}

#[test]
fn our_own_read_rules_narrow_those_of_hgweb() {
    let ruled = |read, allow_read| {
        let rules = AccessRules::new(vec![web("", allow_read)], vec![own(Some(read), None)]);
        told(&rules, Read)
    };
    assert_eq!(ruled("*", ""), [Allowed; 3]);
    assert_eq!(ruled("", ""), [Denied(Read); 3]);
    assert_eq!(
        ruled("alice", ""),
        [NeedsLogin(Read), Allowed, Denied(Read)]
    );
    assert_eq!(ruled("alice *", ""), [Allowed; 3]);
    assert_eq!(ruled("alice", "bob"), [Denied(Read); 3]);
    assert_eq!(ruled("*", "bob"), [NeedsLogin(Read), Denied(Read), Allowed]);
}

#[test]
fn our_own_write_rules_stand_in_for_allow_push_and_are_narrowed_by_it() {
    let ruled = |write, web_rules: WebRules| {
        let rules = AccessRules::new(vec![web_rules], vec![own(None, Some(write))]);
        told(&rules, Push)
    };
    let silent = WebRules::default;
    let for_alice = [NeedsLogin(Push), Allowed, Denied(Push)];
    assert_eq!(ruled("alice", silent()), for_alice);
    assert_eq!(ruled("*", silent()), [Allowed; 3]);
    assert_eq!(ruled("", pushing("", "*")), [Denied(Push); 3]);
    assert_eq!(ruled("alice", pushing("", "*")), for_alice);
    assert_eq!(ruled("alice bob", pushing("", "alice")), for_alice);
    assert_eq!(ruled("alice", pushing("", "")), [Denied(Push); 3]);
    assert_eq!(ruled("alice", pushing("alice", "*")), [Denied(Push); 3]);
}

#[test]
fn several_own_rules_all_have_to_permit() {
    let rules = AccessRules::new(
        vec![WebRules::default()],
        vec![
            own(Some("alice bob"), Some("alice bob")),
            own(Some("bob"), Some("*")),
        ],
    );
    assert_eq!(
        told(&rules, Read),
        [NeedsLogin(Read), Denied(Read), Allowed]
    );
    assert_eq!(
        told(&rules, Push),
        [NeedsLogin(Read), Denied(Read), Allowed]
    );
}

#[test]
fn who_may_is_told_in_words() {
    let read = |web_rules| AccessRules::new(vec![web_rules], vec![]).describe(Read);
    assert_eq!(read(web("", "")), "everybody");
    assert_eq!(read(web("*", "")), "nobody");
    assert_eq!(read(web("bob carol", "")), "every login but bob, carol");
    assert_eq!(read(web("bob", "bob alice")), "alice");
    let own = AccessRules::new(vec![WebRules::default()], vec![own(Some("*"), Some("*"))]);
    assert_eq!(own.describe(Push), "everybody");
}

#[test]
fn the_reasons_are_those_of_hgweb() {
    assert_eq!(Read.not_authorized(), "read not authorized");
    assert_eq!(Pull.not_authorized(), "pull not authorized");
    assert_eq!(Push.not_authorized(), "push not authorized");
}
