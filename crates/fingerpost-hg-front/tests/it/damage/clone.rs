//! Everything that clients ask for, and a look at whether it is right.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use fingerpost_hg::{delta, hash};
use fingerpost_hg_proto::Node;
use fingerpost_hg_proto::cbor::Value;

use crate::client::{Answered, Command, Told, call_all};

/// Revisions that were sent: log, node, text. The logs are named `changelog`,
/// `manifest` and by the paths of files.
pub(super) type Texts = BTreeMap<(Vec<u8>, Node), Vec<u8>>;

/// What there is to ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) changesets: Vec<Node>,
    pub(super) manifests: Vec<Node>,
    pub(super) files: BTreeMap<Vec<u8>, Vec<Node>>,
}

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) texts: Texts,
    /// For each known changeset whether the server says that it has it.
    pub(super) known: Option<Vec<u8>>,
    pub(super) heads: Vec<Node>,
    /// What clients would print.
    pub(super) complaints: Vec<String>,
    /// What no client may be sent: texts that are not those of their nodes, and
    /// deltas that lead nowhere.
    pub(super) wrong: Vec<String>,
}

pub(super) fn nodes<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Value {
    let nodes = nodes.into_iter().map(|node| Value::bytes(*node.as_bytes()));
    Value::Array(nodes.collect())
}

fn fields(names: &[&str]) -> (&'static str, Value) {
    let names = names.iter().map(|name| Value::bytes(*name));
    ("fields", Value::set(names))
}

fn specifier(kind: &str, keys: &[(&str, Value)]) -> (&'static str, Value) {
    let keys = keys
        .iter()
        .map(|(key, value)| (key.as_bytes(), value.clone()));
    let specifier = Value::record(keys.chain([(&b"type"[..], Value::bytes(kind))]));
    ("revisions", Value::Array(vec![specifier]))
}

/// The questions of a client that knows what there is.
fn questions(known: &Known) -> Vec<Command<'_>> {
    let text = |text: &str| Value::bytes(text);
    let all = || specifier("changesetexplicit", &[("nodes", nodes(&known.changesets))]);
    let every = || fields(&["parents", "revision", "linknode", "phase", "bookmarks"]);
    let have = |parents: bool| ("haveparents", Value::Bool(parents));
    let tip = known.changesets.last().map(ToString::to_string);
    let mut questions = vec![
        ("heads", vec![]),
        ("known", vec![("nodes", nodes(&known.changesets))]),
        ("branchmap", vec![]),
        ("listkeys", vec![("namespace", text("bookmarks"))]),
        ("listkeys", vec![("namespace", text("phases"))]),
        ("lookup", vec![("key", text("tip"))]),
        ("lookup", vec![("key", text("default"))]),
        ("lookup", vec![("key", text("no such tag"))]),
        ("lookup", vec![("key", text(tip.as_deref().unwrap_or("0")))]),
        ("changesetdata", vec![all(), every()]),
        (
            "manifestdata",
            vec![
                ("nodes", nodes(&known.manifests)),
                ("tree", text("")),
                have(true),
                every(),
            ],
        ),
        (
            "manifestdata",
            vec![
                ("nodes", nodes(known.manifests.last())),
                ("tree", text("")),
                have(false),
                every(),
            ],
        ),
        ("filesdata", vec![all(), have(true), every()]),
        ("filesdata", vec![all(), have(false), every()]),
        (
            "rawstorefiledata",
            vec![(
                "files",
                Value::Array(vec![text("changelog"), text("manifestlog")]),
            )],
        ),
    ];
    for (path, of_path) in known.files.iter().take(24) {
        let path = ("path", Value::bytes(path.as_slice()));
        let args = vec![path, ("nodes", nodes(of_path)), have(false), every()];
        questions.push(("filedata", args));
    }
    questions
}

/// The questions of a client that was told these heads.
fn questions_of_heads(heads: &[Node]) -> Vec<Command<'static>> {
    let range = || {
        let keys = [("roots", nodes([])), ("heads", nodes(heads))];
        specifier("changesetdagrange", &keys)
    };
    vec![
        (
            "changesetdata",
            vec![range(), fields(&["parents", "revision"])],
        ),
        (
            "filesdata",
            vec![
                range(),
                ("haveparents", Value::Bool(true)),
                fields(&["parents", "revision"]),
            ],
        ),
    ]
}

