use super::*;
use crate::revlog::{FLAG_CENSORED, RevlogName};
use crate::store::Limits;
use crate::testing::{Revision, RevlogWriter, open_store, unpack_fixture};

fn read(writer: &RevlogWriter, limits: Limits) -> Revlog {
    let (index, data) = writer.bytes();
    Revlog::from_bytes("data/f.i", index, data, limits).unwrap()
}

/// A chain of deltas over a text of many lines.
fn chain(len: usize) -> (RevlogWriter, Vec<Vec<u8>>) {
    let mut lines: Vec<String> = (0..200).map(|line| format!("line {line}\n")).collect();
    let (mut writer, mut texts) = (RevlogWriter::new(false, true), Vec::new());
    for rev in 0..len {
        lines[rev * 31 % 200] = format!("revision {rev}\n");
        let text = lines.concat().into_bytes();
        match rev.checked_sub(1) {
            None => writer.add(Revision::root(&text, 0)),
            Some(parent) => writer.add(Revision::child(Rev(parent as u32), &text, rev as u32)),
        };
        texts.push(text);
    }
    (writer, texts)
}

#[test]
fn small_batches_give_the_same_text() {
    let (writer, texts) = chain(50);
    for delta_bytes_batch in [1, 100, 1 << 20] {
        let revlog = read(
            &writer,
            Limits {
                delta_bytes_batch,
                ..Limits::default()
            },
        );
        assert_eq!(Texts::new(0).text(&revlog, Rev(49)).unwrap(), texts[49]);
    }
}

#[test]
fn texts_are_remembered_up_to_the_budget() {
    let (writer, texts) = chain(20);
    let revlog = read(&writer, Limits::default());
    let mut reader = Texts::new(3 * texts[0].len());
    for rev in revlog.revs() {
        reader.text(&revlog, rev).unwrap();
        let held: usize = reader.recent.iter().map(|recent| recent.text.len()).sum();
        assert!(held <= 3 * texts[0].len());
    }
    assert!(reader.recall(&revlog, Rev(19)).is_some());
    assert!(reader.recall(&revlog, Rev(0)).is_none());
}

#[test]
fn a_text_that_is_held_is_never_written_over() {
    let (writer, texts) = chain(20);
    let revlog = read(&writer, Limits::default());
    let mut reader = Texts::new(0);
    let held: Vec<Bytes> = revlog
        .revs()
        .map(|rev| reader.text(&revlog, rev).unwrap())
        .collect();
    for (held, text) in held.iter().zip(&texts) {
        assert_eq!(held, text);
    }
}

#[test]
fn a_changed_text_is_noticed() {
    let mut writer = RevlogWriter::new(true, true);
    writer.add(Revision::root(b"right text", 0));
    *writer.chunks_mut()[0].last_mut().unwrap() ^= 1;
    let revlog = read(&writer, Limits::default());
    let error = Texts::new(0).text(&revlog, Rev(0)).unwrap_err();
    assert!(matches!(error, StoreError::HashMismatch { .. }) && error.may_be_stale());
}

#[test]
fn a_changed_parent_is_noticed() {
    let (mut writer, _) = chain(4);
    writer.entries_mut()[3][24..28].copy_from_slice(&1_u32.to_be_bytes());
    let revlog = read(&writer, Limits::default());
    let mut reader = Texts::new(0);
    assert!(reader.text(&revlog, Rev(2)).is_ok());
    assert!(matches!(
        reader.text(&revlog, Rev(3)),
        Err(StoreError::HashMismatch { .. })
    ));
}

#[test]
fn a_length_that_lies_is_noticed() {
    let (mut writer, _) = chain(4);
    writer.entries_mut()[2][12..16].copy_from_slice(&7_u32.to_be_bytes());
    let revlog = read(&writer, Limits::default());
    let error = Texts::new(0).text(&revlog, Rev(3)).unwrap_err();
    assert!(error.to_string().contains("another length"), "{error}");
}

#[test]
fn a_small_text_does_not_hold_the_buffer_of_a_large_one() {
    let mut writer = RevlogWriter::new(true, true);
    let large = vec![b'.'; 1 << 20];
    writer.add(Revision::root(&large, 0));
    writer.add(Revision::root(b"small", 1));
    let revlog = read(&writer, Limits::default());
    let mut reader = Texts::new(0);
    for _ in 0..3 {
        reader.text(&revlog, Rev(0)).unwrap();
        let small = Vec::from(reader.text(&revlog, Rev(1)).unwrap());
        assert!(small.capacity() < 1 << 16);
    }
}

#[test]
fn an_unrecorded_length_is_no_fault() {
    let (mut writer, texts) = chain(4);
    for entry in writer.entries_mut() {
        entry[12..16].copy_from_slice(&[0xff; 4]);
    }
    let revlog = read(&writer, Limits::default());
    assert_eq!(revlog.text_len(Rev(3)), None);
    assert_eq!(Texts::new(0).text(&revlog, Rev(3)).unwrap(), texts[3]);
}

#[test]
fn a_text_over_the_limit_is_refused() {
    let (writer, texts) = chain(4);
    let text_bytes_max = texts[3].len() as u64 - 1;
    let revlog = read(
        &writer,
        Limits {
            text_bytes_max,
            ..Limits::default()
        },
    );
    let error = Texts::new(0).text(&revlog, Rev(3)).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
}

#[test]
fn texts_that_are_elsewhere_are_refused() {
    for flags in [FLAG_EXTERNAL, FLAG_ELLIPSIS] {
        let mut writer = RevlogWriter::new(true, true);
        writer.add(Revision {
            flags,
            ..Revision::root(b"pointer", 0)
        });
        let error = Texts::new(0)
            .text(&read(&writer, Limits::default()), Rev(0))
            .unwrap_err();
        assert!(matches!(error, StoreError::External { .. }), "{error}");
    }
}

#[test]
fn a_censored_text_is_its_tombstone() {
    let dir = tempfile::tempdir().unwrap();
    unpack_fixture("censored", dir.path());
    let store = open_store(dir.path());
    let revlog = Revlog::open(&store, RevlogName::Filelog(b"f")).unwrap();
    let mut reader = Texts::new(1 << 20);
    let censored: Vec<Rev> = revlog
        .revs()
        .filter(|rev| revlog.is_censored(*rev))
        .collect();
    assert!(!censored.is_empty());
    for rev in revlog.revs() {
        let text = reader.text(&revlog, rev).unwrap();
        assert_eq!(text.starts_with(CENSORED), censored.contains(&rev));
    }
}

#[test]
fn a_flag_alone_makes_no_tombstone() {
    let mut writer = RevlogWriter::new(true, true);
    writer.add(Revision {
        flags: FLAG_CENSORED,
        ..Revision::root(b"secret", 0)
    });
    let error = Texts::new(0)
        .text(&read(&writer, Limits::default()), Rev(0))
        .unwrap_err();
    assert!(matches!(error, StoreError::HashMismatch { .. }), "{error}");
}
