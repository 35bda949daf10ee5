use std::fs;

use super::*;
use crate::testing::{
    Packing, Revision, RevlogWriter, Stored, empty_repository, open_store, unpack_fixture,
};
use crate::texts::Texts;

/// Texts of a file that changes a line at a time, so that deltas are short.
fn history(count: usize) -> Vec<Vec<u8>> {
    let mut lines: Vec<String> = (0..40)
        .map(|line| format!("line {line} of the file\n"))
        .collect();
    let texts = (0..count).map(|rev| {
        lines[rev * 7 % 40] = format!("line changed in revision {rev}\n");
        lines.concat().into_bytes()
    });
    texts.collect()
}

fn writer_of(
    texts: &[Vec<u8>],
    inline: bool,
    general_delta: bool,
    packing: Packing,
) -> RevlogWriter {
    let mut writer = RevlogWriter::new(inline, general_delta);
    for (index, text) in texts.iter().enumerate() {
        let link_rev = index as u32;
        let revision = match index.checked_sub(1) {
            Some(parent) if index % 10 != 0 => Revision::child(Rev(parent as u32), text, link_rev),
            Some(parent) => Revision {
                parents: [Some(Rev(parent as u32)), None],
                ..Revision::root(text, link_rev)
            },
            None => Revision::root(text, link_rev),
        };
        writer.add(Revision {
            packing,
            ..revision
        });
    }
    writer
}

fn read(writer: &RevlogWriter) -> Result<Revlog, StoreError> {
    let (index, data) = writer.bytes();
    Revlog::from_bytes("data/f.i", index, data, Limits::default())
}

#[test]
fn every_layout_reads_the_same() {
    let texts = history(25);
    for packing in [
        Packing::Literal,
        Packing::Zlib,
        Packing::Zstd,
        Packing::ZstdStream,
    ] {
        for (inline, general_delta) in [(true, true), (true, false), (false, true), (false, false)]
        {
            let writer = writer_of(&texts, inline, general_delta, packing);
            let revlog = read(&writer).unwrap();
            assert_eq!(revlog.len(), 25);
            assert_eq!(
                (revlog.is_inline(), revlog.is_general_delta()),
                (inline, general_delta)
            );
            let mut reader = Texts::new(0);
            for rev in revlog.revs().rev() {
                assert_eq!(reader.text(&revlog, rev).unwrap(), texts[rev.index()]);
                assert_eq!(revlog.node(rev), writer.node(rev));
                assert_eq!(revlog.rev(&writer.node(rev)), Some(rev));
                assert_eq!(revlog.link_rev(rev), rev.0);
            }
        }
    }
}

#[test]
fn what_is_not_there_reads_as_the_null_revision() {
    let revlog = read(&writer_of(&history(3), true, true, Packing::Literal)).unwrap();
    let beyond = Rev(3);
    assert!(revlog.node(beyond).is_null());
    assert_eq!(revlog.parents(beyond), [None, None]);
    assert_eq!(revlog.delta_base(beyond), None);
    assert_eq!(revlog.text_len(beyond), None);
    assert_eq!(revlog.checked(3), None);
    assert!(revlog.chunk(beyond, &mut Scratch::default()).is_err());
    assert_eq!(revlog.rev(&Node::NULL), None);
}

#[test]
fn a_split_file_is_read_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let texts = history(200);
    let store = empty_repository(dir.path());
    writer_of(&texts, false, true, Packing::Zstd).write_filelog(&store, "src/Long.c");
    let store = open_store(dir.path());
    let revlog = Revlog::open(&store, RevlogName::Filelog(b"src/Long.c")).unwrap();
    assert_eq!(revlog.file(), "data/src/_long.c.i");
    let mut reader = Texts::new(1 << 20);
    for rev in revlog.revs() {
        assert_eq!(reader.text(&revlog, rev).unwrap(), texts[rev.index()]);
    }
}

#[test]
fn a_missing_file_has_no_revisions() {
    let dir = tempfile::tempdir().unwrap();
    empty_repository(dir.path());
    let store = open_store(dir.path());
    for path in [
        "none",
        "no/such/dir",
        "../escape",
        "a//b",
        "",
        "/abs",
        "nul\0",
    ] {
        let revlog = Revlog::open(&store, RevlogName::Filelog(path.as_bytes())).unwrap();
        assert!(revlog.is_empty() && !revlog.exists());
        let error = revlog.require(&Node::from_bytes([1; 20])).unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    }
}

