//! Changesets and their manifests, read out of an answer to `changesetdata`.

use std::collections::{HashSet, VecDeque};

use fingerpost_hg_proto::Node;
use fingerpost_hg_proto::cbor::Value;
use fingerpost_hg_proto::client::Response;

use super::ClientError;

/// More changesets than any repository has.
const CHANGESETS_MAX: usize = 1 << 24;
/// One text follows a record.
const FIELDS_MAX: usize = 4;
/// A changeset begins with its manifest's node in hex.
const MANIFEST_DIGITS: usize = 40;

/// Changesets and their manifests, in the order of the server, read out of an
/// answer to `changesetdata`.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) changesets: Vec<Node>,
    /// Each once, without the null one.
    pub(super) manifests: Vec<Node>,
    seen: HashSet<Node>,
    /// The texts that follow the last record: whether each is its changeset.
    following: VecDeque<bool>,
    /// The beginning of one that comes in chunks.
    text: Option<Vec<u8>>,
}

impl History {
    /// Takes in what comes next.
    pub(super) fn take(&mut self, response: Response) -> Result<(), ClientError> {
        match response {
            Response::Object(Value::Bytes(text)) => self.take_text(&text),
            Response::Object(value) => self.take_record(&value),
            Response::BytesBegin { .. } => {
                self.text = Some(Vec::new());
                Some(())
            }
            Response::BytesChunk(chunk) => self.text.as_mut().map(|text| {
                let room = MANIFEST_DIGITS - text.len();
                text.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }),
            Response::BytesEnd => {
                let text = self.text.take().unwrap_or_default();
                self.take_text(&text)
            }
            _ => Some(()),
        }
        .ok_or(ClientError::Answer("changesets"))
    }

    /// The number of changesets, a changeset, or bookmarks of another one; only a
    /// changeset has a text.
    fn take_record(&mut self, record: &Value) -> Option<()> {
        let Some(fields) = record.get(b"fieldsfollowing") else {
            return Some(());
        };
        let fields = fields.as_array()?;
        let is_wrong = !self.following.is_empty() || fields.len() > FIELDS_MAX;
        if is_wrong || self.changesets.len() >= CHANGESETS_MAX {
            return None;
        }
        let node = record.get(b"node")?.as_bytes()?;
        self.changesets.push(Node::from_slice(node)?);
        for field in fields {
            let name = field.as_array()?.first()?.as_bytes()?;
            self.following.push_back(name == b"revision");
        }
        Some(())
    }

    fn take_text(&mut self, text: &[u8]) -> Option<()> {
        if self.following.pop_front()? {
            let manifest = Node::from_hex(text.get(..MANIFEST_DIGITS)?)?;
            if !manifest.is_null() && self.seen.insert(manifest) {
                self.manifests.push(manifest);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(byte: u8) -> Node {
        Node::from_bytes([byte; 20])
    }

    fn record(byte: u8) -> Response {
        let field = Value::Array(vec![Value::bytes("revision"), 45_u64.into()]);
        Response::Object(Value::record([
            (&b"node"[..], Value::bytes(*node(byte).as_bytes())),
            (b"fieldsfollowing", Value::Array(vec![field])),
        ]))
    }

    fn text(manifest: Node) -> Vec<u8> {
        format!("{manifest}\nme\n0 0\n").into_bytes()
    }

    #[test]
    fn a_changeset_may_come_in_chunks() {
        let mut history = History::default();
        let take = |history: &mut History, response| history.take(response).unwrap();
        take(&mut history, record(1));
        take(&mut history, Response::BytesBegin { len: None });
        for chunk in text(node(3)).chunks(7) {
            take(&mut history, Response::BytesChunk(chunk.to_vec()));
        }
        take(&mut history, Response::BytesEnd);
        assert_eq!(history.manifests, [node(3)]);
    }

    #[test]
    fn a_manifest_counts_once() {
        let mut history = History::default();
        for (changeset, manifest) in [(1, 5), (2, 6), (3, 5), (4, 0), (5, 8)] {
            history.take(record(changeset)).unwrap();
            let text = Response::Object(Value::Bytes(text(node(manifest))));
            history.take(text).unwrap();
        }
        assert_eq!(history.changesets, [1, 2, 3, 4, 5].map(node));
        assert_eq!(history.manifests, [5, 6, 8].map(node));
    }

    #[test]
    fn what_is_no_history_is_an_error() {
        let wrong = |responses: &[Response]| {
            let mut history = History::default();
            let mut responses = responses.iter().cloned();
            assert!(responses.any(|response| history.take(response).is_err()));
        };
        wrong(&[Response::Object(Value::bytes(text(node(1))))]);
        wrong(&[record(1), Response::Object(Value::bytes("short"))]);
        wrong(&[record(1), record(2)]);
        wrong(&[Response::Object(Value::record([(
            &b"fieldsfollowing"[..],
            Value::Null,
        )]))]);
        wrong(&[Response::BytesChunk(vec![1])]);
    }
}
