//! Runs of revisions of one revlog, as the records and bodies that
//! `manifestdata`, `filedata` and `filesdata` share.
//!
//! A body is a delta where the client has, or was just given, a text that it
//! can be against: the stored delta as it is, else one made here. Any such
//! choice is right for a client; ours is the reference server's, so that
//! answers are as small as its own.

use std::sync::Arc;

use fingerpost_hg_proto::Node;
use fingerpost_hg_proto::cbor::Writer;

use crate::revlog::{FLAG_CENSORED, FLAG_ELLIPSIS, FLAG_EXTERNAL};
use crate::text_delta::append_text_delta;
use crate::{Rev, Revlog, Scratch, StoreError, Texts};

/// What a request wants of each revision.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// The parents' nodes.
    pub(crate) parents: bool,
    /// The node of the changeset that introduced it.
    pub(crate) linknode: bool,
    /// The text, or a delta.
    pub(crate) revision: bool,
    /// The client has the parents of what it asks for.
    pub(crate) have_parents: bool,
}

/// What one request reads revisions with: buffers and recent texts.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Texts of manifests or files.
    pub(crate) texts: Texts,
    /// Those of changesets, so that neither is read again because of the other.
    pub(crate) changelog: Texts,
    pub(crate) scratch: Scratch,
    delta: Vec<u8>,
    /// Bytes of text that this batch has made and verified.
    worked: u64,
}

impl Reader {
    /// A reader that remembers at most `texts_bytes_max` of recent texts.
    pub(crate) fn new(texts_bytes_max: usize) -> Self {
        Self {
            texts: Texts::new(texts_bytes_max),
            changelog: Texts::new(CHANGESETS_BYTES),
            scratch: Scratch::default(),
            delta: Vec::new(),
            worked: 0,
        }
    }

    /// Starts counting for a new batch.
    pub(crate) fn begin_batch(&mut self) {
        self.worked = 0;
    }

    /// Whether somebody should take `out` before there is more: it is long, or
    /// a lot was read for it.
    pub(crate) fn is_batch_full(&self, out: &[u8]) -> bool {
        out.len() >= BATCH_BYTES || self.worked >= BATCH_WORK_BYTES
    }

    /// Counts work on a text of this length.
    pub(crate) fn count_work(&mut self, bytes: u64) {
        // What has no text costs something as well.
        self.worked += bytes.max(256);
    }
}

/// One revision of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) rev: Rev,
    /// Null where nobody asked for it.
    pub(crate) linknode: Node,
}

/// A run of revisions that is being sent.
#[derive(Debug)]
pub(crate) struct Revisions {
    revlog: Arc<Revlog>,
    items: Vec<Item>,
    next: usize,
    /// What a delta may be against when nothing better is there.
    previous: Option<Rev>,
}

/// How the body of a revision is made.
enum Body {
    Full,
    StoredDelta(Rev),
    MadeDelta(Rev),
}

impl Revisions {
    /// A run in the order of the revlog; what is asked for twice is sent twice.
    pub(crate) fn new(revlog: Arc<Revlog>, mut items: Vec<Item>, wanted: &Wanted) -> Self {
        items.sort_by_key(|item| item.rev);
        let first = items.first().filter(|_| wanted.have_parents);
        let previous = first.and_then(|item| revlog.parents(item.rev)[0]);
        Self {
            revlog,
            items,
            next: 0,
            previous,
        }
    }

    /// Whether everything was sent.
    pub(crate) fn is_done(&self) -> bool {
        self.next == self.items.len()
    }

    /// Appends the next revision: its record, and its body if that is wanted.
    pub(crate) fn append_next(
        &mut self,
        wanted: &Wanted,
        reader: &mut Reader,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let Some(item) = self.items.get(self.next).copied() else {
            return Ok(());
        };
        let record = Record::of(&self.revlog, &item, wanted);
        reader.count_work(self.revlog.text_len(item.rev).unwrap_or(0).into());
        if wanted.revision {
            self.append_with_body(&record, wanted, reader, out)?;
        } else {
            record.append(None, out);
        }
        self.next += 1;
        self.previous = Some(item.rev);
        Ok(())
    }

    fn append_with_body(
        &self,
        record: &Record,
        wanted: &Wanted,
        reader: &mut Reader,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let (revlog, rev) = (&*self.revlog, record.rev);
        match self.body(rev, wanted) {
            Body::StoredDelta(base) => {
                revlog.ensure_verified(rev, &mut reader.texts)?;
                let delta = revlog.chunk(rev, &mut reader.scratch)?;
                if revlog.is_undisturbed() {
                    record.append(Some((Some(revlog.node(base)), delta)), out);
                } else {
                    // Somebody writes to the file, so what was verified need
                    // not be what was read.
                    let text = reader.texts.text(revlog, rev)?;
                    record.append(Some((None, &*text)), out);
                }
            }
            Body::MadeDelta(base) => {
                let base_text = reader.texts.text(revlog, base)?;
                let text = reader.texts.text(revlog, rev)?;
                reader.delta.clear();
                append_text_delta(&base_text, &text, &mut reader.delta);
                if reader.delta.len() < text.len() {
                    let base = revlog.node(base);
                    record.append(Some((Some(base), reader.delta.as_slice())), out);
                } else {
                    record.append(Some((None, &*text)), out);
                }
            }
            Body::Full => {
                let text = reader.texts.text(revlog, rev)?;
                record.append(Some((None, &*text)), out);
            }
        }
        Ok(())
    }

