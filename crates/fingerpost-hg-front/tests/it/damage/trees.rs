//! Damage to each file of whole repositories.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::faults::{Fault, cuts, flips, replacements};
use super::runner::{Outcome, Subject};
use crate::world::World;
use crate::written::Written;

/// What the recorded repository is served with.
const SAMPLE: &str = "[phases]\npublish = no\n[experimental]\nevolution = all\n";

/// Checks that most of what can be noticed was, and that not everything fails
/// for one damaged file.
#[track_caller]
fn check(outcomes: &[Outcome], noticed_min: usize) {
    let noticed = outcomes.iter().filter(|outcome| outcome.is_noticed).count();
    let of = outcomes.len();
    println!("{of} cases, {noticed} noticed");
    assert!(noticed >= noticed_min && noticed < of, "{noticed} of {of}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_of_the_recorded_repository_never_become_wrong_bytes() {
    let subject = Subject::new(World::recorded("sample-dothg", SAMPLE)).await;
    let mut cases = Vec::new();
    for (at, (file, len)) in subject.files().into_iter().enumerate() {
        let of_file = flips(len, 14, at as u64);
        cases.extend(of_file.into_iter().map(|fault| (file.clone(), fault)));
    }
    check(&subject.run(cases).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_and_replaced_files_of_the_recorded_repository_are_named() {
    let subject = Subject::new(World::recorded("sample-dothg", SAMPLE)).await;
    let mut cases = Vec::new();
    for (file, len) in subject.files() {
        let swap = Fault::Swap(subject.dot_hg().join("store/data/src/copy.txt.i"));
        let faults = cuts(len).into_iter().chain(replacements()).chain([swap]);
        cases.extend(faults.map(|fault| (file.clone(), fault)));
    }
    let outcomes = subject.run(cases).await;
    for outcome in outcomes.iter().filter(|outcome| outcome.is_gone()) {
        // Two files are of changesets that are not served. Without a changelog
        // there is nothing, as before the first commit.
        let name = outcome.file.as_str();
        let is_read = !["store/data/o.i", "store/data/s.i"].contains(&name);
        let is_revlog = name.ends_with(".i") && is_read;
        let is_empty = name == "store/00changelog.i" && matches!(outcome.fault, Fault::Remove);
        assert!(
            outcome.is_noticed || !is_revlog || is_empty,
            "{name}, {:?}",
            outcome.fault
        );
    }
    check(&outcomes, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_censored_repository_survives_as_well() {
    let subject = Subject::new(World::recorded("censored", SAMPLE)).await;
    let mut cases = Vec::new();
    for (at, (file, len)) in subject.files().into_iter().enumerate() {
        let faults = flips(len, 24, at as u64).into_iter().chain(cuts(len));
        cases.extend(faults.map(|fault| (file.clone(), fault)));
    }
    check(&subject.run(cases).await, 20);
}

/// Six changesets over some files, in revlogs with data files of their own, one
/// of a name that is hashed.
fn split() -> World {
    let mut written = Written::new(false);
    let mut random = StdRng::seed_from_u64(7);
    let long = "long/".repeat(30) + "name";
    for number in 0..6 {
        let lines = (0..60).map(|line| match random.random_range(0..4_u8) {
            0 => format!("line {line} of {number}\n"),
            _ => format!("line {line}\n"),
        });
        let text: String = lines.collect();
        let noise: Vec<u8> = (0..3000).map(|_| random.random()).collect();
        written.commit(&[
            ("text", text.as_bytes()),
            ("noise", &noise),
            (&long, text.as_bytes()),
        ]);
    }
    let world = World::empty();
    written.write(&world.root());
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn split_revlogs_fail_by_name_whichever_half_is_damaged() {
    let subject = Subject::new(split()).await;
    let mut cases = Vec::new();
    for (at, (file, len)) in subject.files().into_iter().enumerate() {
        let faults = flips(len, 32, at as u64).into_iter();
        let faults = faults.chain(cuts(len)).chain(replacements());
        cases.extend(faults.map(|fault| (file.clone(), fault)));
    }
    let outcomes = subject.run(cases).await;
    let of_data = outcomes
        .iter()
        .filter(|outcome| outcome.file.ends_with(".d"));
    for outcome in of_data {
        // What follows the last revision is being written, and a few bits of
        // compressed streams mean nothing.
        let may_be_noticed = !matches!(outcome.fault, Fault::Append(_));
        let must_be_noticed = may_be_noticed && !matches!(outcome.fault, Fault::Flip(..));
        let case = format!("{}, {:?}", outcome.file, outcome.fault);
        assert!(outcome.is_noticed || !must_be_noticed, "{case}");
        assert!(!outcome.is_noticed || may_be_noticed, "{case}");
    }
    check(&outcomes, 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_verified_before_the_damage_is_verified_again() {
    let subject = Subject::new(split()).await;
    let mut cases = Vec::new();
    for (at, (file, len)) in subject.files().into_iter().enumerate() {
        let faults = flips(len, 12, 100 + at as u64).into_iter().chain(cuts(len));
        cases.extend(faults.map(|fault| (file.clone(), fault)));
    }
    check(&subject.run_after_a_clone(cases).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_file_of_many_leaves_the_others_readable() {
    let mut written = Written::new(true);
    let paths: Vec<String> = (0..300)
        .map(|at| format!("dir{}/file{at}", at % 7))
        .collect();
    for number in 0..2 {
        let texts: Vec<String> = paths
            .iter()
            .map(|path| format!("{path} {number}\n"))
            .collect();
        let pairs = paths.iter().zip(&texts);
        let files: Vec<(&str, &[u8])> = pairs
            .map(|(path, text)| (path.as_str(), text.as_bytes()))
            .collect();
        written.commit(&files);
    }
    let world = World::empty();
    written.write(&world.root());
    let subject = Subject::new(world).await;
    let faults = [
        Fault::Remove,
        Fault::Truncate(64),
        Fault::Flip(70, 1),
        Fault::Zeros,
    ];
    let file = "store/data/dir3/file150.i";
    let cases = faults.map(|fault| (file.to_owned(), fault));
    for outcome in subject.run(cases.to_vec()).await {
        let seen = outcome.seen.unwrap();
        assert!(
            seen.complaints
                .iter()
                .any(|text| text.contains("data/dir3/file150.i")),
            "{:?}",
            seen.complaints
        );
        // Files are sent in the order of their paths.
        let first = &(
            b"dir0/file0".to_vec(),
            subject.known.files[&b"dir0/file0"[..]][0],
        );
        assert!(seen.texts.contains_key(first));
        assert_eq!(seen.known.unwrap(), b"11");
    }
}
