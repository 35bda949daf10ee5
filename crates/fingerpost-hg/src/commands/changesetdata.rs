//! `changesetdata`: changesets, their phases and bookmarks.

use std::collections::BTreeMap;
use std::sync::Arc;

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, More, Objects, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::cbor::{Value, Writer};
use fingerpost_hg_proto::{Args, Node};

use super::answer::Cbor;
use super::arguments::Arguments;
use super::failures::internal;
use super::specifier;
use super::streaming;
use crate::revisions::{Reader, append_fields_following, append_parents};
use crate::{Phase, RepositoryView, Rev};

/// The command `changesetdata`.
pub(super) struct Changesetdata;

/// The argument of `changesetdata`.
pub(super) struct ChangesetdataArgs {
    revisions: Value,
    wanted: Wanted,
}

/// What is wanted of each changeset.
#[derive(Clone, Copy)]
struct Wanted {
    bookmarks: bool,
    parents: bool,
    phase: bool,
    revision: bool,
}

impl Argument<Args> for ChangesetdataArgs {
    const FIELDS: &'static [Field] = &[
        Field {
            name: "fields",
            shape: Shape::Set(&["bookmarks", "parents", "phase", "revision"]),
            required: false,
            about: "what to tell of each changeset",
        },
        Field {
            name: "revisions",
            shape: Shape::List,
            required: true,
            about: "revision specifiers",
        },
    ];
    const EXAMPLE: &'static str = "{\"fields\": {\"SET\": [\"parents\", \"revision\"]}, \"revisions\": [{\"heads\": [\"hex:f01eb1639989329c659f6fae6edb3fdcc799ae06\"], \"roots\": [], \"type\": \"changesetdagrange\"}]}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        let has = |field| arguments.has("fields", field);
        Ok(Self {
            revisions: arguments.value("revisions").cloned().unwrap_or(Value::Null),
            wanted: Wanted {
                bookmarks: has("bookmarks")?,
                parents: has("parents")?,
                phase: has("phase")?,
                revision: has("revision")?,
            },
        })
    }
}

impl Command<RepositoryView> for Changesetdata {
    type Args = ChangesetdataArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "changesetdata",
        summary: "Sends changesets, then the bookmarks of all others.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Dear,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::State],
            why: "phases and bookmarks, and which changesets a range has, are covered by the state token",
        },
        answer_example: "{\"totalitems\": 1} {\"node\": \"hex:f01eb1639989329c659f6fae6edb3fdcc799ae06\"}",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: ChangesetdataArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let view = call.service;
        let revs = specifier::resolve(&args.revisions, view.snapshot())?;
        let mut bookmarks: BTreeMap<Node, Vec<Vec<u8>>> = BTreeMap::new();
        if args.wanted.bookmarks {
            for (name, node) in view.snapshot().bookmarks() {
                bookmarks.entry(*node).or_default().push(name.clone());
            }
        }
        Ok(streaming(Changesets {
            view: Arc::clone(view),
            reader: view.reader(),
            wanted: args.wanted,
            bookmarks,
            revs,
            next: 0,
            begun: false,
        }))
    }
}

/// The answer while it is sent.
struct Changesets {
    view: Arc<RepositoryView>,
    reader: Reader,
    wanted: Wanted,
    /// Sorted names by node; those of changesets that were sent are gone.
    bookmarks: BTreeMap<Node, Vec<Vec<u8>>>,
    revs: Vec<Rev>,
    next: usize,
    begun: bool,
}

/// Changesets that are read in less time than a store is asked.
const FEW: usize = 8;

impl Objects for Changesets {
    fn are_few(&self) -> bool {
        self.revs.len() <= FEW
    }

    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        if !self.begun {
            let mut writer = Writer::new(out);
            writer.map(1);
            writer.bytes(b"totalitems");
            writer.uint(self.revs.len() as u64);
            self.begun = true;
        }
        self.reader.begin_batch();
        while let Some(rev) = self.revs.get(self.next).copied() {
            if self.reader.is_batch_full(out) {
                return Ok(More::Yes);
            }
            self.append_changeset(rev, out)?;
            self.next += 1;
        }
        for (node, names) in std::mem::take(&mut self.bookmarks) {
            let mut writer = Writer::new(out);
            writer.map(2);
            append_bookmarks(&mut writer, &names);
            writer.bytes(b"node");
            writer.bytes(node.as_bytes());
        }
        Ok(More::No)
    }
}

impl Changesets {
    fn append_changeset(&mut self, rev: Rev, out: &mut Vec<u8>) -> Result<(), Failure> {
        let snapshot = self.view.snapshot();
        let changelog = snapshot.changelog();
        let node = changelog.node(rev);
        self.reader.count_work(0);
        let bookmarks = self.bookmarks.remove(&node);
        let text = match self.wanted.revision {
            true => {
                let texts = &mut self.reader.changelog;
                Some(changelog.text(texts, rev).map_err(internal)?)
            }
            false => None,
        };
        let (wanted, with_bookmarks) = (self.wanted, bookmarks.is_some());
        let keys = [
            with_bookmarks,
            wanted.revision,
            wanted.parents,
            wanted.phase,
        ];
        let mut writer = Writer::new(out);
        writer.map(1 + keys.into_iter().filter(|is_there| *is_there).count());
        if let Some(names) = &bookmarks {
            append_bookmarks(&mut writer, names);
        }
        if let Some(text) = &text {
            append_fields_following(&mut writer, b"revision", text.len());
        }
        writer.bytes(b"node");
        writer.bytes(node.as_bytes());
        if wanted.parents {
            append_parents(&mut writer, &changelog.parent_nodes(rev));
        }
        if wanted.phase {
            writer.bytes(b"phase");
            writer.bytes(match snapshot.phase(rev) {
                Phase::Public => b"public",
                _ => b"draft",
            });
        }
        if let Some(text) = &text {
            writer.bytes(text);
        }
        Ok(())
    }
}

/// Writes `"bookmarks": [names]`.
fn append_bookmarks(writer: &mut Writer<'_>, names: &[Vec<u8>]) {
    writer.bytes(b"bookmarks");
    writer.array(names.len());
    for name in names {
        writer.bytes(name);
    }
}