    fn body(&self, rev: Rev, wanted: &Wanted) -> Body {
        let revlog = &*self.revlog;
        if revlog.flags(rev) & FLAGS_APART != 0 {
            return Body::Full;
        }
        if let Some(base) = revlog.delta_base(rev) {
            if revlog.flags(base) & FLAGS_APART != 0 {
                return Body::Full;
            }
            let is_there = self.was_sent(base)
                || (wanted.have_parents && revlog.parents(rev).contains(&Some(base)));
            if is_there {
                return Body::StoredDelta(base);
            }
        }
        match self.previous {
            Some(previous) if revlog.flags(previous) & FLAGS_APART == 0 && previous != rev => {
                Body::MadeDelta(previous)
            }
            _ => Body::Full,
        }
    }

    fn was_sent(&self, rev: Rev) -> bool {
        let sent = &self.items[..self.next];
        sent.binary_search_by_key(&rev, |item| item.rev).is_ok()
    }
}

/// The map in front of a body.
struct Record {
    rev: Rev,
    node: Node,
    linknode: Option<Node>,
    parents: Option<[Node; 2]>,
}

impl Record {
    fn of(revlog: &Revlog, item: &Item, wanted: &Wanted) -> Self {
        Self {
            rev: item.rev,
            node: revlog.node(item.rev),
            linknode: wanted.linknode.then_some(item.linknode),
            parents: wanted.parents.then(|| revlog.parent_nodes(item.rev)),
        }
    }

    /// Appends the map, and the body behind it: a delta against a node, or a
    /// text.
    fn append(&self, body: Option<(Option<Node>, &[u8])>, out: &mut Vec<u8>) {
        let base = body.and_then(|(base, _)| base);
        let keys = [
            base.is_some(),
            body.is_some(),
            self.linknode.is_some(),
            self.parents.is_some(),
        ];
        let keys = 1 + keys.into_iter().filter(|is_there| *is_there).count();
        out.reserve(RECORD_BYTES + body.map_or(0, |(_, bytes)| bytes.len()));
        let mut writer = Writer::new(out);
        writer.map(keys);
        if let Some(base) = base {
            writer.bytes(b"deltabasenode");
            writer.bytes(base.as_bytes());
        }
        if let Some((_, bytes)) = body {
            let field: &[u8] = if base.is_some() {
                b"delta"
            } else {
                b"revision"
            };
            append_fields_following(&mut writer, field, bytes.len());
        }
        if let Some(linknode) = &self.linknode {
            writer.bytes(b"linknode");
            writer.bytes(linknode.as_bytes());
        }
        writer.bytes(b"node");
        writer.bytes(self.node.as_bytes());
        if let Some(parents) = &self.parents {
            append_parents(&mut writer, parents);
        }
        if let Some((_, bytes)) = body {
            writer.bytes(bytes);
        }
    }
}

/// Writes `"fieldsfollowing": [[field, length]]`.
pub(crate) fn append_fields_following(writer: &mut Writer<'_>, field: &[u8], len: usize) {
    writer.bytes(b"fieldsfollowing");
    writer.array(1);
    writer.array(2);
    writer.bytes(field);
    writer.uint(len as u64);
}

/// Writes `"parents": [p1, p2]`.
pub(crate) fn append_parents(writer: &mut Writer<'_>, parents: &[Node; 2]) {
    writer.bytes(b"parents");
    writer.array(2);
    for parent in parents {
        writer.bytes(parent.as_bytes());
    }
}

/// What is stored under these is no text of its node: a tombstone, a pointer,
/// or what a shallow clone left. No delta leads to or from it.
const FLAGS_APART: u16 = FLAG_CENSORED | FLAG_EXTERNAL | FLAG_ELLIPSIS;
/// Texts of changesets are short.
const CHANGESETS_BYTES: usize = 256 << 10;
/// How much of an answer is made before somebody takes it.
const BATCH_BYTES: usize = 128 << 10;
/// How many bytes of text are made and verified before somebody takes what
/// came of it: some milliseconds of work.
const BATCH_WORK_BYTES: u64 = 2 << 20;
/// A record without its body is never longer.
const RECORD_BYTES: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::testing::{Revision, RevlogWriter};

    #[test]
    fn a_parent_that_is_elsewhere_does_not_hide_its_child() {
        for flag in [FLAG_EXTERNAL, FLAG_ELLIPSIS, FLAG_CENSORED] {
            let mut writer = RevlogWriter::new(false, true);
            let parent = writer.add(Revision {
                flags: flag,
                ..Revision::root(b"elsewhere", 0)
            });
            let child = Revision {
                parents: [Some(parent), None],
                ..Revision::root(b"a text of its own", 1)
            };
            let rev = writer.add(child);
            let (index, data) = writer.bytes();
            let revlog = Revlog::from_bytes("f.i", index, data, Limits::default()).unwrap();
            let wanted = Wanted {
                revision: true,
                have_parents: true,
                ..Wanted::default()
            };
            let linknode = Node::NULL;
            let items = vec![Item { rev, linknode }];
            let mut revisions = Revisions::new(Arc::new(revlog), items, &wanted);
            let (mut reader, mut out) = (Reader::new(0), Vec::new());
            revisions
                .append_next(&wanted, &mut reader, &mut out)
                .unwrap();
            assert!(out.ends_with(b"a text of its own"), "{flag:#x}");
        }
    }
}
