//! `capabilities`: what the server understands, derived from the declarations.

use std::sync::LazyLock;

use fingerpost_core::{
    Access, Availability, CachePolicy, Call, Command, Cost, Declaration, Dependency, Effect, Entry,
    Failure, Field, Kind, Outcome, Permission, Registry, Shape,
};
use fingerpost_hg_proto::FRAMING_MEDIA_TYPE;
use fingerpost_hg_proto::cbor::Value;

use super::answer::Cbor;
use super::branchmap::NoArgs;
use crate::RepositoryView;

/// The command `capabilities`.
pub(super) struct Capabilities;

impl Command<RepositoryView> for Capabilities {
    type Args = NoArgs;
    type Answer = Cbor;

    const DECLARATION: Declaration = Declaration {
        name: "capabilities",
        summary: "Describes the commands, as the handshake does.",
        access: Access::needs(&[Permission::Pull]),
        availability: Availability::Always,
        cost: Cost::Cheap,
        effect: Effect::None,
        kind: Kind::Once,
        cache: CachePolicy::Key {
            version: 1,
            depends_on: &[Dependency::State],
            why: "raw store files are offered or not by the state of the repository; the rest is the server's version and configuration",
        },
        answer_example: "{\"commands\": {}, \"framingmediatypes\": [\"application/mercurial-exp-framing-0006\"], \"pathfilterprefixes\": {\"SET\": [\"path:\", \"rootfilesin:\"]}, \"rawrepoformats\": [\"generaldelta\", \"revlogv1\", \"sparserevlog\"]}",
    };

    async fn run(call: Call<'_, RepositoryView>, _: NoArgs) -> Result<Outcome<Cbor>, Failure> {
        let descriptor = descriptor(call.service);
        Ok(Cbor::of(|writer| writer.value(&descriptor)))
    }
}

/// What a client is told of the API: the commands with their arguments, and
/// the formats of raw store files.
pub fn descriptor(view: &RepositoryView) -> Value {
    static COMMANDS: LazyLock<Registry<RepositoryView>> = LazyLock::new(super::commands);
    let offered = COMMANDS
        .entries()
        .iter()
        .filter(|entry| is_offered(entry, view));
    let commands = offered.map(|entry| {
        let name = Value::bytes(entry.declaration.name);
        (name, describe(entry, view))
    });
    let formats = view.snapshot().store().requirements().formats();
    Value::record([
        (&b"commands"[..], Value::map(commands)),
        (
            b"framingmediatypes",
            Value::Array(vec![Value::bytes(FRAMING_MEDIA_TYPE)]),
        ),
        (
            b"pathfilterprefixes",
            Value::set([Value::bytes("path:"), Value::bytes("rootfilesin:")]),
        ),
        (
            b"rawrepoformats",
            Value::Array(
                formats
                    .iter()
                    .map(|name| Value::bytes(name.as_bytes()))
                    .collect(),
            ),
        ),
    ])
}

fn is_offered(entry: &Entry<RepositoryView>, view: &RepositoryView) -> bool {
    let declaration = &entry.declaration;
    let is_raw = declaration.name == super::rawstorefiledata::NAME;
    (!is_raw || view.serves_raw_files())
        && (declaration.availability == Availability::Always || view.options().pushkey.is_some())
}

fn describe(entry: &Entry<RepositoryView>, view: &RepositoryView) -> Value {
    let declaration = &entry.declaration;
    let args = entry.fields.iter();
    let args = args.map(|field| (Value::bytes(field.name), describe_field(field)));
    let needs = declaration.access.needs.iter();
    let needs = needs.map(|need| Value::bytes(need.as_str())).collect();
    let mut facts = vec![
        (&b"args"[..], Value::map(args)),
        (b"permissions", Value::Array(needs)),
    ];
    let batch = match declaration.name {
        "filesdata" => Some(view.options().files_batch),
        "manifestdata" => Some(view.options().manifests_batch),
        _ => None,
    };
    facts.extend(batch.map(|batch| (&b"recommendedbatchsize"[..], Value::from(batch))));
    Value::record(facts)
}

fn describe_field(field: &Field) -> Value {
    let (kind, default, valid) = match field.shape {
        Shape::List => ("list", Value::Array(Vec::new()), None),
        Shape::Set(words) => {
            let words = words.iter().map(|word| Value::bytes(*word));
            ("set", Value::set([]), Some(Value::set(words)))
        }
        Shape::Dict => ("dict", Value::Null, None),
        Shape::Bool | Shape::Flag => ("bool", Value::Bool(false), None),
        _ => ("bytes", Value::bytes(""), None),
    };
    let mut facts = vec![
        (&b"required"[..], Value::Bool(field.required)),
        (b"type", Value::bytes(kind)),
    ];
    if !field.required {
        facts.push((b"default", default));
    }
    facts.extend(valid.map(|valid| (&b"validvalues"[..], valid)));
    Value::record(facts)
}
