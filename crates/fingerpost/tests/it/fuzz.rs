//! Every decoder's fuzz function over its corpus and seeded mutations.
//!
//! `make fuzz` runs the same functions guided by coverage. A failure prints the
//! input; put it into the corpus.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fingerpost_hashequiv_proto::fuzz::{TARGETS, Target};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::world::from_environment;

/// Seconds for each target, unless `FINGERPOST_FUZZ_SECONDS` says otherwise.
const SECONDS: f64 = 2.0;
/// First seed, unless `FINGERPOST_SEED` says otherwise.
const SEED: u64 = 1;
const INPUT_BYTES_MAX: usize = 4096;

/// What matters to the decoders.
const WORDS: [&str; 22] = [
    "OEHASHEQUIV 1.1\n",
    "needs-headers: true\n",
    "\n",
    "\n\n",
    "\r\n",
    " ",
    "\u{a0}",
    "\u{2003}",
    "END\n",
    "{",
    "}",
    "[",
    "\"",
    "\\u0020",
    "\\ud800",
    "{\"chunk-stream\": null}\n",
    "{\"get-stream\": null}\n",
    "{\"ping\": {}}\n",
    "null",
    "1e400",
    "\u{feff}",
    "TestMethod ",
];

fn corpus_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/corpus")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = corpus_directory().join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("the directory is readable").path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).expect("the file is readable"))
        .collect()
}

/// One to four changes of `input`.
fn mutate(input: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=bytes.len());
        let end = random.random_range(at..=bytes.len());
        match random.random_range(0..7_u8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8_u8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let word = WORDS.choose(random).expect("there are words");
                bytes.splice(at..at, word.bytes());
            }
            5 => {
                let from = random.random_range(0..=other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => bytes.insert(at, random.random()),
        }
        bytes.truncate(INPUT_BYTES_MAX);
    }
    bytes
}

/// Runs a target over its corpus, then over mutations for `duration`.
fn smoke(target: Target, corpus: &[Vec<u8>], seed: u64, duration: Duration) -> u64 {
    for input in corpus {
        run(target, input);
    }
    let mut random = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let mut runs = 0;
    while began.elapsed() < duration {
        let input = corpus.choose(&mut random).expect("the corpus has inputs");
        let other = corpus.choose(&mut random).expect("the corpus has inputs");
        run(target, &mutate(input, other, &mut random));
        runs += 1;
    }
    runs
}

fn run(target: Target, input: &[u8]) {
    let outcome = std::panic::catch_unwind(|| target(input));
    if outcome.is_err() {
        panic!("fails on b\"{}\"", input.escape_ascii());
    }
}

#[test]
fn every_decoder_withstands_its_corpus_and_mutations_of_it() {
    let seconds = from_environment("FINGERPOST_FUZZ_SECONDS", SECONDS);
    let seed = from_environment("FINGERPOST_SEED", SEED);
    let running = TARGETS.map(|(name, target)| {
        let corpus = corpus(name);
        let work = move || smoke(target, &corpus, seed, Duration::from_secs_f64(seconds));
        (name, std::thread::spawn(work))
    });
    let mut failed = Vec::new();
    for (name, thread) in running {
        match thread.join() {
            Ok(runs) => println!("{name}: {runs} mutations"),
            Err(_) => failed.push(name),
        }
    }
    assert!(
        failed.is_empty(),
        "seed {seed}: {failed:?} failed, see above"
    );
}

#[test]
fn every_corpus_has_a_target() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for entry in std::fs::read_dir(corpus_directory()).expect("there is a corpus") {
        let path = entry.expect("the directory is readable").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a plain name");
        assert!(
            !path.is_dir() || targets.contains(&name),
            "{name} has no target"
        );
    }
}
