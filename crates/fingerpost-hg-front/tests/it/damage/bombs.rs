//! Revisions that are small on disk and enormous in memory, and indexes that
//! lie about lengths: all are refused before they take memory.

use std::path::Path;

use fingerpost_hg::{Limits, Rev, delta};
use fingerpost_hg_proto::cbor::Value;

use super::clone::nodes;
use crate::client::{call, call_all};
use crate::world::World;
use crate::written::{self, Written};

/// What a server is given here.
const LIMITS: Limits = Limits {
    text_bytes_max: 1 << 20,
    chunk_bytes_max: 1 << 20,
    index_bytes_max: 1 << 20,
    delta_bytes_batch: 1 << 16,
    read_ahead_bytes: 1 << 14,
};
/// How much more memory an answer may take at any time.
const GROWTH_MAX: u64 = 48 << 20;
const GIB: u64 = 1 << 30;

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}

/// A zstd frame of `bytes` zeros: a block of four bytes for each 128 KiB of
/// them. `recorded` is the length that its header tells, if it tells one.
fn zstd_zeros(bytes: u64, recorded: Option<u64>) -> Vec<u8> {
    const BLOCK: u64 = 128 << 10;
    const RUN: u64 = 1 << 1;
    let mut frame = b"\x28\xb5\x2f\xfd".to_vec();
    match recorded {
        // No length, a window of 8 MiB.
        None => frame.extend([0x00, 0x68]),
        Some(recorded) => {
            frame.extend([0xc0, 0x68]);
            frame.extend(recorded.to_le_bytes());
        }
    }
    let blocks = bytes.div_ceil(BLOCK);
    for at in 0..blocks {
        let len = BLOCK.min(bytes - at * BLOCK);
        let head = u64::from(at + 1 == blocks) | RUN | len << 3;
        frame.extend(&head.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

fn zlib_zeros(bytes: usize) -> Vec<u8> {
    let mut written = Written::new(false);
    // The third revision of a log is packed by zlib.
    for text in [&b""[..], b"", &vec![0; bytes]] {
        written.commit(&[("zeros", text)]);
    }
    written.filelogs["zeros"].clone().chunks_mut()[2].clone()
}

/// Which log has the bomb.
#[derive(Clone, Copy, Debug)]
enum Log {
    Changelog,
    Manifest,
    File,
}

const FILE: &str = "file";

/// What is stored as the last revision of a log, and what its index says.
#[derive(Clone, Copy)]
struct Bomb<'a> {
    log: Log,
    chunk: &'a [u8],
    /// As a text, or as a delta.
    is_text: bool,
    text_len: u32,
    stored_len: u32,
}

impl Bomb<'_> {
    /// One byte without meaning in the place of a file's text, of this length.
    fn nothing(stored_len: u32) -> Bomb<'static> {
        Bomb {
            log: Log::File,
            chunk: b"u",
            is_text: false,
            text_len: 13,
            stored_len,
        }
    }
}

/// A repository with a bomb.
fn with_bomb(bomb: Bomb<'_>) -> (World, Written) {
    let mut written = Written::new(false);
    written.commit(&[(FILE, b"first\n")]);
    written.commit(&[(FILE, b"first\nsecond\n")]);
    let revlog = match bomb.log {
        Log::Changelog => &mut written.changelog,
        Log::Manifest => &mut written.manifests,
        Log::File => written.filelogs.get_mut(FILE).unwrap(),
    };
    *revlog.chunks_mut().last_mut().unwrap() = bomb.chunk.to_vec();
    let entry = revlog.entries_mut().last_mut().unwrap();
    entry[8..12].copy_from_slice(&bomb.stored_len.to_be_bytes());
    entry[12..16].copy_from_slice(&bomb.text_len.to_be_bytes());
    if bomb.is_text {
        entry[16..20].copy_from_slice(&1_u32.to_be_bytes());
    }
    let mut world = World::empty();
    written.write(&world.root());
    world.mercurial.limits = LIMITS;
    world.mercurial.request_bytes_max = 8 << 20;
    (world, written)
}

