use std::collections::BTreeMap;

use super::super::open::{Files, Trust};
use super::super::{Decision, Operation};
use super::*;

/// The settings of a trusted file below an untrusted one.
fn settings(trusted: &str, untrusted: &str) -> Result<RepositorySettings, Unevaluable> {
    let dir = tempfile::tempdir().unwrap();
    let environment = BTreeMap::new();
    let mut files = Files::new(Trust::ByName, &environment);
    let mut layers = Layers::default();
    for (name, text) in [("hgrc", trusted), ("untrusted", untrusted)] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        layers.push(&path, &mut files).unwrap();
    }
    let strip = format!("{}/", dir.path().display());
    let mut settings = resolve(&layers, Vec::new()).map_err(|why| why.replace(&strip, ""))?;
    for note in &mut settings.notes {
        note.place = note.place.replace(&strip, "");
    }
    Ok(settings)
}

fn of(trusted: &str, untrusted: &str) -> RepositorySettings {
    settings(trusted, untrusted).unwrap()
}

fn refusal(trusted: &str, untrusted: &str) -> String {
    settings(trusted, untrusted).unwrap_err()
}

fn notes(settings: &RepositorySettings) -> Vec<String> {
    let notes = settings.notes.iter();
    notes
        .map(|note| format!("{}: {}", note.place, note.sentence))
        .collect()
}

fn may(settings: &RepositorySettings, user: &str, operation: Operation) -> bool {
    settings.access.decide(Some(user), operation) == Decision::Allowed
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(of("", ""), RepositorySettings::default());
    assert_eq!(
        of("[ui]\nusername = x\n", "[extensions]\nmq =\n"),
        RepositorySettings::default()
    );
}

#[test]
fn publishing_is_what_the_last_file_says_trusted_or_not() {
    assert!(!of("[phases]\npublish = no\n", "").publishing);
    assert!(!of("[phases]\npublish = yes\n", "[phases]\npublish = no\n").publishing);
    assert!(of("[phases]\npublish = no\n", "[phases]\npublish = yes\n").publishing);
    assert!(notes(&of("", "[phases]\npublish = no\n")).is_empty());
    assert_eq!(
        refusal("[phases]\npublish = perhaps\n", ""),
        "hgrc:2: phases.publish is neither true nor false"
    );
}

#[test]
fn hidden_is_honoured_from_anybody_and_taken_back_by_the_trusted() {
    assert!(of("[web]\nhidden = yes\n", "").hidden);
    assert!(of("", "[web]\nhidden = yes\n").hidden);
    let kept = of("[web]\nhidden = yes\n", "[web]\nhidden = no\n");
    assert!(kept.hidden);
    assert_eq!(
        notes(&kept),
        ["untrusted:2: web.hidden is ignored: its file is not trusted"]
    );
}

#[test]
fn raw_store_files_and_pulls_are_switched_off_by_anybody() {
    assert!(!of("", "[server]\nuncompressed = off\n").raw_store_files);
    assert!(
        !of(
            "[server]\nuncompressed = off\n",
            "[server]\nuncompressed = on\n"
        )
        .raw_store_files
    );
    for key in ["allow-pull", "allowpull"] {
        let off = format!("[web]\n{key} = false\n");
        let on = format!("[web]\n{key} = true\n");
        assert!(!may(&of("", &off), "alice", Operation::Pull), "{key}");
        assert!(!may(&of(&off, &on), "alice", Operation::Pull), "{key}");
        assert!(may(&of(&on, ""), "alice", Operation::Pull), "{key}");
    }
}

#[test]
fn secrets_stay_whatever_is_configured() {
    let told = of("[server]\nuncompressedallowsecret = yes\n", "");
    assert_eq!(notes(&told).len(), 1);
    assert!(
        notes(&told)[0].contains("never honoured"),
        "{:?}",
        notes(&told)
    );
}

#[test]
fn views_that_show_more_are_refused_from_the_trusted_and_ignored_from_others() {
    let view = |trusted: &str, untrusted: &str| {
        let line = |view: &str| match view {
            "" => String::new(),
            view => format!("[server]\nview = {view}\n"),
        };
        settings(&line(trusted), &line(untrusted)).map(|settings| settings.view)
    };
    assert_eq!(view("served", ""), Ok(ServerView::Served));
    assert_eq!(view("immutable", ""), Ok(ServerView::Immutable));
    assert_eq!(view("", "immutable"), Ok(ServerView::Immutable));
    assert_eq!(view("immutable", "served"), Ok(ServerView::Immutable));
    assert_eq!(view("immutable", "all"), Ok(ServerView::Immutable));
    assert_eq!(view("", "visible"), Ok(ServerView::Served));
    for refused in ["all", "visible", "base", "Served"] {
        let why = view(refused, "").unwrap_err();
        assert_eq!(why, "hgrc:2: server.view is neither served nor immutable");
    }
    assert!(view("", "base").is_err());
}

