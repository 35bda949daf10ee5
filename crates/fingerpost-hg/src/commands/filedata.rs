//! `filedata`: revisions of one file.

use std::sync::Arc;

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::{Args, Node};

use super::answer::Cbor;
use super::arguments::Arguments;
use super::failures::internal;
use super::manifestdata::OneRevlog;
use super::streaming;

use crate::revisions::{Item, Revisions, Wanted};
use crate::{RepositoryView, Rev, Revlog, RevlogName, Snapshot};

/// The command `filedata`.
pub(super) struct Filedata;

/// The argument of `filedata`.
pub(super) struct FiledataArgs {
    path: Vec<u8>,
    nodes: Vec<Node>,
    wanted: Wanted,
}

impl Argument<Args> for FiledataArgs {
    const FIELDS: &'static [Field] = &[
        Field {
            name: "fields",
            shape: Shape::Set(&["linknode", "parents", "revision"]),
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
            name: "path",
            shape: Shape::Bytes,
            required: true,
            about: "the file",
        },
    ];
    const EXAMPLE: &'static str = "{\"fields\": {\"SET\": [\"linknode\", \"parents\", \"revision\"]}, \"nodes\": [\"hex:277b75139d8e5cd5b822c1c99ae1e737500a1d59\"], \"path\": \"src/a.txt\"}";

    /// Nodes name everything for good but the changeset that a revision is said
    /// to be of.
    fn depends_on(&self, dependency: Dependency) -> bool {
        dependency != Dependency::State || self.wanted.linknode
    }

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        Ok(Self {
            path: arguments.bytes("path")?.to_vec(),
            nodes: arguments.nodes("nodes")?,
            wanted: arguments.wanted()?,
        })
    }
}

impl Command<RepositoryView> for Filedata {
    type Args = FiledataArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "filedata",
        summary: "Sends revisions of one file, in the order of the store. A revision that no served changeset introduces is unknown.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Dear,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[
                Dependency::Generation,
                Dependency::Visibility,
                Dependency::State,
            ],
            why: "a node names parents and text for good, unless the store is rewritten; with linknodes the answer depends on what is served, so the state token is in the key",
        },
        answer_example: "{\"totalitems\": 1} {\"node\": \"hex:277b75139d8e5cd5b822c1c99ae1e737500a1d59\"}",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: FiledataArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let view = call.service;
        let snapshot = view.snapshot();
        let name = RevlogName::Filelog(&args.path);
        let filelog = Arc::new(Revlog::open(snapshot.store(), name).map_err(internal)?);
        let items = items(&args, snapshot, &filelog);
        view.check_not_stripped().map_err(internal)?;
        let items = items?;
        Ok(streaming(OneRevlog {
            reader: view.reader(),
            begun: false,
            total: items.len(),
            revisions: Revisions::new(filelog, items, &args.wanted),
            wanted: args.wanted,
        }))
    }
}

/// What is to be sent, unless a node is not served.
fn items(args: &FiledataArgs, snapshot: &Snapshot, filelog: &Revlog) -> Result<Vec<Item>, Failure> {
    let name = RevlogName::Filelog(&args.path);
    let revs: Vec<Option<Rev>> = args.nodes.iter().map(|node| filelog.rev(node)).collect();
    let introducers = snapshot.introducers(name, filelog, revs.iter().flatten().copied());
    let introducers = introducers.map_err(internal)?;
    let item = |(node, rev): (&Node, Option<Rev>)| {
        let introducer = rev.and_then(|rev| Some((rev, *introducers.get(&rev)?)));
        match introducer {
            Some((rev, introducer)) => Ok(Item {
                rev,
                linknode: snapshot.node(introducer),
            }),
            None => Err(unknown(&args.path, node, snapshot, filelog)),
        }
    };
    args.nodes.iter().zip(revs).map(item).collect()
}

/// A file of which nothing is served is as unknown as one that never was.
fn unknown(path: &[u8], node: &Node, snapshot: &Snapshot, filelog: &Revlog) -> Failure {
    match snapshot.serves_any(RevlogName::Filelog(path), filelog) {
        Ok(true) => {
            let hex = node.to_hex().to_vec();
            Failure::refused_with("unknown-node", "unknown file node: %s", vec![hex])
        }
        Ok(false) => Failure::refused_with("unknown-file", "unknown file: %s", vec![path.to_vec()]),
        Err(error) => internal(error),
    }
}

#[cfg(test)]
mod tests {
    use fingerpost_hg_proto::cbor::Value;

    use super::*;
    use crate::commands::may_be_stale;
    use crate::tests::served::{Served, run};
    use crate::tests::world::{Commit, World};

    fn add(world: &mut World, parent: Option<usize>, content: &str) {
        world.add(Commit {
            parents: [parent, None],
            files: &[("f", Some(content))],
            ..Commit::default()
        });
    }

    /// The nodes of the file in the order of the store.
    fn nodes(view: &RepositoryView) -> Vec<Node> {
        let filelog = Revlog::open(view.snapshot().store(), RevlogName::Filelog(b"f")).unwrap();
        filelog.revs().map(|rev| filelog.node(rev)).collect()
    }

    fn filedata(view: &Arc<RepositoryView>, nodes: &[Node]) -> Result<Vec<u8>, Failure> {
        let nodes = nodes.iter().map(|node| node.as_bytes().to_vec().into());
        let args = [
            ("nodes", Value::Array(nodes.collect())),
            ("path", Value::from(b"f")),
        ];
        run(view, "filedata", &args)
    }

    #[test]
    fn link_revisions_of_after_a_strip_are_not_believed() {
        let mut world = World::new();
        add(&mut world, None, "1");
        add(&mut world, Some(0), "2");
        world.write();
        let served = Served::new(&world);
        let view = served.view();
        assert!(filedata(&view, &nodes(&view)).is_ok());
        world.clear_changelog();
        add(&mut world, None, "1");
        add(&mut world, Some(0), "secret");
        world.phases(&[(2, 1)]);
        world.write();
        let secret = [nodes(&view)[2]];
        assert!(may_be_stale(&filedata(&view, &secret).unwrap_err()));
        let refused = filedata(&view.renewed().unwrap(), &secret).unwrap_err();
        assert!(matches!(refused, Failure::Refused { .. }), "{refused}");
    }

    #[test]
    fn what_cannot_be_read_is_no_unknown_file() {
        let mut world = World::new();
        for (parent, content) in [(None, None), (Some(0), Some("hidden")), (Some(0), None)] {
            world.add(Commit {
                parents: [parent, None],
                files: &[("f", content), ("g", Some("g"))],
                ..Commit::default()
            });
        }
        world.write();
        world.phases(&[(1, 1)]);
        world.prune(1);
        let unknown = [Node::from_bytes([1; 20])];
        let asked = || filedata(&Served::new(&world).view(), &unknown).unwrap_err();
        assert!(matches!(asked(), Failure::Refused { .. }));
        std::fs::write(world.store_dir().join("00manifest.i"), "").unwrap();
        assert!(matches!(asked(), Failure::Internal(_)));
    }
}
