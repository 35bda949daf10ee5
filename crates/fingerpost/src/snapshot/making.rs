//! From the mappings of a namespace to a snapshot.

use std::path::Path;

use fingerpost_hashequiv::changes::{Cut, MappingPage};
use fingerpost_signatures::UnixTime;
use fingerpost_snapshot::{About, Manifest, WriteError, Writer};

/// Rows of a page: it takes a reader of the database some 5 ms.
pub(crate) const PAGE_ROWS: usize = 4096;

/// Writes the snapshot `target` of what `pages` give, each for the number that the one
/// before named. `cut` must be older than all of them. `go_on` is asked every few
/// milliseconds; with `false` nothing stays. Blocks.
pub(crate) fn make(
    target: &Path,
    namespace: &str,
    cut: Cut,
    created: UnixTime,
    mut pages: impl FnMut(i64) -> anyhow::Result<MappingPage>,
    mut go_on: impl FnMut() -> bool,
) -> anyhow::Result<Manifest> {
    let about = About {
        namespace: namespace.to_owned(),
        epoch: cut.epoch,
        position: cut.position,
        created,
    };
    let mut writer = Writer::create(target, about)?;
    let mut next = Some(0);
    while let Some(after) = next {
        let page = pages(after)?;
        for row in page.rows {
            writer.push(&row.method, &row.taskhash, &row.unihash, row.signed)?;
        }
        writer.leave_out(page.left_out);
        next = page.next;
        if !go_on() {
            return Err(WriteError::Stopped.into());
        }
    }
    Ok(writer.finish(go_on)?)
}