#[test]
fn a_missing_data_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_repository(dir.path());
    writer_of(&history(3), false, true, Packing::Zlib).write_filelog(&store, "f");
    fs::remove_file(store.join("data/f.d")).unwrap();
    let error = Revlog::open(&open_store(dir.path()), RevlogName::Filelog(b"f")).unwrap_err();
    assert!(matches!(&error, StoreError::Missing { file } if file == "data/f.d"));
}

#[test]
fn a_short_data_file_is_an_error_that_may_pass() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_repository(dir.path());
    writer_of(&history(3), false, true, Packing::Zlib).write_filelog(&store, "f");
    let data = fs::read(store.join("data/f.d")).unwrap();
    fs::write(store.join("data/f.d"), &data[..data.len() - 1]).unwrap();
    let error = Revlog::open(&open_store(dir.path()), RevlogName::Filelog(b"f")).unwrap_err();
    assert!(
        error.may_be_stale() && error.to_string().contains("data/f.d"),
        "{error}"
    );
}

#[test]
fn a_named_pipe_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_repository(dir.path());
    rustix::fs::mknodat(
        rustix::fs::CWD,
        store.join("00changelog.i"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let error = Revlog::open(&open_store(dir.path()), RevlogName::Changelog).unwrap_err();
    assert!(error.to_string().contains("not a regular file"));
}

#[test]
fn an_entry_in_the_writing_is_left_out() {
    for inline in [true, false] {
        let (index, data) = writer_of(&history(3), inline, true, Packing::Zlib).bytes();
        let cut = index[..index.len() - 1].to_vec();
        let revlog = Revlog::from_bytes("f.i", cut, data.clone(), Limits::default()).unwrap();
        assert_eq!(revlog.len(), 2);
        for len in [0, 3, 4, 63] {
            let cut = index[..len].to_vec();
            let revlog = Revlog::from_bytes("f.i", cut, data.clone(), Limits::default());
            assert!(revlog.unwrap().is_empty());
        }
    }
}

/// Writes a number into the entry of a revision.
fn damaged(inline: bool, rev: usize, at: usize, bytes: &[u8]) -> Result<Revlog, StoreError> {
    let mut writer = writer_of(&history(4), inline, true, Packing::Zlib);
    writer.entries_mut()[rev][at..at + bytes.len()].copy_from_slice(bytes);
    read(&writer)
}

#[test]
fn impossible_entries_are_refused() {
    let minus_two = (-2_i32).to_be_bytes();
    let three = 3_u32.to_be_bytes();
    for inline in [true, false] {
        for (rev, at, bytes) in [
            (2, 24, three),
            (2, 28, three),
            (2, 24, minus_two),
            (2, 16, three),
            (2, 16, minus_two),
            (2, 20, minus_two),
            (2, 12, minus_two),
            (2, 8, minus_two),
            (2, 2, [0; 4]),
            (0, 24, [0; 4]),
        ] {
            let error = damaged(inline, rev, at, &bytes).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{at}: {error}");
            assert!(
                error.to_string().contains(&format!("revision {rev}")),
                "{error}"
            );
        }
    }
}

#[test]
fn other_formats_are_refused() {
    for header in [0_u32, 0xdead, 0x0004_0001, 0x0000_0002, 0xd34d] {
        let error = damaged(false, 0, 0, &header.to_be_bytes()).unwrap_err();
        assert!(
            matches!(error, StoreError::UnsupportedFormat { .. }),
            "{error}"
        );
    }
}

#[test]
fn unknown_flags_are_refused_where_they_matter() {
    let revlog = damaged(true, 1, 6, &[0x08, 0]).unwrap();
    let mut reader = Texts::new(0);
    assert!(reader.text(&revlog, Rev(0)).is_ok());
    let error = reader.text(&revlog, Rev(1)).unwrap_err();
    assert!(
        matches!(error, StoreError::UnknownFlags { flags: 0x0800, .. }),
        "{error}"
    );
}

#[test]
fn a_base_of_minus_one_is_a_full_text() {
    let mut writer = RevlogWriter::new(true, true);
    writer.add(Revision::root(b"text\n", 0));
    writer.entries_mut()[0][16..20].copy_from_slice(&[0xff; 4]);
    let revlog = read(&writer).unwrap();
    assert_eq!(revlog.delta_base(Rev(0)), None);
    assert_eq!(Texts::new(0).text(&revlog, Rev(0)).unwrap(), "text\n");
}

#[test]
fn an_empty_delta_repeats_its_base() {
    let mut writer = RevlogWriter::new(true, true);
    let first = writer.add(Revision::root(b"text\n", 0));
    let second = writer.add(Revision {
        stored: Stored::Delta(first),
        ..Revision::child(first, b"text\n", 1)
    });
    let revlog = read(&writer).unwrap();
    assert_eq!(revlog.stored_len(second), 0);
    assert_eq!(Texts::new(0).text(&revlog, second).unwrap(), "text\n");
}

#[test]
fn chunks_that_lie_are_refused() {
    let texts = history(2);
    for (bytes, what) in [
        (b"(\xb5\x2f\xfd junk".to_vec(), "zstd"),
        (b"x\x9c junk".to_vec(), "zlib"),
        (b"q".to_vec(), "unknown way"),
    ] {
        let mut writer = writer_of(&texts, false, true, Packing::Literal);
        let len = bytes.len() as u32;
        writer.chunks_mut()[1] = bytes;
        writer.entries_mut()[1][8..12].copy_from_slice(&len.to_be_bytes());
        let revlog = read(&writer).unwrap();
        let error = revlog.chunk(Rev(1), &mut Scratch::default()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_bomb_is_not_inflated() {
    for packing in [Packing::Zlib, Packing::Zstd, Packing::ZstdStream] {
        let zeros = vec![0; 8 << 20];
        let mut writer = RevlogWriter::new(true, true);
        let revision = Revision {
            packing,
            ..Revision::root(b"short", 0)
        };
        writer.add_stored(revision, None, &zeros);
        let revlog = read(&writer).unwrap();
        let mut scratch = Scratch::default();
        let error = revlog.chunk(Rev(0), &mut scratch).unwrap_err();
        assert!(
            matches!(error, StoreError::CorruptRevision { .. }),
            "{packing:?}: {error}"
        );
        let limits = Limits {
            chunk_bytes_max: 1 << 20,
            ..Limits::default()
        };
        let (index, data) = writer.bytes();
        let mut revlog = Revlog::from_bytes("f.i", index, data, limits).unwrap();
        revlog.general_delta = true;
        assert!(revlog.chunk(Rev(0), &mut scratch).is_err());
    }
}

#[test]
fn prefixes_are_of_one_node_or_of_more() {
    let revlog = read(&writer_of(&history(30), true, true, Packing::Zlib)).unwrap();
    let hex = revlog.node(Rev(7)).to_hex();
    let found = |hex: &[u8]| -> Vec<Rev> {
        let prefix = NodePrefix::from_hex(hex).unwrap();
        revlog.revs_with_prefix(prefix).collect()
    };
    let upper = hex[..16].to_ascii_uppercase();
    for digits in [&hex[..], &hex[..15], &upper] {
        assert_eq!(found(digits), [Rev(7)]);
    }
    // Of thirty nodes two share their first digit.
    let first_digits = revlog.revs().map(|rev| revlog.node(rev).to_hex()[0]);
    assert!(
        first_digits
            .into_iter()
            .any(|digit| found(&[digit]).len() > 1)
    );
    assert_eq!(found(&[b'f'; 40]), []);
    assert_eq!(NodePrefix::from_hex(b""), None);
    assert_eq!(NodePrefix::from_hex(&[b'a'; 41]), None);
    assert_eq!(NodePrefix::from_hex(b"xyz"), None);
}

#[test]
fn a_large_index_finds_every_node() {
    let texts = history(500);
    let revlog = read(&writer_of(&texts, false, true, Packing::Literal)).unwrap();
    for rev in revlog.revs() {
        assert_eq!(revlog.rev(&revlog.node(rev)), Some(rev));
    }
    assert_eq!(revlog.rev(&Node::from_bytes([3; 20])), None);
}

#[test]
fn the_recorded_repository_reads() {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("sample-dothg", dir.path());
    let store = open_store(dir.path());
    let names = [
        RevlogName::Changelog,
        RevlogName::Manifest,
        RevlogName::Filelog(b"src/a.txt"),
        RevlogName::Filelog(b"big.bin"),
        RevlogName::Filelog(b".hgtags"),
    ];
    let mut reader = Texts::new(1 << 20);
    for name in names {
        let revlog = Revlog::open(&store, name).unwrap();
        assert!(!revlog.is_empty());
        for rev in revlog.revs() {
            let text = reader.text(&revlog, rev).unwrap();
            assert_eq!(revlog.text_len(rev), Some(text.len() as u32));
        }
    }
}

mod growing;
