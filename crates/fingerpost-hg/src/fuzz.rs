//! Fuzz targets: plain functions over bytes that panic when something that
//! must hold does not. Each decoder has one. They are for tests and fuzzers,
//! never for a server.

use crate::delta::{self, Fold};
use crate::filelog::FileText;
use crate::manifest::{ManifestEntry, find_in_manifest, parse_manifest};
use crate::revlog::{NodePrefix, Revlog, Scratch};
use crate::store::{Limits, PathEncoding};
use crate::text_delta::append_text_delta;
use crate::texts::Texts;

mod arguments;
mod state;

pub use arguments::fuzz_arguments;
pub use state::{
    fuzz_bookmarks, fuzz_changeset, fuzz_dag, fuzz_hgtags, fuzz_obsstore, fuzz_phaseroots,
};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 13] = [
    ("revlog", fuzz_revlog),
    ("chunks", fuzz_chunks),
    ("deltas", fuzz_deltas),
    ("path_encoding", fuzz_path_encoding),
    ("manifest", fuzz_manifest),
    ("text_delta", fuzz_text_delta),
    ("arguments", fuzz_arguments),
    ("changeset", fuzz_changeset),
    ("phaseroots", fuzz_phaseroots),
    ("bookmarks", fuzz_bookmarks),
    ("obsstore", fuzz_obsstore),
    ("hgtags", fuzz_hgtags),
    ("dag", fuzz_dag),
];

/// Small enough for short inputs to pass them.
const LIMITS: Limits = Limits {
    text_bytes_max: 1 << 16,
    chunk_bytes_max: 1 << 17,
    index_bytes_max: 1 << 20,
    delta_bytes_batch: 64,
    read_ahead_bytes: 64,
};

/// An index, and the data of one that is not inline after it: it is refused, or
/// every revision has parents and bases before it, is found by its node, and
/// is text or an error. The first two bytes say where the data begins.
pub fn fuzz_revlog(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first_chunk() else {
        return;
    };
    let cut = usize::from(u16::from_be_bytes(*cut)) % (bytes.len() + 1);
    let (index, data) = bytes.split_at(cut);
    let Ok(revlog) = Revlog::from_bytes("f.i", index.to_vec(), data.to_vec(), LIMITS) else {
        return;
    };
    assert!(revlog.len() <= index.len() / 64);
    let mut texts = Texts::new(1 << 16);
    for rev in revlog.revs() {
        let parents = revlog.parents(rev).into_iter().flatten();
        assert!(
            parents
                .chain(revlog.delta_base(rev))
                .all(|other| other < rev)
        );
        let found = revlog.rev(&revlog.node(rev)).expect("the node is there");
        assert!(found <= rev && revlog.node(found) == revlog.node(rev));
        let prefix = NodePrefix::from_hex(&revlog.node(rev).to_hex()).expect("it has 40 digits");
        assert!(revlog.revs_with_prefix(prefix).any(|other| other == rev));
        if let Ok(text) = texts.text(&revlog, rev) {
            assert!(text.len() as u64 <= LIMITS.text_bytes_max);
            assert!(revlog.is_verified(rev));
            assert_eq!(texts.text(&revlog, rev).ok(), Some(text));
        }
    }
}

/// A stored piece of any packing: its content is within the limit, or it is
/// refused; what is read with used buffers is what is read with fresh ones.
pub fn fuzz_chunks(input: &[u8]) {
    let mut entry = [0; 64];
    entry[..4].copy_from_slice(&0x0003_0001_u32.to_be_bytes());
    entry[8..12].copy_from_slice(&(input.len() as u32).to_be_bytes());
    // The length of the text is not recorded, there are no parents.
    entry[12..16].fill(0xff);
    entry[24..32].fill(0xff);
    let bytes = [&entry, input].concat();
    let revlog = Revlog::from_bytes("f.i", bytes, Vec::new(), LIMITS).expect("the entry is right");
    let rev = revlog.tip().expect("there is one revision");
    let mut scratch = Scratch::default();
    let first = revlog.chunk(rev, &mut scratch).map(<[u8]>::to_vec).ok();
    let again = revlog.chunk(rev, &mut scratch).map(<[u8]>::to_vec).ok();
    assert_eq!(first, again);
    if let Some(content) = first {
        assert!(content.len() as u64 <= LIMITS.chunk_bytes_max);
    }
}

