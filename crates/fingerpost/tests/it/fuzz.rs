//! Every decoder's fuzz function over its corpus and seeded mutations.
//!
//! `make fuzz` runs the same functions guided by coverage. A failure prints the
//! input; put it into the corpus.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::world::from_environment;

type Target = fn(&[u8]);

/// Seconds for each target, unless `FINGERPOST_FUZZ_SECONDS` says otherwise.
const SECONDS: f64 = 0.5;
/// First seed, unless `FINGERPOST_SEED` says otherwise.
const SEED: u64 = 1;
const INPUT_BYTES_MAX: usize = 4096;

/// Targets that read the same language.
struct Family {
    targets: &'static [(&'static str, Target)],
    /// What matters to them.
    words: &'static [&'static [u8]],
}

/// Every target there is. `fuzz/decoders.rs` has nearly the same list.
const FAMILIES: [Family; 10] = [
    Family {
        targets: &fingerpost_hashequiv_proto::fuzz::TARGETS,
        words: &HASHEQUIV_WORDS,
    },
    Family {
        targets: &fingerpost_net::fuzz::TARGETS,
        words: &HTTP_WORDS,
    },
    Family {
        targets: &fingerpost_hashequiv_front::fuzz::TARGETS,
        words: &HTTP_WORDS,
    },
    Family {
        targets: &fingerpost_accounts::fuzz::TARGETS,
        words: &HTTP_WORDS,
    },
    Family {
        targets: &fingerpost_hg_proto::fuzz::TARGETS,
        words: &HG_WIRE_WORDS,
    },
    Family {
        targets: &fingerpost_hg_front::fuzz::TARGETS,
        words: &HG_TEXT_WORDS,
    },
    Family {
        targets: &fingerpost_hg::fuzz::TARGETS,
        words: &HG_WIRE_WORDS,
    },
    Family {
        targets: &fingerpost_hg::site::fuzz::TARGETS,
        words: &HG_TEXT_WORDS,
    },
    Family {
        targets: &fingerpost_signatures::fuzz::TARGETS,
        words: &SIGNATURE_WORDS,
    },
    Family {
        targets: &fingerpost_snapshot::fuzz::TARGETS,
        words: &SNAPSHOT_WORDS,
    },
];

const HASHEQUIV_WORDS: [&[u8]; 22] = [
    b"OEHASHEQUIV 1.1\n",
    b"needs-headers: true\n",
    b"\n",
    b"\n\n",
    b"\r\n",
    b" ",
    b"\xc2\xa0",
    b"\xe2\x80\x83",
    b"END\n",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"\\u0020",
    b"\\ud800",
    b"{\"chunk-stream\": null}\n",
    b"{\"get-stream\": null}\n",
    b"{\"ping\": {}}\n",
    b"null",
    b"1e400",
    b"\xef\xbb\xbf",
    b"TestMethod ",
];

/// Beginnings of connections, what proxies tell, logins, and fields of `/v1`.
const HTTP_WORDS: [&[u8]; 34] = [
    b"OEHASHEQUIV 1.1\n",
    b"GET / HTTP/1.1\r\n",
    b"\n",
    b"\r\n",
    b" ",
    b",",
    b";",
    b"=",
    b":",
    b"\"",
    b"\\",
    b"\\u0020",
    b"\\ud800",
    b"forwarded: ",
    b"x-forwarded-for: ",
    b"x-forwarded-proto: https",
    b"x-forwarded-host: ",
    b"for=",
    b"host=",
    b"10.0.0.2",
    b"[::1]",
    b"::ffff:10.0.0.1",
    b"PROXY TCP4 ",
    b"PROXY UNKNOWN",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    b"Basic ",
    b"Bearer ",
    b"eyJ",
    b"{\"method\": \"m\"}",
    b"\"permissions\": [\"@all\"]",
    b"\"where\": {}",
    b"[{},{}]",
    b"1e400",
    b"null",
];

/// Numbers at their ends, heads of CBOR and of frames, marks of packed chunks.
const HG_WIRE_WORDS: [&[u8]; 24] = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\x03\0\x01",
    b"\x28\xb5\x2f\xfd",
    b"\x78\x9c",
    b"u",
    b"\xa1",
    b"\xa0",
    b"\x80",
    b"\x9f",
    b"\x5f",
    b"\xff",
    b"\xd9\x01\x02\x81",
    b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x44name",
    b"\x44args",
    b"\x45nodes",
    b"\x44type\x51changesetexplicit",
    b"\x07\0\0\x01\0\x01\x01\x11",
    b"\0\0\0\x01\0\x02\0\x32",
    b"/",
    b"\0",
];

