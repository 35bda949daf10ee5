//! `rawstorefiledata`: changelog and manifest as the files that they are.

use std::sync::Arc;

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Dependency, Effect, Failure, Field, Kind, More, Objects, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::Args;
use fingerpost_hg_proto::cbor::Writer;

use super::answer::Cbor;
use super::arguments::Arguments;
use super::failures::internal;
use super::streaming;
use crate::raw::{self, RawFile};
use crate::revisions::Reader;
use crate::{RepositoryView, Rev, Revlog};

/// The command `rawstorefiledata`.
pub(super) struct Rawstorefiledata;

/// Its name, by which it is left out where it is not served.
pub(super) const NAME: &str = "rawstorefiledata";

/// The argument of `rawstorefiledata`.
pub(super) struct RawstorefiledataArgs {
    files: Vec<Vec<u8>>,
}

impl Argument<Args> for RawstorefiledataArgs {
    const FIELDS: &'static [Field] = &[
        Field {
            name: "files",
            shape: Shape::List,
            required: true,
            about: "`changelog`, `manifestlog`",
        },
        Field {
            name: "pathfilter",
            shape: Shape::List,
            required: false,
            about: "taken and ignored",
        },
    ];
    const EXAMPLE: &'static str = "{\"files\": [\"changelog\", \"manifestlog\"]}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        let files = arguments.members("files")?.iter();
        let names = files.map(|name| name.as_bytes().map(<[u8]>::to_vec));
        let files = names.collect::<Option<Vec<_>>>();
        Ok(Self {
            files: files
                .ok_or_else(|| BadArgument("argument files must be a list of names".to_owned()))?,
        })
    }
}

impl Command<RepositoryView> for Rawstorefiledata {
    type Args = RawstorefiledataArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: NAME,
        summary: "Sends the store's files of changelog and manifest as they are. Only where nothing in them is secret or hidden.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Dear,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::State, Dependency::Generation],
            why: "the files are cut where the snapshot ends, which the state token covers",
        },
        answer_example: "{\"filecount\": 1, \"totalsize\": 1857} {\"location\": \"store\", \"path\": \"00changelog.i\", \"size\": 1857}",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: RawstorefiledataArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let view = call.service;
        if !view.serves_raw_files() {
            return Err(Failure::refused(
                "no-stream-clone",
                "stream clone is disabled",
            ));
        }
        let known: [&[u8]; 2] = [b"changelog", b"manifestlog"];
        if let Some(unknown) = args
            .files
            .iter()
            .find(|name| !known.contains(&name.as_slice()))
        {
            let message = "unknown file type: %s";
            return Err(Failure::refused_with(
                "unknown-file-type",
                message,
                vec![unknown.clone()],
            ));
        }
        let wants = |name: &[u8]| args.files.iter().any(|wanted| wanted == name);
        let snapshot = view.snapshot();
        let (mut files, mut unverified) = (Vec::new(), Vec::new());
        if wants(b"manifestlog") {
            let manifests = snapshot.manifests().map_err(internal)?;
            files.extend(raw::manifest_files(snapshot, &manifests).map_err(internal)?);
            unverified.push(manifests);
            view.check_not_stripped().map_err(internal)?;
        }
        if wants(b"changelog") {
            files.extend(raw::changelog_files(snapshot).map_err(internal)?);
            unverified.push(Arc::clone(snapshot.changelog().revlog()));
        }
        Ok(streaming(RawFiles {
            view: Arc::clone(view),
            reader: view.reader(),
            unverified,
            verified: 0,
            files,
            current: None,
            at: 0,
        }))
    }
}

/// The files while they are sent.
struct RawFiles {
    view: Arc<RepositoryView>,
    reader: Reader,
    /// Revlogs of which not every revision is known to be right.
    unverified: Vec<Arc<Revlog>>,
    /// How many revisions of the last of them are.
    verified: usize,
    files: Vec<RawFile>,
    current: Option<usize>,
    /// Bytes of the current file that were sent.
    at: u64,
}

impl Objects for RawFiles {
    fn append(&mut self, out: &mut Vec<u8>) -> Result<More, Failure> {
        if self.verify()? == More::Yes {
            return Ok(More::Yes);
        }
        let index = match self.current {
            Some(index) => index,
            None => {
                self.append_totals(out);
                self.current = Some(0);
                0
            }
        };
        let Some(file) = self.files.get(index) else {
            return Ok(More::No);
        };
        let mut writer = Writer::new(out);
        if self.at == 0 {
            writer.map(3);
            for (key, value) in [
                (&b"location"[..], &b"store"[..]),
                (b"path", file.name().as_bytes()),
            ] {
                writer.bytes(key);
                writer.bytes(value);
            }
            writer.bytes(b"size");
            writer.uint(file.len());
            writer.begin_indefinite_bytes();
        }
        let piece = file.read(self.at, PIECE_BYTES).map_err(internal)?;
        if !piece.is_empty() {
            writer.bytes(&piece);
            self.at += piece.len() as u64;
        }
        if self.at >= file.len() {
            writer.end_indefinite_bytes();
            self.current = Some(index + 1);
            self.at = 0;
        }
        Ok(More::Yes)
    }
}

impl RawFiles {
    /// Verifies for a while what is going to be sent: whoever takes whole files
    /// gets no second look.
    fn verify(&mut self) -> Result<More, Failure> {
        self.reader.begin_batch();
        while let Some(revlog) = self.unverified.last() {
            match Rev::from_index(self.verified).filter(|rev| rev.index() < revlog.len()) {
                Some(rev) if revlog.link_rev(rev) as usize >= self.view.snapshot().len() => {}
                Some(rev) => {
                    let texts = &mut self.reader.texts;
                    revlog.ensure_verified(rev, texts).map_err(internal)?;
                    let len = revlog.text_len(rev).unwrap_or(0);
                    self.reader.count_work(len.into());
                }
                None => {
                    self.unverified.pop();
                    self.verified = 0;
                    continue;
                }
            }
            self.verified += 1;
            if self.reader.is_batch_full(&[]) {
                return Ok(More::Yes);
            }
        }
        Ok(More::No)
    }

    fn append_totals(&self, out: &mut Vec<u8>) {
        let total: u64 = self.files.iter().map(RawFile::len).sum();
        let mut writer = Writer::new(out);
        writer.map(2);
        writer.bytes(b"filecount");
        writer.uint(self.files.len() as u64);
        writer.bytes(b"totalsize");
        writer.uint(total);
    }
}

/// Chunks of a byte string of indefinite length.
const PIECE_BYTES: usize = 128 << 10;