/// Asks for everything; `Err` is what came instead of frames.
pub(super) async fn ask_all(door: &Router, known: &Known) -> Result<Seen, Box<Answered>> {
    let mut seen = Seen::default();
    let commands = questions(known);
    let answered = call_all(door, &commands).await;
    if !answered.is_frames() {
        return Err(Box::new(answered));
    }
    let told = answered.told(commands.len());
    seen.add_all(&commands, &told);
    seen.known = told[1]
        .objects
        .first()
        .and_then(Value::as_bytes)
        .map(<[u8]>::to_vec);
    let heads = told[0].objects.first().and_then(Value::as_array);
    let heads = heads.unwrap_or_default().iter().filter_map(Value::as_bytes);
    seen.heads = heads.filter_map(Node::from_slice).collect();
    let commands = questions_of_heads(&seen.heads);
    let answered = call_all(door, &commands).await;
    if !answered.is_frames() {
        return Err(Box::new(answered));
    }
    seen.add_all(&commands, &answered.told(commands.len()));
    Ok(seen)
}

/// Asks a whole repository what it has.
pub(super) async fn learn(door: &Router) -> Known {
    let seen = ask_all(door, &Known::default()).await.unwrap();
    let mut known = Known::default();
    let mut manifests = BTreeSet::new();
    for ((log, node), text) in &seen.texts {
        match log.as_slice() {
            b"changelog" => {
                known.changesets.push(*node);
                manifests.insert(Node::from_hex(&text[..40]).unwrap());
            }
            path => known.files.entry(path.to_vec()).or_default().push(*node),
        }
    }
    known.manifests = manifests
        .into_iter()
        .filter(|node| !node.is_null())
        .collect();
    assert!(!known.changesets.is_empty() && !known.files.is_empty());
    known
}

impl Seen {
    fn add_all(&mut self, commands: &[Command<'_>], told: &[Told]) {
        for ((name, args), told) in commands.iter().zip(told) {
            self.complaints.extend(told.complaint().map(str::to_owned));
            let log = match *name {
                "changesetdata" => b"changelog".to_vec(),
                "manifestdata" => b"manifest".to_vec(),
                "filesdata" => Vec::new(),
                "filedata" => {
                    let path = args.iter().find(|(name, _)| *name == "path");
                    path.unwrap().1.as_bytes().unwrap().to_vec()
                }
                _ => continue,
            };
            self.add_records(log, &told.objects);
        }
    }

    /// Makes texts of records, and checks that they hash to their nodes.
    fn add_records(&mut self, mut log: Vec<u8>, objects: &[Value]) {
        let mut objects = objects.iter();
        while let Some(record) = objects.next() {
            if let Some(path) = record.get(b"path") {
                log = path.as_bytes().unwrap().to_vec();
            }
            // What is cut off by a failure is not there.
            let Some(body) = record.get(b"fieldsfollowing").and_then(|_| objects.next()) else {
                continue;
            };
            self.add_text(&log, record, body.as_bytes().unwrap());
        }
    }

    fn add_text(&mut self, log: &[u8], record: &Value, body: &[u8]) {
        let node_of = |value: &Value| Node::from_slice(value.as_bytes().unwrap()).unwrap();
        let node = node_of(record.get(b"node").unwrap());
        let log_name = String::from_utf8_lossy(log);
        let text = match record.get(b"deltabasenode").map(node_of) {
            None => body.to_vec(),
            Some(base) => {
                let known = self.texts.get(&(log.to_vec(), base));
                let mut text = Vec::new();
                let applied = known.map(|known| delta::apply(known, body, &mut text));
                if applied != Some(Ok(())) {
                    let what = format!("{log_name} {node} on {base}: {applied:?}");
                    return self.wrong.push(what);
                }
                text
            }
        };
        let parents = record.get(b"parents").unwrap().as_array().unwrap();
        let is_right = hash([node_of(&parents[0]), node_of(&parents[1])], &text) == node;
        if !is_right && !text.starts_with(b"\x01\ncensored:") {
            self.wrong
                .push(format!("{log_name} {node} is {}", text.escape_ascii()));
        }
        self.texts.insert((log.to_vec(), node), text);
    }
}
