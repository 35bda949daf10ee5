//! Arguments of the wrong type, number and size.

use std::time::Duration;

use fingerpost_core::{Entry, Shape};
use fingerpost_hg::RepositoryView;
use fingerpost_hg::pushkey::PushkeyProgram;
use fingerpost_hg_proto::cbor::Value;

use super::SAMPLE;
use crate::client::{API, Frame, Told, ask, body, call, call_all, map, post};
use crate::world::World;

/// The tip of the recorded repository, a changeset in the middle, a secret one
/// and one that is hidden.
const TIP: &str = "f01eb1639989329c659f6fae6edb3fdcc799ae06";
const PARENT: &str = "ab6f6465b68b31ae30e4c3be9b7a36403a275cb3";
const SECRET: &str = "68d98d86415235c69ad32472c07b6cf53aaaf2b5";
const HIDDEN: &str = "d38e2bcf174d0d60c56dc7c5add818817cff226f";

pub(super) fn node(hex: &str) -> Value {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
    Value::bytes(bytes)
}

pub(super) fn list<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::Array(items.into_iter().map(Into::into).collect())
}

fn bytes(text: &str) -> Value {
    Value::bytes(text)
}

/// Values of every type, and some that hold others where none are expected.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        Value::Bool(true),
        Value::Bool(false),
        Value::from(0_u64),
        Value::from(u64::MAX),
        Value::from(-1_i64),
        bytes(""),
        bytes("nodes"),
        Value::bytes([0xff; 20]),
        list::<Value>([]),
        list([Value::Null]),
        list([bytes("short")]),
        list([Value::bytes([7; 21])]),
        list([list::<Value>([])]),
        Value::set([bytes("x"), Value::from(3_u64)]),
        Value::record([]),
        Value::record([(&b"type"[..], Value::Null)]),
        Value::map([(Value::from(1_u64), Value::Null)]),
        list([Value::record([(&b"type"[..], bytes("changesetexplicit"))])]),
        list([Value::record([(&b"nodes"[..], Value::from(1_u64))])]),
    ]
}

/// Whether a value is of a field's type; what is in it may be wrong all the same.
fn fits(shape: Shape, value: &Value) -> bool {
    match shape {
        Shape::Bytes => value.as_bytes().is_some(),
        Shape::List | Shape::Set(_) => value.as_array().is_some() || value.as_set().is_some(),
        Shape::Dict => value.as_map().is_some() || value.is_null(),
        Shape::Bool => value.as_bool().is_some(),
        other => panic!("no command takes {other:?}"),
    }
}

/// Arguments that a command takes.
fn right(entry: &Entry<RepositoryView>) -> Vec<(&'static str, Value)> {
    let all = entry.fields.iter().filter(|field| field.required);
    all.map(|field| match (field.shape, field.name) {
        (Shape::Bytes, _) => (field.name, bytes("")),
        (_, "revisions") => {
            let specifier = [
                (&b"type"[..], bytes("changesetexplicit")),
                (b"nodes", list([node(TIP)])),
            ];
            (field.name, list([Value::record(specifier)]))
        }
        _ => (field.name, list::<Value>([])),
    })
    .collect()
}

async fn call_rw(door: &axum::Router, name: &str, args: &[(&str, Value)]) -> Told {
    let body = Frame::request(&map(name, args)).bytes();
    let answered = ask(door, post(&format!("{API}/rw/{name}"), body)).await;
    answered.told(1).remove(0)
}

