//! `pushkey`: changes a bookmark or a phase.

use fingerpost_core::{
    Access, Argument, Availability, BadArgument, CachePolicy, Call, Command, Cost, Declaration,
    Effect, Failure, Field, Kind, Outcome, Permission, Shape,
};
use fingerpost_hg_proto::Args;

use super::answer::Cbor;
use super::arguments::Arguments;
use crate::RepositoryView;
use crate::pushkey::{KeyChange, PushkeyError};

/// The command `pushkey`.
pub(super) struct Pushkey;

/// The argument of `pushkey`.
pub(super) struct PushkeyArgs {
    namespace: Vec<u8>,
    key: Vec<u8>,
    old: Vec<u8>,
    new: Vec<u8>,
}

const fn required(name: &'static str, about: &'static str) -> Field {
    Field {
        name,
        shape: Shape::Bytes,
        required: true,
        about,
    }
}

impl Argument<Args> for PushkeyArgs {
    const FIELDS: &'static [Field] = &[
        required("key", "the bookmark, or the changeset"),
        required("namespace", "`bookmarks` or `phases`"),
        required("new", "the value that it gets; empty for none"),
        required("old", "the value that it must have now; empty for none"),
    ];
    const EXAMPLE: &'static str = "{\"key\": \"feature\", \"namespace\": \"bookmarks\", \"new\": \"ab6f6465b68b31ae30e4c3be9b7a36403a275cb3\", \"old\": \"\"}";

    fn parse(args: &Args) -> Result<Self, BadArgument> {
        let arguments = Arguments::of(args, Self::FIELDS)?;
        let bytes = |name| arguments.bytes(name).map(<[u8]>::to_vec);
        Ok(Self {
            namespace: bytes("namespace")?,
            key: bytes("key")?,
            old: bytes("old")?,
            new: bytes("new")?,
        })
    }
}

impl Command<RepositoryView> for Pushkey {
    type Args = PushkeyArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "pushkey",
        summary: "Changes a bookmark or a phase, by the installed `hg`; says whether that was done. Only where the server has such a program.",
        access: Access::needs(&[Permission::Push]),
        availability: Availability::Writable,
        cost: Cost::Dear,
        effect: Effect::Change,
        kind: Kind::Once,
        cache: CachePolicy::Never { why: "it writes" },
        answer_example: "true",
    };

    async fn run(
        call: Call<'_, RepositoryView>,
        args: PushkeyArgs,
    ) -> Result<Outcome<Cbor>, Failure> {
        let view = call.service;
        let Some(program) = &view.options().pushkey else {
            return Err(Failure::Unknown);
        };
        let change = KeyChange {
            namespace: &args.namespace,
            key: &args.key,
            old: &args.old,
            new: &args.new,
        };
        match program.push(view.entry().root(), &change) {
            Ok(done) => Ok(Cbor::of(|writer| writer.bool(done))),
            Err(PushkeyError::Refused(why)) => Err(Failure::refused("pushkey-refused", why)),
            Err(error) => Err(Failure::internal(error)),
        }
    }
}
