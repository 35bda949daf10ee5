//! `manifestdata`: revisions of the manifest.

use std::sync::Arc;

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, More, Objects, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::cbor::Writer;
use fingerpost_hg_proto::{Args, Node};

use super::answer::Cbor;
use super::arguments::Arguments;
use super::failures::internal;
use super::manifest_verification::ManifestVerification;
use super::streaming;
use crate::revisions::{Item, Reader, Revisions, Wanted};
use crate::{RepositoryView, Revlog, Snapshot};

/// The command `manifestdata`.
pub(super) struct Manifestdata;

/// The argument of `manifestdata`.
pub(super) struct ManifestdataArgs {
    tree: Vec<u8>,
    nodes: Vec<Node>,
    wanted: Wanted,
}

impl Argument<Args> for ManifestdataArgs {
    const FIELDS: &'static [Field] = &[
        Field {
            name: "fields",
            shape: Shape::Set(&["parents", "revision"]),
            required: false,
            about: "what to tell of each revision",
        },
        Field {
            name: "haveparents",
            shape: Shape::Bool,
            required: false,
            about: "the client has the parents, so that deltas can be against them",
        },
        Field {
            name: "nodes",
            shape: Shape::List,
            required: true,
            about: "the revisions",
        },
        Field {
            name: "tree",
            shape: Shape::Bytes,
            required: true,
            about: "the directory; empty for the root",
        },
    ];
    const EXAMPLE: &'static str = "{\"fields\": {\"SET\": [\"parents\", \"revision\"]}, \"haveparents\": true, \"nodes\": [\"hex:85f124518dc6605875e9b4717db7d491fd2687d2\"], \"tree\": \"\"}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        Ok(Self {
            tree: arguments.bytes("tree")?.to_vec(),
            nodes: arguments.nodes("nodes")?,
            wanted: Wanted {
                linknode: false,
                ..arguments.wanted()?
            },
        })
    }
}

impl Command<RepositoryView> for Manifestdata {
    type Args = ManifestdataArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "manifestdata",
        summary: "Sends revisions of the manifest, in the order of the store. A revision that no served changeset has is unknown.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Dear,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::Generation, Dependency::Visibility],
            why: "a node names parents and text for good, unless the store is rewritten; which nodes are served is checked before the cache is asked",
        },
        answer_example: "{\"totalitems\": 1} {\"node\": \"hex:85f124518dc6605875e9b4717db7d491fd2687d2\"}",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: ManifestdataArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let view = call.service;
        let snapshot = view.snapshot();
        if !args.tree.is_empty() {
            let tree = vec![args.tree];
            return Err(Failure::refused_with(
                "unknown-tree",
                "unknown tree: %s",
                tree,
            ));
        }
        let manifests = snapshot.manifests().map_err(internal)?;
        let items = items(&args.nodes, snapshot, &manifests);
        view.check_not_stripped().map_err(internal)?;
        let items = items?;
        let unverified = items.iter().map(|item| item.rev).collect();
        Ok(streaming(ManifestRevisions {
            view: Arc::clone(view),
            verification: Some(ManifestVerification::new(
                Arc::clone(&manifests),
                unverified,
            )),
            sending: OneRevlog {
                reader: view.reader(),
                begun: false,
                total: items.len(),
                revisions: Revisions::new(manifests, items, &args.wanted),
                wanted: args.wanted,
            },
        }))
    }
}

/// What is to be sent, unless a node is not served.
fn items(nodes: &[Node], snapshot: &Snapshot, manifests: &Revlog) -> Result<Vec<Item>, Failure> {
    let item = |node| {
        let rev = manifests.rev(node).ok_or_else(|| unknown_node(node))?;
        let is_served = snapshot.servable_manifest(manifests, rev);
        match is_served.map_err(internal)? {
            true => Ok(Item {
                rev,
                linknode: Node::NULL,
            }),
            false => Err(unknown_node(node)),
        }
    };
    nodes.iter().map(item).collect()
}

/// Revisions of the manifest, which are verified before they are sent.
struct ManifestRevisions {
    view: Arc<RepositoryView>,
    verification: Option<ManifestVerification>,
    sending: OneRevlog,
}

impl Objects for ManifestRevisions {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        if let Some(verification) = &mut self.verification {
            let reader = &mut self.sending.reader;
            let more = verification
                .go_on(self.view.snapshot(), reader)
                .map_err(internal)?;
            if more == More::Yes {
                return Ok(More::Yes);
            }
            self.verification = None;
        }
        self.sending.append(out)
    }
}

/// A manifest that is not there, or that no served changeset has. Its argument
/// is the raw node, as the reference sends it.
fn unknown_node(node: &Node) -> Failure {
    let node = node.as_bytes().to_vec();
    Failure::refused_with("unknown-node", "unknown node: %s", vec![node])
}

/// Revisions of one revlog, behind their number.
pub(super) struct OneRevlog {
    pub(super) reader: Reader,
    pub(super) wanted: Wanted,
    pub(super) revisions: Revisions,
    pub(super) total: usize,
    pub(super) begun: bool,
}

impl Objects for OneRevlog {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        if !self.begun {
            let mut writer = Writer::new(out);
            writer.map(1);
            writer.bytes(b"totalitems");
            writer.uint(self.total as u64);
            self.begun = true;
        }
        self.reader.begin_batch();
        while !self.revisions.is_done() {
            if self.reader.is_batch_full(out) {
                return Ok(More::Yes);
            }
            self.revisions
                .append_next(&self.wanted, &mut self.reader, out)
                .map_err(internal)?;
        }
        Ok(More::No)
    }
}
