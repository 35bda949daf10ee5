//! The fuzz targets as properties: over arbitrary bytes, and over damaged
//! forms of what is right.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::revlog::Rev;
use crate::testing::{Packing, Revision, RevlogWriter, hunk};

/// Something to change in some bytes: where, and what to.
type Damage = (prop::sample::Index, u8);

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for (at, byte) in damage {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
    }
    bytes
}

/// A revlog of short texts in any layout, as the target takes it.
fn revlog_bytes(inline: bool, general_delta: bool, texts: &[String]) -> Vec<u8> {
    let mut writer = RevlogWriter::new(inline, general_delta);
    for (index, text) in texts.iter().enumerate() {
        let packing = [
            Packing::Literal,
            Packing::Zlib,
            Packing::Zstd,
            Packing::ZstdStream,
        ][index % 4];
        let revision = match index.checked_sub(1) {
            Some(parent) if index % 5 != 4 => {
                Revision::child(Rev(parent as u32), text.as_bytes(), index as u32)
            }
            _ => Revision::root(text.as_bytes(), index as u32),
        };
        writer.add(Revision {
            packing,
            ..revision
        });
    }
    let (index, data) = writer.bytes();
    let cut = (index.len() as u16).to_be_bytes();
    [&cut[..], &index, &data].concat()
}

fn packed(bytes: &[u8], packing: Packing) -> Vec<u8> {
    let mut writer = RevlogWriter::new(false, true);
    writer.add(Revision {
        packing,
        ..Revision::root(bytes, 0)
    });
    writer.bytes().1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_bytes_break_nothing(data in vec(any::<u8>(), 0..300)) {
        for (_, target) in TARGETS {
            target(&data);
        }
    }

    #[test]
    fn damaged_revlogs_break_nothing(
        inline in any::<bool>(),
        general_delta in any::<bool>(),
        texts in vec("[ab\n]{0,30}", 0..20),
        damage in vec(any::<Damage>(), 0..4),
    ) {
        let whole = revlog_bytes(inline, general_delta, &texts);
        let header = whole[..2].to_vec();
        fuzz_revlog(&[header, damaged(whole[2..].to_vec(), &damage)].concat());
    }

    #[test]
    fn damaged_chunks_break_nothing(
        run in 0..200_000_usize,
        salt in vec(any::<u8>(), 0..30),
        packing in 0..4_usize,
        damage in vec(any::<Damage>(), 0..3),
    ) {
        let bytes = [&salt[..], &vec![b'.'; run], &salt].concat();
        let packing = [Packing::Literal, Packing::Zlib, Packing::Zstd, Packing::ZstdStream][packing];
        fuzz_chunks(&damaged(packed(&bytes, packing), &damage));
    }

    #[test]
    fn damaged_delta_chains_break_nothing(
        base in vec(any::<u8>(), 0..40),
        hunks in vec((0..30_usize, 0..5_usize, vec(any::<u8>(), 0..8)), 0..12),
        damage in vec(any::<Damage>(), 0..2),
    ) {
        let mut input = vec![base.len() as u8];
        input.extend(&base);
        for (start, len, data) in hunks {
            let delta = damaged(hunk(start, start + len, &data), &damage);
            input.push(delta.len() as u8);
            input.extend(delta);
        }
        fuzz_deltas(&input);
    }

    #[test]
    fn paths_can_be_read_back(
        parts in vec("[ -~]{1,12}|aux|com1\\.x|x{90}|[a-z]{1,4}\\.(i|d|hg)|\\.[a-z]{1,3}|\u{e9}", 1..12),
    ) {
        fuzz_path_encoding(parts.join("/").as_bytes());
    }

    #[test]
    fn damaged_manifests_break_nothing(
        paths in prop::collection::btree_set("[a-c./]{1,5}", 0..10),
        flag in prop::sample::select(&["", "x", "l", "t"][..]),
        damage in vec(any::<Damage>(), 0..2),
    ) {
        let lines = paths.iter().map(|path| format!("{path}\0{}{flag}\n", "0a".repeat(20)));
        let text: String = lines.collect();
        fuzz_manifest(&damaged(text.into_bytes(), &damage));
    }

    #[test]
    fn metadata_breaks_nothing(text in "(\u{1}\n)?(copy: [a-z]{0,3}\n)?(copyrev: [0-9a-f]{38,40}\n)?(\u{1}\n)?.{0,9}") {
        fuzz_manifest(text.as_bytes());
    }

    #[test]
    fn made_deltas_lead_from_text_to_text(base in "[ab\n]{0,60}", text in "[ab\n]{0,60}") {
        let part = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        fuzz_text_delta(&[part(&base), part(&text)].concat());
    }

    #[test]
    fn arguments_of_any_form_are_taken_or_refused(value in any_value(), name in "args|nodes|revisions|pathfilter") {
        use fingerpost_hg_proto::{Args, CommandRequest};
        let args: Args = [(name, value)].into_iter().collect();
        let mut map = Vec::new();
        CommandRequest::new("filesdata", args).encode(&mut map);
        fuzz_arguments(&map);
    }
}

/// Values that are arguments more often than chance makes them.
fn any_value() -> impl Strategy<Value = fingerpost_hg_proto::cbor::Value> {
    use fingerpost_hg_proto::cbor::Value;
    let words: &[&[u8]] = &[
        b"changesetexplicit",
        b"changesetexplicitdepth",
        b"changesetdagrange",
        b"path:a",
        b"path:.",
        b"rootfilesin:a/b",
        b"glob:*",
        &[7; 20],
    ];
    let keys: &[&[u8]] = &[
        b"type", b"nodes", b"roots", b"heads", b"depth", b"include", b"exclude",
    ];
    let leaf = prop_oneof![
        4 => prop::sample::select(words).prop_map(Value::bytes),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<u32>().prop_map(|number| Value::from(u64::from(number))),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let pair = (prop::sample::select(keys), inner.clone());
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::Array),
            vec(pair, 0..5).prop_map(Value::record),
        ]
    })
}