/// A base and a chain of deltas, each behind its length in a byte: folding
/// them is applying one after another.
pub fn fuzz_deltas(input: &[u8]) {
    let mut parts = lengthed(input);
    let base = parts.next().unwrap_or_default();
    let (mut text, mut fold) = (Ok(base.to_vec()), Fold::default());
    let mut folded = fold.start(base.len());
    for part in parts {
        text = text.and_then(|text| {
            let mut next = Vec::new();
            delta::apply(&text, part, &mut next).map(|()| next)
        });
        folded = folded.and_then(|()| {
            let start = fold.data.len();
            fold.data.extend_from_slice(part);
            fold.push(start)
        });
    }
    let folded = folded.map(|()| {
        let mut out = Vec::new();
        fold.apply(base, &mut out);
        out
    });
    assert_eq!(folded, text);
}

/// Two texts, each behind its length in a byte, and a delta between them that
/// is made here: it leads from the one to the other.
pub fn fuzz_text_delta(input: &[u8]) {
    let mut parts = lengthed(input);
    let base = parts.next().unwrap_or_default();
    let text = parts.next().unwrap_or_default();
    let (mut made, mut out) = (Vec::new(), Vec::new());
    append_text_delta(base, text, &mut made);
    assert_eq!(delta::apply(base, &made, &mut out), Ok(()));
    assert_eq!(out, text);
    assert!(base != text || made.is_empty());
}

/// Pieces of the input that begin with their length in a byte.
fn lengthed(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&len, rest) = input.split_first()?;
        let (part, rest) = rest.split_at(usize::from(len).min(rest.len()));
        input = rest;
        Some(part)
    })
}

/// Names of store files: ASCII without special characters, inside of the
/// store, and those that are not hashed can be read back.
pub fn fuzz_path_encoding(path: &[u8]) {
    let unusual = |part: &[u8]| part.is_empty() || part == b"." || part == b"..";
    if path.contains(&0) || path.split(|&byte| byte == b'/').any(unusual) {
        return;
    }
    let whole = [b"data/", path, b".i"].concat();
    for encoding in [
        PathEncoding::Plain,
        PathEncoding::Fncache,
        PathEncoding::Dotencode,
    ] {
        let name = encoding.encode(&whole);
        assert!(name.bytes().all(|byte| (32..127).contains(&byte)));
        assert!(
            !name
                .bytes()
                .any(|byte| b"\\:*?\"<>|".contains(&byte) || byte.is_ascii_uppercase())
        );
        assert!(name.split('/').all(|part| !unusual(part.as_bytes())));
        match name.strip_prefix("dh/") {
            Some(_) => assert!(encoding != PathEncoding::Plain),
            None => assert_eq!(decoded(&name), whole),
        }
    }
}

/// The path of a name that is not hashed.
fn decoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'_' => out.push(bytes.next().map_or(b'_', |byte| byte.to_ascii_uppercase())),
            b'~' => {
                let digits =
                    [digit(bytes.next()), digit(bytes.next())].map(Option::unwrap_or_default);
                out.push((digits[0] * 16 + digits[1]) as u8);
            }
            _ => out.push(byte),
        }
    }
    let text: Vec<Vec<u8>> = out
        .split(|&byte| byte == b'/')
        .map(<[u8]>::to_vec)
        .collect();
    let (base, dirs) = text.split_last().expect("a split has parts");
    let unmarked = |dir: &Vec<u8>| match dir.strip_suffix(b".hg") {
        Some(rest)
            if [&b".hg"[..], b".i", b".d"]
                .iter()
                .any(|end| rest.ends_with(end)) =>
        {
            rest.to_vec()
        }
        _ => dir.clone(),
    };
    let mut parts: Vec<Vec<u8>> = dirs.iter().map(unmarked).collect();
    parts.push(base.clone());
    parts.join(&b'/')
}

/// Texts of manifests and files: what is read in order is found by its path
/// and is the text again when it is written.
pub fn fuzz_manifest(text: &[u8]) {
    let file = FileText::parse(text);
    let frame = file.metadata.map_or(0, |metadata| metadata.len() + 4);
    assert_eq!(frame + file.content.len(), text.len());
    let entries: Result<Vec<ManifestEntry<'_>>, _> = parse_manifest(text).collect();
    let Ok(entries) = entries else {
        let _ = find_in_manifest(text, b"path");
        return;
    };
    let mut written = Vec::new();
    for entry in &entries {
        assert_eq!(find_in_manifest(text, entry.path), Ok(Some(*entry)));
        written.extend_from_slice(entry.path);
        written.push(0);
        written.extend_from_slice(&entry.node.to_hex());
        written.extend_from_slice(entry.flag.as_bytes());
        written.push(b'\n');
    }
    assert!(written.eq_ignore_ascii_case(text));
    assert_eq!(find_in_manifest(text, b"\n"), Ok(None));
}

#[cfg(test)]
mod tests;