/// Asks for everything in ways that need the bomb; each complaint.
async fn complaints(world: &World, written: &Written) -> Vec<String> {
    let door = world.door();
    let changesets = written.changesets();
    let fields = (
        "fields",
        Value::set([Value::bytes("revision"), Value::bytes("parents")]),
    );
    let specifier = [
        (&b"type"[..], Value::bytes("changesetexplicit")),
        (b"nodes", nodes(&changesets)),
    ];
    let revisions = ("revisions", Value::Array(vec![Value::record(specifier)]));
    let manifests = written::nodes(&written.manifests);
    let files = written::nodes(&written.filelogs[FILE]);
    let tree = ("tree", Value::bytes(""));
    let path = ("path", Value::bytes(FILE));
    let raw = Value::Array(vec![Value::bytes("changelog"), Value::bytes("manifestlog")]);
    let all: [(&str, Vec<(&str, Value)>); 6] = [
        ("changesetdata", vec![revisions.clone(), fields.clone()]),
        (
            "manifestdata",
            vec![("nodes", nodes(&manifests)), tree, fields.clone()],
        ),
        ("filesdata", vec![revisions.clone(), fields.clone()]),
        (
            "filesdata",
            vec![
                revisions,
                fields.clone(),
                ("haveparents", Value::Bool(true)),
            ],
        ),
        ("filedata", vec![path, ("nodes", nodes(&files)), fields]),
        ("rawstorefiledata", vec![("files", raw)]),
    ];
    let mut complaints = Vec::new();
    for (name, args) in all {
        let answered = call_all(&door, &[(name, args)]).await;
        match answered.is_frames() {
            true => {
                let told = answered.told(1).remove(0);
                complaints.extend(told.complaint().map(str::to_owned));
            }
            false => complaints.push(answered.text()),
        }
    }
    complaints
}

