//! `filesdata`: the revisions of files that changesets need.

mod plan;

use std::sync::Arc;

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, More, Objects, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::Args;
use fingerpost_hg_proto::cbor::{Value, Writer};

use self::plan::{FilePlan, Planner};
use super::answer::Cbor;
use super::arguments::Arguments;
use super::failures::internal;
use super::manifest_verification::ManifestVerification;
use super::path_filter::PathFilter;
use super::{specifier, streaming};
use crate::revisions::{Item, Reader, Revisions, Wanted};
use crate::{RepositoryView, Revlog, RevlogName, StoreError};

/// The command `filesdata`.
pub(super) struct Filesdata;

/// The argument of `filesdata`.
pub(super) struct FilesdataArgs {
    revisions: Value,
    path_filter: Value,
    wanted: Wanted,
}

impl Argument<Args> for FilesdataArgs {
    const FIELDS: &'static [Field] = &[
        Field {
            name: "fields",
            shape: Shape::Set(&["firstchangeset", "linknode", "parents", "revision"]),
            required: false,
            about: "what to tell of each revision; `firstchangeset` means nothing",
        },
        Field {
            name: "haveparents",
            shape: Shape::Bool,
            required: false,
            about: "the client has the parents: only files that a changeset changes, and deltas",
        },
        Field {
            name: "pathfilter",
            shape: Shape::Dict,
            required: false,
            about: "`include` and `exclude`, lists of `path:` and `rootfilesin:` patterns",
        },
        Field {
            name: "revisions",
            shape: Shape::List,
            required: true,
            about: "revision specifiers",
        },
    ];
    const EXAMPLE: &'static str = "{\"fields\": {\"SET\": [\"parents\", \"revision\"]}, \"haveparents\": true, \"revisions\": [{\"nodes\": [\"hex:ab6f6465b68b31ae30e4c3be9b7a36403a275cb3\"], \"type\": \"changesetexplicit\"}]}";

    /// As `filedata`; and what is in a range changes, because unknown roots are
    /// passed over until they are known.
    fn depends_on(&self, dependency: Dependency) -> bool {
        dependency != Dependency::State
            || self.wanted.linknode
            || !specifier::are_explicit(&self.revisions)
    }

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        let value = |name| arguments.value(name).cloned().unwrap_or(Value::Null);
        Ok(Self {
            revisions: value("revisions"),
            path_filter: value("pathfilter"),
            wanted: arguments.wanted()?,
        })
    }
}

impl Command<RepositoryView> for Filesdata {
    type Args = FilesdataArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "filesdata",
        summary: "Sends the revisions of files that changesets have or change, file by file. Files that a changeset removes are passed over.",
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
            why: "for explicit changesets nodes name everything for good, unless the store is rewritten; a range has other changesets when the state changes, so the state token is in the key of ranges and of answers with linknodes",
        },
        answer_example: "{\"totalitems\": 1, \"totalpaths\": 1} {\"path\": \"README\", \"totalitems\": 1} {\"node\": \"hex:96ec8e8a7f6fac0f937f2fbfdcf6ae79d88e03af\"}",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: FilesdataArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let view = call.service;
        let filter = PathFilter::parse(Some(&args.path_filter))?;
        let revs = specifier::resolve(&args.revisions, view.snapshot())?;
        let manifests = view.snapshot().manifests().map_err(internal)?;
        let planner = Planner::new(revs, filter, args.wanted.have_parents);
        Ok(streaming(FilesRevisions {
            view: Arc::clone(view),
            manifests,
            reader: view.reader(),
            wanted: args.wanted,
            stage: Stage::Planning(Box::new(planner)),
        }))
    }
}

/// The answer while it is sent.
struct FilesRevisions {
    view: Arc<RepositoryView>,
    /// One for the whole answer. Another one may give the same numbers to other
    /// revisions.
    manifests: Arc<Revlog>,
    reader: Reader,
    wanted: Wanted,
    stage: Stage,
}

enum Stage {
    /// Which revisions of which files: the totals come first.
    Planning(Box<Planner>),
    /// Whether the manifests that the plan is made of are right.
    Verifying(Box<Planner>, Box<ManifestVerification>),
    /// File by file.
    Sending {
        files: std::vec::IntoIter<FilePlan>,
        current: Option<Revisions>,
    },
}

impl Objects for FilesRevisions {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        self.reader.begin_batch();
        match &mut self.stage {
            Stage::Planning(planner) => {
                let limit = self.view.options().request_bytes_max;
                let snapshot = self.view.snapshot();
                let more = planner.go_on(snapshot, &self.manifests, &mut self.reader, limit)?;
                if more == More::No {
                    let (manifests, revs) = (Arc::clone(&self.manifests), planner.take_manifests());
                    let verification = ManifestVerification::of_what_was_read(manifests, revs);
                    self.stage = Stage::Verifying(std::mem::take(planner), Box::new(verification));
                }
                Ok(More::Yes)
            }
            Stage::Verifying(planner, verification) => {
                let more = verification
                    .go_on(self.view.snapshot(), &mut self.reader)
                    .map_err(internal)?;
                if more == More::No {
                    let files = std::mem::take(&mut **planner).finish();
                    append_totals(&files, out);
                    self.stage = Stage::Sending {
                        files: files.into_iter(),
                        current: None,
                    };
                }
                Ok(More::Yes)
            }
            Stage::Sending { .. } => self.send(out),
        }
    }
}

impl FilesRevisions {
    fn send(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        let Stage::Sending { files, current } = &mut self.stage else {
            return Ok(More::No);
        };
        loop {
            if let Some(revisions) = current {
                while !revisions.is_done() {
                    if self.reader.is_batch_full(out) {
                        return Ok(More::Yes);
                    }
                    revisions
                        .append_next(&self.wanted, &mut self.reader, out)
                        .map_err(internal)?;
                }
            }
            let Some(file) = files.next() else {
                return Ok(More::No);
            };
            append_file(&file, out);
            self.reader.texts.forget();
            let revisions = open(&self.view, &file, &self.wanted).map_err(internal)?;
            *current = Some(revisions);
        }
    }
}

/// Opens the file's revlog and finds every node that the plan names.
fn open(view: &RepositoryView, file: &FilePlan, wanted: &Wanted) -> Result<Revisions, StoreError> {
    let snapshot = view.snapshot();
    let name = RevlogName::Filelog(&file.path);
    let filelog = Arc::new(Revlog::open(snapshot.store(), name)?);
    let items = file.nodes.iter().map(|(node, changeset)| {
        Ok(Item {
            rev: filelog.require(node)?,
            linknode: snapshot.node(*changeset),
        })
    });
    let items = items.collect::<Result<_, StoreError>>()?;
    Ok(Revisions::new(filelog, items, wanted))
}

fn append_totals(files: &[FilePlan], out: &mut Vec<u8>) {
    let items: usize = files.iter().map(|file| file.nodes.len()).sum();
    let mut writer = Writer::new(out);
    writer.map(2);
    writer.bytes(b"totalitems");
    writer.uint(items as u64);
    writer.bytes(b"totalpaths");
    writer.uint(files.len() as u64);
}

fn append_file(file: &FilePlan, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.map(2);
    writer.bytes(b"path");
    writer.bytes(&file.path);
    writer.bytes(b"totalitems");
    writer.uint(file.nodes.len() as u64);
}
