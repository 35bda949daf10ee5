//! Finding the changeset that a name stands for.

use fingerpost_hg_proto::Node;

use crate::{NodePrefix, Rev, Snapshot, StoreError};

/// A name does not lead to one changeset.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// Nothing that is served has this name. The key is shown as text, bytes
    /// that are no UTF-8 replaced.
    #[error("unknown revision '{0}'")]
    Unknown(String),
    /// More than one served changeset begins with these hex digits.
    #[error("ambiguous identifier '{0}'")]
    Ambiguous(String),
    /// A file that had to be read is wrong.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks a name up in the order of hg 6.0.3: `tip` and `null`, a revision
/// number, 40 hex digits, a bookmark, a tag, a branch, the beginning of a node.
/// The first kind that the name has the form of and that exists decides.
///
/// `.` is nothing here: a server has no working copy of its own. A number or
/// node of a changeset that is not served is unknown, and does not fall
/// through to a bookmark of that name. Names on changesets that are not served
/// are no names; in hg they hide a branch that is called the same, and hidden
/// nodes make the beginning of another one ambiguous.
pub(crate) fn lookup(snapshot: &Snapshot, key: &[u8]) -> Result<Node, LookupError> {
    let unknown = || LookupError::Unknown(String::from_utf8_lossy(key).into_owned());
    match key {
        b"null" => return Ok(Node::NULL),
        b"tip" => return Ok(snapshot.tip().map_or(Node::NULL, |tip| snapshot.node(tip))),
        b"." | b"" => return Err(unknown()),
        _ => {}
    }
    if let Some(rev) = by_number(snapshot, key) {
        let rev = Some(rev).filter(|rev| snapshot.is_served(*rev));
        return rev.map(|rev| snapshot.node(rev)).ok_or_else(unknown);
    }
    if let Some(node) = Node::from_hex(key) {
        if snapshot.is_known(&node) {
            return Ok(node);
        }
        if snapshot.unserved_rev(&node).is_some() {
            return Err(unknown());
        }
    }
    if let Some(node) = by_name(snapshot, key)? {
        return Ok(node);
    }
    by_prefix(snapshot, key)?.ok_or_else(unknown)
}

/// A revision number as hg writes it, `-1` counting from the end; `None` for
/// one that is out of range, which may still be the beginning of a node.
fn by_number(snapshot: &Snapshot, key: &[u8]) -> Option<Rev> {
    let text = std::str::from_utf8(key).ok()?;
    let number: i64 = text.parse().ok()?;
    // `+1`, `01` and `-0` are no numbers of revisions.
    if number.to_string() != text {
        return None;
    }
    let len = i64::try_from(snapshot.len()).ok()?;
    let index = if number < 0 { number + len } else { number };
    let index = usize::try_from(index).ok().filter(|_| index < len)?;
    Rev::from_index(index)
}

fn by_name(snapshot: &Snapshot, key: &[u8]) -> Result<Option<Node>, StoreError> {
    if let Some(node) = snapshot.bookmark(key) {
        return Ok(Some(node));
    }
    if let Some(rev) = snapshot.tags()?.rev(snapshot, key) {
        return Ok(Some(snapshot.node(rev)));
    }
    let heads = snapshot.branch_heads()?;
    let tip = heads.branch(key).map(|branch| branch.tip);
    Ok(tip.map(|tip| snapshot.node(tip)))
}

/// The served node that begins with these digits. hg takes an `x` before them,
/// counts the null node, and holds a row of `f` alone to be ambiguous with the
/// working copy's pseudo node.
fn by_prefix(snapshot: &Snapshot, key: &[u8]) -> Result<Option<Node>, LookupError> {
    let digits = key.strip_prefix(b"x").unwrap_or(key);
    let Some(prefix) = NodePrefix::from_hex(digits) else {
        return Ok(None);
    };
    let revs = snapshot.changelog().revlog().revs_with_prefix(prefix);
    let mut found = revs
        .filter(|rev| snapshot.is_served(*rev))
        .map(|rev| snapshot.node(rev));
    let null = prefix.matches(&Node::NULL).then_some(Node::NULL);
    let (first, second) = match null {
        Some(null) => (Some(null), found.next()),
        None => (found.next(), found.next()),
    };
    let only_f = digits.iter().all(|digit| matches!(digit, b'f' | b'F'));
    match (first, second) {
        (Some(node), None) if !only_f => Ok(Some(node)),
        (None, _) => Ok(None),
        _ => Err(LookupError::Ambiguous(
            String::from_utf8_lossy(key).into_owned(),
        )),
    }
}