/// Whether the bomb was met and refused by the name of its log, in little memory.
async fn check(bomb: Bomb<'_>) {
    let (world, written) = with_bomb(bomb);
    let before = peak();
    let complaints = complaints(&world, &written).await;
    // The kernel counts in batches for each processor, so it may be less.
    let grown = peak().saturating_sub(before);
    let name = match bomb.log {
        Log::Changelog => "00changelog.",
        Log::Manifest => "00manifest.",
        Log::File => "data/file.",
    };
    let (log, text_len, stored_len) = (bomb.log, bomb.text_len, bomb.stored_len);
    let case = format!("{log:?}, {text_len} and {stored_len}: {complaints:?}");
    assert!(!complaints.is_empty(), "{case}");
    assert!(
        complaints
            .iter()
            .all(|text| text.starts_with('/') && text.contains(name)),
        "{case}"
    );
    assert!(grown < GROWTH_MAX, "{grown} bytes more; {case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_in_few_bytes_is_refused_whatever_the_lengths_say() {
    let bombs = [
        zstd_zeros(GIB, None),
        zstd_zeros(GIB, Some(GIB)),
        zstd_zeros(GIB, Some(10)),
        zstd_zeros(64, Some(GIB)),
        zstd_zeros(64, Some(u64::MAX - 1)),
        zlib_zeros(16 << 20),
    ];
    for bomb in &bombs {
        assert!(bomb.len() < 256 << 10);
        for log in [Log::Changelog, Log::Manifest, Log::File] {
            for text_len in [0, 13, 1 << 20, 1 << 30, i32::MAX as u32, u32::MAX] {
                for is_text in [true, false] {
                    let stored_len = bomb.len() as u32;
                    let chunk = bomb.as_slice();
                    let bomb = Bomb {
                        log,
                        chunk,
                        is_text,
                        text_len,
                        stored_len,
                    };
                    check(bomb).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_lengths_beyond_the_file_and_the_limits_are_refused() {
    for log in [Log::Changelog, Log::Manifest, Log::File] {
        for stored_len in [100, 1 << 20, (1 << 20) + 1, i32::MAX as u32, u32::MAX] {
            let bomb = Bomb::nothing(stored_len);
            check(Bomb { log, ..bomb }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_that_is_mostly_a_hole_is_not_read_whole() {
    let (world, written) = with_bomb(Bomb::nothing(i32::MAX as u32));
    make_sparse(&world.root().join(".hg/store/data/file.d"), 4 * GIB);
    let before = peak();
    let complaints = complaints(&world, &written).await;
    assert!(
        complaints.iter().all(|text| text.contains("data/file.")),
        "{complaints:?}"
    );
    assert!(!complaints.is_empty() && peak() - before < GROWTH_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_mostly_a_hole_is_not_read_whole() {
    for name in ["00changelog.i", "00manifest.i", "data/file.i"] {
        let (world, written) = with_bomb(Bomb::nothing(1));
        make_sparse(&world.root().join(".hg/store").join(name), 4 * GIB);
        let before = peak();
        let door = world.door();
        let files = written::nodes(&written.filelogs[FILE]);
        let args = [("path", Value::bytes(FILE)), ("nodes", nodes(&files))];
        let answered = call_all(&door, &[("filedata", args.to_vec()), ("branchmap", vec![])]).await;
        assert!(
            answered.text().contains(name) || name == "00manifest.i",
            "{answered:?}"
        );
        assert!(peak() - before < GROWTH_MAX);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_files_without_end_are_refused() {
    for name in [
        "store/phaseroots",
        "store/obsstore",
        "bookmarks",
        "requires",
        "hgrc",
    ] {
        let (world, _) = with_bomb(Bomb::nothing(1));
        let path = world.root().join(".hg").join(name);
        make_sparse(&path, 4 * GIB);
        let before = peak();
        let answered = call_all(&world.door(), &[("heads", vec![])]).await;
        let file = name.trim_start_matches("store/");
        // What is wrong with these is for the log alone.
        let is_setup = ["requires", "hgrc"].contains(&name);
        assert!(
            !answered.is_frames() && (answered.text().contains(file) || is_setup),
            "{name}: {}",
            answered.text()
        );
        // The kernel counts in batches for each processor, so it may be less.
        let grown = peak().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{name}: {grown} bytes more");
    }
}

/// Makes a file this long without writing it.
fn make_sparse(path: &Path, bytes: u64) {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap();
    file.set_len(bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_that_make_more_than_a_text_may_be_are_refused() {
    // Each delta puts half a megabyte of zeros before what is there.
    let added = delta_of_zeros(512 << 10);
    assert_eq!(delta::hunks(&added).count(), 1);
    let mut written = Written::new(false);
    for number in 0..4_usize {
        written.commit(&[(FILE, format!("{number}\n").as_bytes())]);
    }
    let filelog = written.filelogs.get_mut(FILE).unwrap();
    for at in 1..4 {
        filelog.chunks_mut()[at] = zstd_delta(&added);
        let offset: usize = filelog.chunks_mut()[..at].iter().map(Vec::len).sum();
        let len = filelog.chunks_mut()[at].len() as u32;
        let entry = &mut filelog.entries_mut()[at];
        entry[..8].copy_from_slice(&((offset as u64) << 16).to_be_bytes());
        entry[8..12].copy_from_slice(&len.to_be_bytes());
        entry[12..16].fill(0xff);
    }
    let mut world = World::empty();
    written.write(&world.root());
    world.mercurial.limits = LIMITS;
    let complaints = complaints(&world, &written).await;
    assert!(
        complaints.iter().any(|text| text.contains("data/file.i")),
        "{complaints:?}"
    );
    let tip = Rev::from_index(3).unwrap();
    let nodes = nodes([&written.filelogs[FILE].node(tip)]);
    let args = [
        ("path", Value::bytes(FILE)),
        ("nodes", nodes),
        ("fields", Value::set([Value::bytes("revision")])),
    ];
    let told = call(&world.door(), "filedata", &args).await;
    let text = told.complaint().unwrap();
    assert!(text.contains("over the limit of 1048576"), "{text}");
}

fn delta_of_zeros(bytes: usize) -> Vec<u8> {
    fingerpost_hg::testing::hunk(0, 0, &vec![0; bytes])
}

fn zstd_delta(delta: &[u8]) -> Vec<u8> {
    let (world, mut written) = (World::empty(), Written::new(false));
    written.commit(&[(FILE, delta)]);
    drop(world);
    // The first revision of a log is packed by zstd.
    written.filelogs.get_mut(FILE).unwrap().chunks_mut()[0].clone()
}