#[test]
fn untrusted_lists_narrow_and_say_so() {
    let read = of(
        "[web]\nallow_read = alice, bob\n",
        "[web]\nallow_read = bob, carol\n",
    );
    let may_read = |user| may(&read, user, Operation::Read);
    assert!(!may_read("alice") && may_read("bob") && !may_read("carol"));
    let push = of("[web]\nallow-push = alice\n", "[web]\nallow_push = *\n");
    let may_push = |user| may(&push, user, Operation::Push);
    assert!(may_push("alice") && !may_push("bob"));
    assert_eq!(
        notes(&push),
        ["untrusted:2: web.allow-push only narrows: its file is not trusted"]
    );
}

#[test]
fn untrusted_files_cannot_take_back_a_rule() {
    let kept = of(
        "[web]\ndeny_read = eve\nallow_read = bob\n",
        "[web]\n%unset deny_read\nallow_read =\n",
    );
    assert!(!may(&kept, "eve", Operation::Read) && !may(&kept, "alice", Operation::Read));
    assert!(may(&kept, "bob", Operation::Read));
    let push = of(
        "[web]\npush_ssl = yes\nallow-push = *\n",
        "[web]\npush_ssl = no\n",
    );
    assert!(push.access.push_needs_tls());
    assert!(!of("[web]\npush_ssl = no\n", "").access.push_needs_tls());
}

#[test]
fn read_rules_that_cannot_be_evaluated_refuse_the_repository() {
    for (line, why) in [
        ("allow_read = @staff", "names a group"),
        ("deny_read = alice @staff", "names a group"),
        ("allow_read = \"alice", "quotation"),
        ("allow-pull = perhaps", "neither true nor false"),
        ("hidden = perhaps", "neither true nor false"),
    ] {
        let text = format!("[web]\n{line}\n");
        assert!(refusal(&text, "").starts_with("hgrc:2: web."), "{line}");
        assert!(refusal(&text, "").contains(why), "{line}");
        assert!(
            refusal("", &text).starts_with("untrusted:2: web."),
            "{line}"
        );
    }
}

#[test]
fn push_rules_that_cannot_be_evaluated_leave_reading_alone() {
    for line in ["allow-push = *\ndeny_push = @staff", "allow_push = @staff"] {
        let told = of(&format!("[web]\n{line}\n"), "");
        assert!(may(&told, "alice", Operation::Pull) && !may(&told, "alice", Operation::Push));
        assert!(
            notes(&told)[0].contains("so nobody pushes"),
            "{:?}",
            notes(&told)
        );
    }
}

#[test]
fn rules_that_only_hg_can_carry_out_refuse_the_repository() {
    let hook = refusal("", "[hooks]\npreoutgoing.acl = check\n");
    assert!(
        hook.starts_with("untrusted:2: hooks.preoutgoing.acl is a hook"),
        "{hook}"
    );
    let narrow = refusal("[narrowacl]\ndefault.includes = a\n", "");
    assert!(
        narrow.starts_with("hgrc:2: narrowacl.default.includes limits"),
        "{narrow}"
    );
    of(
        "[hooks]\npreoutgoing =\nincoming = x\npreoutgoings = y\n",
        "",
    );
    of("[hooks]\npreoutgoing = x\n%unset preoutgoing\n", "");
}

#[test]
fn a_star_among_names_is_told_of() {
    let told = of("[web]\nallow_read = alice *\n", "");
    assert!(may(&told, "alice", Operation::Read) && !may(&told, "bob", Operation::Read));
    assert!(notes(&told)[0].starts_with("hgrc:2: web.allow_read has a star among names"));
}

#[test]
fn texts_for_people_come_from_anybody_and_are_tame() {
    let long = "x".repeat(3000);
    let told = of(
        "[web]\nname = a\n",
        &format!("[web]\ndescription = b\n  c\x07\ncontact = {long}\n"),
    );
    assert_eq!(told.name.as_deref(), Some("a"));
    assert_eq!(told.description.as_deref(), Some("b c "));
    assert_eq!(told.contact.map(|text| text.len()), Some(TEXT_CHARS_MAX));
}
