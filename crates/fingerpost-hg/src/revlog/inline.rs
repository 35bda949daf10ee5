//! Inline revlogs: each entry is followed by its data.

use super::entry::{ENTRY_BYTES, Entry};
use super::index::BadEntry;

/// Takes the entries and the data of an inline revlog apart. An entry or data
/// at the end that is not complete is left out: a writer is at work there.
pub(crate) fn take_apart(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), BadEntry> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    for rev in 0.. {
        let Some((head, tail)) = rest.split_first_chunk::<ENTRY_BYTES>() else {
            break;
        };
        let entry = Entry(head);
        let bad = |what| Err(BadEntry { rev, what });
        let Ok(len) = usize::try_from(entry.stored_len()) else {
            return bad("the stored length is negative");
        };
        let Some((stored, tail)) = tail.split_at_checked(len) else {
            break;
        };
        if entry.offset(rev) != data.len() as u64 {
            return bad("its data is not where the data before it ends");
        }
        entries.extend_from_slice(head);
        data.extend_from_slice(stored);
        rest = tail;
    }
    Ok((entries, data))
}
