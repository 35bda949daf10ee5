//! What a stock client of Mercurial 6.0.3 asks for to clone a repository, with
//! exactly its arguments: a server finds an answer again by these.

use fingerpost_hg_proto::cbor::Value;
use fingerpost_hg_proto::client::Response;
use fingerpost_hg_proto::{Args, CommandRequest, Node};

use super::history::History;
use super::{Asking, Called, ClientError, HgClient};

/// How many nodes a client asks for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSizes {
    /// Manifests in one `manifestdata`.
    pub manifests: usize,
    /// Changesets in one `filesdata`.
    pub changesets: usize,
}

impl Default for BatchSizes {
    /// What a client takes when the server recommends nothing.
    fn default() -> Self {
        Self {
            manifests: 10_000,
            changesets: 50_000,
        }
    }
}

impl BatchSizes {
    /// What the server's descriptor recommends.
    pub fn of(descriptor: &Value) -> Self {
        let recommended = |command: &[u8]| {
            let command = descriptor.get(b"commands")?.get(command)?;
            let size = command.get(b"recommendedbatchsize")?.as_u64()?;
            usize::try_from(size).ok().filter(|size| *size > 0)
        };
        let default = Self::default();
        Self {
            manifests: recommended(b"manifestdata").unwrap_or(default.manifests),
            changesets: recommended(b"filesdata").unwrap_or(default.changesets),
        }
    }
}

/// The requests of one clone of a repository as it was at one moment.
#[derive(Clone, Debug)]
pub struct ClonePlan {
    sizes: BatchSizes,
    heads: Vec<Node>,
    changesets: Vec<Node>,
    manifests: Vec<Node>,
    /// What it took to make the plan.
    pub called: Called,
}

/// Where the requests stand that there is one of.
const HEADS: usize = 0;
const CHANGESETS: usize = 1;
const KNOWN: usize = 2;

impl ClonePlan {
    /// So many requests at the beginning had to be made to make the plan.
    pub const MADE: usize = 2;

    /// How many requests there are.
    pub fn requests(&self) -> usize {
        let manifests = self.manifests.len().div_ceil(self.sizes.manifests);
        let files = self.changesets.len();
        Self::MADE + 1 + manifests + files.div_ceil(self.sizes.changesets)
    }

    /// Whether the request number `at` is answered with some bytes, which a server
    /// of ours neither remembers nor sends elsewhere.
    pub const fn is_question(&self, at: usize) -> bool {
        matches!(at, HEADS | KNOWN)
    }

    /// The changesets that are cloned, in the server's order.
    pub fn changesets(&self) -> &[Node] {
        &self.changesets
    }

    /// The request number `at`, made when it is asked for: it may have a megabyte
    /// of arguments. They come in the order of a client, but for `known`, which
    /// a client sends together with the first one.
    pub fn request(&self, at: usize) -> Option<CommandRequest> {
        match at {
            HEADS => return Some(heads()),
            CHANGESETS => return Some(changesets(&self.heads)),
            KNOWN => return Some(known()),
            _ => {}
        }
        let at = at - 3;
        let mut manifests = self.manifests.chunks(self.sizes.manifests);
        if let Some(batch) = manifests.nth(at) {
            return Some(manifestdata(batch));
        }
        let at = at - self.manifests.len().div_ceil(self.sizes.manifests);
        let mut files = self.changesets.chunks(self.sizes.changesets);
        files.nth(at).map(filesdata)
    }
}

impl HgClient {
    /// Asks for the changesets of the repository, and plans a clone of it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn plan_clone(&self, asking: &Asking) -> Result<ClonePlan, ClientError> {
        let handshake = self.handshake().await?;
        let sizes = handshake.descriptor().map(BatchSizes::of);
        let mut called = Called::default();
        let mut found = None;
        let request = heads();
        let asked = self.require(&request, asking, |response| {
            if let Response::Object(value) = response {
                found = nodes_in(&value);
            }
        });
        called.body_bytes += asked.await?.body_bytes;
        let heads = found.ok_or(ClientError::Answer("list of heads"))?;
        let mut history = History::default();
        let mut read = Ok(());
        let request = changesets(&heads);
        let asked = self.require(&request, asking, |response| {
            if read.is_ok() {
                read = history.take(response);
            }
        });
        called.body_bytes += asked.await?.body_bytes;
        read?;
        Ok(ClonePlan {
            sizes: sizes.unwrap_or_default(),
            heads,
            changesets: history.changesets,
            manifests: history.manifests,
            called,
        })
    }
}

