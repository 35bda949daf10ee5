use super::super::rows::RetainedMapping;
use super::*;

const TODAY: i64 = 100;

/// A row of namespace 1 that was made and used at these days.
fn row(method: u32, created: i64, used: i64) -> RetainedRow {
    RetainedRow {
        id: 1,
        namespace: NamespaceId(1),
        method: MethodId(method),
        taskhash: Taskhash::parse(&"a".repeat(64)),
        mapping: Some(RetainedMapping {
            unihash: Unihash::parse(&"b".repeat(64)),
            sequence: 1,
            collection: 7,
            used_day: used,
        }),
        created: Some(Timestamp(created * DAY_MICROS)),
        bytes: 100,
    }
}

fn labels() -> Labels {
    Labels {
        namespaces: vec![(NamespaceId(1), "default".to_owned())],
        methods: vec![
            (MethodId(1), "m1".to_owned()),
            (MethodId(2), "m2".to_owned()),
        ],
        marks: vec![(7, "release".to_owned())],
    }
}

fn rule(method: &str, mappings: Terms) -> Rule {
    Rule {
        namespace: "*".to_owned(),
        method: method.to_owned(),
        mappings,
        ..Rule::default()
    }
}

/// What becomes of rows under rules.
fn judged(rules: Vec<Rule>, rows: &[RetainedRow]) -> Vec<Option<(usize, Term)>> {
    let policy = Policy { rules };
    let lists = policy.rules.iter().map(|rule| rule.keep_file.as_deref());
    let keeps = lists.map(|file| file.map(|file| Keep::read(file).unwrap()));
    let now = Timestamp(TODAY * DAY_MICROS);
    let mut judge = Judge::new(&policy, labels(), keeps.collect(), now);
    if judge.begin(Kind::Mappings) {
        rows.iter().for_each(|row| judge.add(row));
        judge.settle();
    }
    rows.iter().map(|row| judge.verdict(row)).collect()
}

#[test]
fn rows_go_by_age_whether_they_are_used_or_not() {
    let terms = Terms {
        max_age_days: Some(14),
        ..Terms::default()
    };
    let mut unknown = row(1, 0, 0);
    unknown.created = None;
    let rows = [row(1, 85, 100), row(1, 86, 86), unknown];
    let gone = judged(vec![rule("*", terms)], &rows);
    assert_eq!(gone, [Some((0, Term::Age)), None, None]);
}

#[test]
fn rows_go_that_nobody_used_and_a_late_note_does_no_harm() {
    let terms = Terms {
        unused_days: Some(14),
        ..Terms::default()
    };
    let mut orphan = row(1, 84, 0);
    orphan.mapping = None;
    let rows = [row(1, 1, 84), row(1, 1, 85), row(1, 1, 100), orphan];
    let gone = judged(vec![rule("*", terms)], &rows);
    let unused = Some((0, Term::Unused));
    assert_eq!(gone, [unused, None, None, unused]);
}

#[test]
fn the_first_rule_that_matches_counts_alone() {
    let terms = |days| Terms {
        max_age_days: Some(days),
        ..Terms::default()
    };
    let rules = vec![rule("m1", Terms::default()), rule("m?", terms(10))];
    let gone = judged(rules, &[row(1, 1, 1), row(2, 1, 1), row(3, 1, 1)]);
    assert_eq!(gone, [None, Some((1, Term::Age)), None]);
    let mut elsewhere = row(2, 1, 1);
    elsewhere.namespace = NamespaceId(9);
    assert_eq!(judged(vec![rule("*", terms(10))], &[elsewhere]), [None]);
}

#[test]
fn what_is_over_in_number_or_size_goes_by_its_last_use() {
    let rows: Vec<_> = [90, 95, 95, 95, 99, 100].map(|used| row(1, 1, used)).into();
    let check = |terms: Terms, wanted: [bool; 6]| {
        let gone = judged(vec![rule("*", terms)], &rows);
        let gone: Vec<_> = gone.iter().map(Option::is_some).collect();
        assert_eq!(gone, wanted, "{terms:?}");
    };
    let rows_at_most = |most| Terms {
        max_rows: Some(most),
        ..Terms::default()
    };
    let bytes_at_most = |most| Terms {
        max_bytes: Some(most),
        ..Terms::default()
    };
    check(rows_at_most(6), [false; 6]);
    check(rows_at_most(3), [true, true, true, false, false, false]);
    check(bytes_at_most(350), [true, true, true, false, false, false]);
    check(bytes_at_most(1), [true; 6]);
    let both = Terms {
        max_bytes: Some(500),
        ..rows_at_most(1)
    };
    check(both, [true, true, true, true, true, false]);
}

#[test]
fn numbers_hold_for_each_method() {
    let terms = Terms {
        max_rows: Some(1),
        ..Terms::default()
    };
    let rows = [row(1, 1, 1), row(1, 1, 2), row(2, 1, 1)];
    let gone = judged(vec![rule("*", terms)], &rows);
    assert_eq!(gone, [Some((0, Term::Rows)), None, None]);
}

#[test]
fn what_is_pinned_stays_and_takes_room() {
    let terms = Terms {
        max_age_days: Some(10),
        max_rows: Some(1),
        ..Terms::default()
    };
    let pinned = |pin: &[(Column, &str)]| {
        let pin = pin
            .iter()
            .map(|(column, text)| (*column, (*text).to_owned()));
        let mut rule = rule("*", terms);
        rule.pins = vec![Conditions(pin.collect())];
        let mut young = row(1, 99, 99);
        young.mapping.as_mut().unwrap().collection = 0;
        young.taskhash = Taskhash::parse("other");
        let gone = judged(vec![rule], &[row(1, 1, 1), young]);
        (gone[0].is_none(), gone[1].is_none())
    };
    let hash = "a".repeat(64);
    assert_eq!(pinned(&[(Column::Taskhash, &hash)]), (true, false));
    assert_eq!(pinned(&[(Column::GcMark, "release")]), (true, false));
    assert_eq!(pinned(&[(Column::Method, "m1")]), (true, true));
    let two = [(Column::Method, "m2"), (Column::Taskhash, &*hash)];
    assert_eq!(pinned(&two), (false, true));
    assert_eq!(pinned(&[(Column::Method, "unheard")]), (false, true));
}

#[test]
fn a_list_of_unihashes_pins_their_tasks() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "b".repeat(64)).unwrap();
    let terms = Terms {
        max_age_days: Some(10),
        ..Terms::default()
    };
    let rule = Rule {
        keep_file: Some(file.path().to_owned()),
        ..rule("*", terms)
    };
    let mut other = row(1, 1, 1);
    other.mapping.as_mut().unwrap().unihash = Unihash::parse(&"c".repeat(64));
    let gone = judged(vec![rule], &[row(1, 1, 1), other]);
    assert_eq!(gone, [None, Some((0, Term::Age))]);
}