/// Everything may be asked for, `pushkey` too.
fn open_world() -> World {
    let rules = format!("{SAMPLE}[web]\npush_ssl = no\nallow-push = *\n");
    let mut world = World::recorded("sample-dothg", &rules);
    world.mercurial.pushkey = Some(PushkeyProgram {
        hg: world.root().join("none"),
        timeout: Duration::from_secs(1),
    });
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_of_the_wrong_type_is_refused_in_a_sentence() {
    let world = open_world();
    let door = world.door();
    for entry in fingerpost_hg::commands().entries() {
        let name = entry.declaration.name;
        for field in entry.fields {
            for value in values() {
                let mut args = right(entry);
                args.retain(|(name, _)| *name != field.name);
                args.push((field.name, value.clone()));
                let told = call_rw(&door, name, &args).await;
                assert_eq!(told.failed, None, "{name} {}: {value:?}", field.name);
                let is_taken = fits(field.shape, &value) || field.about.contains("ignored");
                assert!(
                    is_taken || told.refused.is_some(),
                    "{name} takes {value:?} as {}",
                    field.name
                );
                let sentence = told.refused.unwrap_or_else(|| "ok".to_owned());
                assert!(
                    !sentence.trim().is_empty(),
                    "{name} {}: {value:?}",
                    field.name
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_missing_arguments_are_named() {
    let world = open_world();
    let door = world.door();
    for entry in fingerpost_hg::commands().entries() {
        let name = entry.declaration.name;
        let mut args = right(entry);
        args.extend([("zz", Value::Null), ("b\0b", Value::Null)]);
        let told = call_rw(&door, name, &args).await;
        let text = "unsupported argument to command: b\0b, zz";
        assert_eq!(told.refused.as_deref(), Some(text), "{name}");
        let required = entry.fields.iter().filter(|field| field.required);
        let mut names: Vec<_> = required.map(|field| field.name).collect();
        names.sort_unstable();
        if !names.is_empty() {
            let told = call_rw(&door, name, &[]).await;
            let text = format!("missing required arguments: {}", names.join(", "));
            assert_eq!(told.refused, Some(text), "{name}");
        }
    }
}

/// What is said about these specifiers, by both commands that take some.
async fn of_specifiers(door: &axum::Router, specifiers: Value) -> Told {
    let args = [("revisions", specifiers)];
    let told = call(door, "changesetdata", &args).await;
    let of_files = call(door, "filesdata", &args).await;
    assert_eq!(told.refused, of_files.refused);
    assert_eq!((&told.failed, of_files.failed), (&None, None));
    told
}

fn specifier(kind: &str, keys: &[(&str, Value)]) -> Value {
    let keys = keys
        .iter()
        .map(|(key, value)| (key.as_bytes(), value.clone()));
    Value::record(keys.chain([(&b"type"[..], bytes(kind))]))
}

#[tokio::test]
async fn specifiers_of_the_wrong_form_are_refused_in_the_references_words() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let nodes = || list([node(TIP)]);
    let none = || list::<Value>([]);
    for (value, text) in [
        (bytes("x"), "revisions must be defined as an array"),
        (list([bytes("x")]), "revision specifier must be a map"),
        (
            list([Value::record([])]),
            "type key not present in revision specifier",
        ),
        (
            list([specifier("x%s", &[])]),
            "unknown revision specifier type: x%s",
        ),
        (
            list([Value::record([(&b"type"[..], Value::from(1_u64))])]),
            "unknown revision specifier type: ",
        ),
        (
            list([specifier("changesetexplicit", &[])]),
            "nodes key not present in changesetexplicit revision specifier",
        ),
        (
            list([specifier("changesetexplicitdepth", &[("nodes", nodes())])]),
            "depth key not present in changesetexplicitdepth revision specifier",
        ),
        (
            list([specifier(
                "changesetexplicitdepth",
                &[("nodes", nodes()), ("depth", Value::from(-1_i64))],
            )]),
            "depth must be a number of generations",
        ),
        (
            list([specifier("changesetdagrange", &[("roots", none())])]),
            "heads key not present in changesetdagrange revision specifier",
        ),
        (
            list([specifier("changesetdagrange", &[("heads", nodes())])]),
            "roots key not present in changesetdagrange revision specifier",
        ),
        (
            list([specifier(
                "changesetdagrange",
                &[("roots", none()), ("heads", none())],
            )]),
            "heads key in changesetdagrange cannot be empty",
        ),
        (
            list([specifier(
                "changesetexplicit",
                &[("nodes", list([bytes("short")]))],
            )]),
            "nodes must be a list of nodes",
        ),
    ] {
        let told = of_specifiers(&door, value.clone()).await;
        assert_eq!(told.refused.as_deref(), Some(text), "{value:?}");
    }
}

#[tokio::test]
async fn what_is_not_served_is_as_unknown_as_what_is_not_there() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    for hex in [SECRET, HIDDEN, "1111111111111111111111111111111111111111"] {
        let nodes = list([node(TIP), node(hex)]);
        let none = || list::<Value>([]);
        for one in [
            specifier("changesetexplicit", &[("nodes", nodes.clone())]),
            specifier(
                "changesetexplicitdepth",
                &[("nodes", nodes.clone()), ("depth", Value::from(1_u64))],
            ),
            specifier(
                "changesetdagrange",
                &[("roots", none()), ("heads", nodes.clone())],
            ),
        ] {
            let told = of_specifiers(&door, list([one])).await;
            let text = format!("unknown changeset: {hex}");
            assert_eq!(told.refused, Some(text));
        }
        let told = call(&door, "lookup", &[("key", bytes(hex))]).await;
        assert_eq!(told.refused, Some(format!("unknown revision '{hex}'")));
        let told = call(&door, "known", &[("nodes", nodes)]).await;
        assert_eq!(told.objects, [bytes("10")]);
    }
}

fn total(told: &Told) -> u64 {
    told.objects[0]
        .get(b"totalitems")
        .unwrap()
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn depths_and_repetitions_beyond_reason_cost_nothing() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let deep = |depth: u64| {
        let keys = [("nodes", list([node(TIP)])), ("depth", Value::from(depth))];
        list([specifier("changesetexplicitdepth", &keys)])
    };
    let all = total(&of_specifiers(&door, deep(u64::MAX)).await);
    assert_eq!(total(&of_specifiers(&door, deep(1 << 40)).await), all);
    assert_eq!(total(&of_specifiers(&door, deep(1)).await), 1);
    assert_eq!(total(&of_specifiers(&door, deep(0)).await), 0);
    let again = specifier(
        "changesetexplicit",
        &[("nodes", list(vec![node(TIP); 100_000]))],
    );
    assert_eq!(total(&of_specifiers(&door, list([again])).await), 1);
    let Value::Array(mut many) = deep(u64::MAX) else {
        panic!("a list");
    };
    many = vec![many.remove(0); 1001];
    let told = of_specifiers(&door, list(many[1..].to_vec())).await;
    assert_eq!(total(&told), all);
    let told = of_specifiers(&door, Value::Array(many)).await;
    let text = "there can be at most 1000 revision specifiers";
    assert_eq!(told.refused.as_deref(), Some(text));
}

#[tokio::test]
async fn hundreds_of_thousands_of_nodes_are_answered_up_to_the_limit() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let number = |at: u32| Value::bytes([&at.to_be_bytes()[..], &[1; 16]].concat());
    let nodes = |count| list((0..count).map(number));
    let told = call_all(&door, &[("known", vec![("nodes", nodes(250_000))])])
        .await
        .told(1);
    assert_eq!(told[0].objects, [Value::bytes(vec![b'0'; 250_000])]);
    let beyond = body(&[("known", vec![("nodes", nodes(270_000))])]);
    let answered = ask(&door, post(&format!("{API}/ro/known"), beyond)).await;
    assert_eq!(answered.status, 413);
    let unknown = [("nodes", nodes(200_000)), ("tree", bytes(""))];
    let told = call_all(&door, &[("manifestdata", unknown.to_vec())])
        .await
        .told(1);
    assert!(
        told[0]
            .refused
            .as_deref()
            .unwrap()
            .starts_with("unknown node: ")
    );
    let roots = specifier(
        "changesetdagrange",
        &[("roots", nodes(100_000)), ("heads", list([node(TIP)]))],
    );
    assert!(total(&of_specifiers(&door, list([roots])).await) > 5);
}

#[tokio::test]
async fn good_and_bad_commands_of_one_request_are_told_apart() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let door = world.door();
    let commands = [
        ("heads", vec![]),
        ("lookup", vec![("key", bytes("nope"))]),
        ("lookup", vec![("key", Value::Null)]),
        ("known", vec![("nodes", list([node(PARENT)]))]),
        ("heads", vec![("x", Value::Null)]),
        (
            "rawstorefiledata",
            vec![("files", list([bytes("changelog")]))],
        ),
        ("changesetdata", vec![("revisions", Value::Null)]),
        ("listkeys", vec![("namespace", bytes("bookmarks"))]),
    ];
    let told = call_all(&door, &commands).await.told(commands.len());
    let refused = [
        None,
        Some("unknown revision 'nope'"),
        Some("argument key must be bytes"),
        None,
        Some("unsupported argument to command: x"),
        Some("stream clone is disabled"),
        Some("revisions must be defined as an array"),
        None,
    ];
    for (told, refused) in told.iter().zip(refused) {
        assert_eq!(told.refused.as_deref(), refused);
        assert_eq!(told.failed, None);
        assert_eq!(told.objects.is_empty(), refused.is_some());
    }
}