fn heads() -> CommandRequest {
    CommandRequest::new("heads", Args::new())
}

/// A client without changesets knows none to ask for.
fn known() -> CommandRequest {
    let args = [("nodes", Value::Array(Vec::new()))];
    CommandRequest::new("known", args.into_iter().collect())
}

fn changesets(heads: &[Node]) -> CommandRequest {
    let mut heads = heads.to_vec();
    heads.sort_unstable();
    let range = Value::record([
        (&b"type"[..], Value::bytes("changesetdagrange")),
        (b"roots", nodes(&[])),
        (b"heads", nodes(&heads)),
    ]);
    let args = [
        ("revisions", Value::Array(vec![range])),
        (
            "fields",
            words(&["bookmarks", "parents", "phase", "revision"]),
        ),
    ];
    CommandRequest::new("changesetdata", args.into_iter().collect())
}

fn manifestdata(batch: &[Node]) -> CommandRequest {
    let args = [
        ("nodes", nodes(batch)),
        ("tree", Value::bytes("")),
        ("haveparents", true.into()),
        ("fields", words(&["parents", "revision"])),
    ];
    CommandRequest::new("manifestdata", args.into_iter().collect())
}

fn filesdata(batch: &[Node]) -> CommandRequest {
    let explicit = Value::record([
        (&b"type"[..], Value::bytes("changesetexplicit")),
        (b"nodes", nodes(batch)),
    ]);
    let args = [
        ("revisions", Value::Array(vec![explicit])),
        ("haveparents", true.into()),
        ("fields", words(&["parents", "revision"])),
    ];
    CommandRequest::new("filesdata", args.into_iter().collect())
}

fn nodes(nodes: &[Node]) -> Value {
    let nodes = nodes.iter().map(|node| Value::bytes(*node.as_bytes()));
    Value::Array(nodes.collect())
}

fn words(words: &[&str]) -> Value {
    Value::set(words.iter().map(|word| Value::bytes(*word)))
}

fn nodes_in(value: &Value) -> Option<Vec<Node>> {
    let nodes = value.as_array()?.iter();
    nodes
        .map(|node| Node::from_slice(node.as_bytes()?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(byte: u8) -> Node {
        Node::from_bytes([byte; 20])
    }

    #[test]
    fn nodes_are_asked_for_in_batches() {
        let sizes = BatchSizes {
            manifests: 2,
            changesets: 3,
        };
        let plan = ClonePlan {
            sizes,
            heads: vec![node(9), node(7)],
            changesets: [1, 2, 3, 4, 5].map(node).into(),
            manifests: [5, 6, 8].map(node).into(),
            called: Called::default(),
        };
        let requests: Vec<_> = (0..).map_while(|at| plan.request(at)).collect();
        let questions: Vec<_> = (0..9).filter(|at| plan.is_question(*at)).collect();
        assert_eq!(questions, [0, 2]);
        assert_eq!(requests.len(), plan.requests());
        let expected = [
            heads(),
            changesets(&[node(7), node(9)]),
            known(),
            manifestdata(&[node(5), node(6)]),
            manifestdata(&[node(8)]),
            filesdata(&[1, 2, 3].map(node)),
            filesdata(&[4, 5].map(node)),
        ];
        assert_eq!(requests, expected);
    }

    #[test]
    fn sizes_are_those_that_the_server_recommends() {
        let command = |size: u64| Value::record([(&b"recommendedbatchsize"[..], size.into())]);
        let commands = Value::record([
            (&b"manifestdata"[..], command(7)),
            (b"filesdata", command(0)),
        ]);
        let descriptor = Value::record([(&b"commands"[..], commands)]);
        let expected = BatchSizes {
            manifests: 7,
            ..BatchSizes::default()
        };
        assert_eq!(BatchSizes::of(&descriptor), expected);
    }
}