const HG_TEXT_WORDS: [&[u8]; 20] = [
    b"\n",
    b"\n\n",
    b" ",
    b"\0",
    b"1 ",
    b"2 ",
    b"96 ",
    b"0000000000000000000000000000000000000000",
    b"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
    b"\x01\0\0\0\x27",
    b"[web]\n",
    b"deny_read = *\n",
    b"allow_read = a\n",
    b"%unset ",
    b"%include ",
    b"branch:",
    b"\\0",
    b"%2e%2e/",
    b"%00",
    b"/api/exp-http-v2-0003/",
];

const SIGNATURE_WORDS: [&[u8]; 14] = [
    b"ed25519",
    b"hmac-sha256",
    b":",
    b":0",
    b":253402300799:",
    b"=",
    b"\n",
    b"[[key]]\n",
    b"version = 1\n",
    b"state = \"revoked\"\n",
    b"state = \"retired\"\n",
    b"created = 1970-01-01T00:00:00Z\n",
    b"secret = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\"\n",
    b"public",
];

/// Heads of shards, numbers of rows, shared bytes, and what lines are made of.
const SNAPSHOT_WORDS: [&[u8]; 16] = [
    b"fpshard1\0\0\0\x01",
    b"fpshard1\0\0\0\x41",
    b"fpsigns1\0\0\0\x01",
    b"\0\0\0\0",
    b"\0\0\0\x01",
    b"\xff\xff\xff\xff",
    b"\0\x02\0\0",
    b"\x1f",
    b"\x1f\0\0\0\0\0\0\0\x01",
    b"0000000000000000000000000000000000000000000000000000000000000000",
    b"{\"end\":9007199254740991}\n",
    b"{\"position\":9007199254740991,\"epoch\":9}\n",
    b"null",
    b"\n",
    b"\\u0001",
    b",",
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
fn mutate(input: &[u8], other: &[u8], words: &[&[u8]], random: &mut StdRng) -> Vec<u8> {
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
                let word = words.choose(random).expect("there are words");
                bytes.splice(at..at, word.iter().copied());
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

/// A target with what it is run over.
struct Job {
    name: &'static str,
    target: Target,
    words: &'static [&'static [u8]],
    corpus: Vec<Vec<u8>>,
}

/// Runs a target over its corpus, then over mutations for `duration`.
fn smoke(job: &Job, seed: u64, duration: Duration) -> u64 {
    for input in &job.corpus {
        run(job.target, input);
    }
    let mut random = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let mut runs = 0;
    while began.elapsed() < duration {
        let mut any = || {
            job.corpus
                .choose(&mut random)
                .expect("the corpus has inputs")
        };
        let (input, other) = (any(), any());
        run(job.target, &mutate(input, other, job.words, &mut random));
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

fn jobs() -> Vec<Job> {
    let families = FAMILIES.iter();
    let jobs = families.flat_map(|family| {
        family.targets.iter().map(|(name, target)| Job {
            name,
            target: *target,
            words: family.words,
            corpus: corpus(name),
        })
    });
    jobs.collect()
}

#[test]
fn every_decoder_withstands_its_corpus_and_mutations_of_it() {
    let seconds = from_environment("FINGERPOST_FUZZ_SECONDS", SECONDS);
    let seed = from_environment("FINGERPOST_SEED", SEED);
    let jobs = Mutex::new(jobs().into_iter());
    let failed = Mutex::new(Vec::new());
    // As many at a time as there are processors, so that each has its seconds.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(job) = { jobs.lock().next() } {
                    let work = || smoke(&job, seed, Duration::from_secs_f64(seconds));
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
                        Ok(runs) => println!("{}: {runs} mutations", job.name),
                        Err(_) => failed.lock().push(job.name),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert!(
        failed.is_empty(),
        "seed {seed}: {failed:?} failed, see above"
    );
}

#[test]
fn every_corpus_has_a_target() {
    let targets: Vec<&str> = jobs().iter().map(|job| job.name).collect();
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
