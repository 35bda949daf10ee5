//! The recorded exchanges of the reference server, replayed.
//!
//! Frames are compared by what is in them: the objects of each request, or the
//! refusal. All else is compared byte for byte. What comes out differently on
//! purpose is in [`DIFFERENCES`], with what comes instead.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Request, header};
use fingerpost_core::testing::Shelf;
use fingerpost_hg::pushkey::PushkeyProgram;
use fingerpost_hg_proto::cbor::{self, Value};
use fingerpost_hg_proto::client::{Limits, Response, ResponseReader, format_message};
use fingerpost_hg_proto::server::{self, Inbox, Received};
use fingerpost_hg_proto::{CommandRequest, FRAMING_MEDIA_TYPE, Handshake, RequestId};
use http_body_util::BodyExt as _;
use hyper::ext::ReasonPhrase;

use crate::shelf::Shelved as _;
use crate::world::{World, examples, hg, run, send};

/// What the recorded repository was served with.
const SAMPLE: &str = "[phases]\npublish = no\n[experimental]\nevolution = all\n\
     [web]\npush_ssl = no\nallow-push = *\n";

/// What comes in the place of a recorded answer.
enum Instead {
    /// The command is refused, with this text.
    Refused(&'static str),
    /// Status, media type, and what is in the text.
    Plain(u16, &'static str, &'static str),
    /// What another exchange was answered.
    As(u32),
    /// These objects.
    Objects(&'static [&'static str]),
}

use Instead::{As, Objects, Plain, Refused};

/// Recorded exchanges that come out differently, and what comes instead.
/// `docs/differences.md` gives the reasons; a test holds the two together.
const DIFFERENCES: &[(u32, Instead)] = &[
    (
        2,
        Plain(200, "application/hg-error", "speaks only version 2"),
    ),
    (
        3,
        Plain(200, "application/hg-error", "speaks only version 2"),
    ),
    (
        4,
        Plain(200, "application/hg-error", "speaks only version 2"),
    ),
    (22, As(19)),
    (
        25,
        Objects(&[r#"{"bookmarks": "", "namespaces": "", "phases": ""}"#]),
    ),
    (30, Refused("unknown revision 'nope'")),
    (
        39,
        Refused("unknown changeset: 68d98d86415235c69ad32472c07b6cf53aaaf2b5"),
    ),
    (
        40,
        Refused("unknown changeset: 1111111111111111111111111111111111111111"),
    ),
    (49, Refused("unknown tree: nodir")),
    (
        59,
        Objects(&[
            r#"{"totalitems": 1, "totalpaths": 1}"#,
            r#"{"path": "src/a.txt", "totalitems": 1}"#,
            r#"{"node": "hex:f6ed91104e457ffc0f076ebf9dbf01e1ca84316b", "parents": ["hex:16157f27c5e6d0494ceab8b38b994a2203dc5320", "hex:0000000000000000000000000000000000000000"]}"#,
        ]),
    ),
    (
        74,
        Plain(404, "text/plain", "debugreflect service not available"),
    ),
    (
        75,
        Plain(
            403,
            "text/plain",
            "insufficient permissions to execute command: pushkey",
        ),
    ),
    (85, Refused("stream clone is disabled")),
    (86, Refused("stream clone is disabled")),
    (87, Refused("stream clone is disabled")),
    (88, As(1)),
    (93, As(1)),
    (95, As(94)),
    (98, As(94)),
    (100, As(94)),
];

/// An HTTP message, its body without the framing of HTTP.
pub(crate) struct Message {
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let body = bytes[end..].to_vec();
        let is_chunked = head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked");
        let body = if is_chunked { unchunked(&body) } else { body };
        Self { head, body }
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.head.lines().skip(1);
        lines.filter_map(|line| line.split_once(": "))
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields();
        fields
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The second word of the first line, and what follows it.
    fn start(&self) -> (&str, &str) {
        let line = self.head.lines().next().unwrap();
        let mut words = line.splitn(3, ' ').skip(1);
        (words.next().unwrap(), words.next().unwrap())
    }

    pub(crate) fn request(&self) -> Request<Vec<u8>> {
        let method = self.head.split(' ').next().unwrap();
        let mut request = Request::builder().method(method).uri(self.start().0);
        for (name, value) in self.fields() {
            request = request.header(name, value);
        }
        request.body(self.body.clone()).unwrap()
    }
}

impl Message {
    /// The only command of a request.
    pub(crate) fn command(&self) -> CommandRequest {
        let mut inbox = Inbox::new(server::Limits::default());
        let mut received = Vec::new();
        inbox.push(&self.body, &mut received).unwrap();
        let Received::Command { request, .. } = received.remove(0);
        request
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let len = std::str::from_utf8(&rest[..end]).unwrap();
        let len = usize::from_str_radix(len, 16).unwrap();
        rest = &rest[end + 2..];
        body.extend_from_slice(&rest[..len]);
        if len == 0 {
            return body;
        }
        rest = &rest[len + 2..];
    }
}

/// One side's answer, in a form that two sides can be compared in.
#[derive(PartialEq)]
pub(crate) enum Answer {
    /// Status, reason, media type, body.
    Plain(u16, String, Option<String>, Vec<u8>),
    /// The handshake, without the capabilities of v1 that we do not have.
    Handshake(Vec<(Vec<u8>, Value)>),
    /// What each request got, in order; a body that ends without an end is a
    /// last line that says so.
    Frames(Vec<String>),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(status, reason, media_type, body) => {
                let body = String::from_utf8_lossy(body);
                write!(f, "{status} {reason:?} {media_type:?} {body:?}")
            }
            Self::Handshake(apis) => write!(f, "handshake {apis:#?}"),
            Self::Frames(lines) => write!(f, "frames\n{}", lines.join("\n")),
        }
    }
}

impl Answer {
    fn of(status: u16, reason: &str, media_type: Option<&str>, body: &[u8]) -> Self {
        match media_type {
            Some(FRAMING_MEDIA_TYPE) => Self::Frames(frames(body)),
            Some("application/mercurial-cbor") => {
                let handshake = Handshake::decode(body, &cbor::Limits::RESPONSE).unwrap();
                Self::Handshake(handshake.apis.into_iter().collect())
            }
            _ => Self::Plain(
                status,
                reason.to_owned(),
                media_type.map(str::to_owned),
                body.to_vec(),
            ),
        }
    }

    pub(crate) fn recorded(message: &Message) -> Self {
        let (status, reason) = message.start();
        let media_type = message.field("content-type");
        Self::of(status.parse().unwrap(), reason, media_type, &message.body)
    }

    pub(crate) async fn ours(door: &axum::Router, request: Request<Vec<u8>>) -> Self {
        let response = send(door, request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let reason = match parts.extensions.get::<ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => parts
                .status
                .canonical_reason()
                .unwrap_or_default()
                .to_owned(),
        };
        let media_type = content_type(&parts.headers);
        Self::of(parts.status.as_u16(), &reason, media_type, &body)
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().unwrap())
}

/// What is in frames, a line for each thing that is said.
fn frames(body: &[u8]) -> Vec<String> {
    // The ids that recorded clients used.
    let ids = (1..=7).step_by(2).map(RequestId);
    let mut reader = ResponseReader::new(Limits::default(), ids);
    reader.push(body);
    let mut lines = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(event)) => {
                lines.push(format!("{} {}", event.request_id, line(&event.response)))
            }
            Ok(None) => return lines,
            Err(error) => {
                lines.push(format!("broken: {error}"));
                return lines;
            }
        }
    }
}

fn line(response: &Response) -> String {
    match response {
        Response::Refused { message, args } => {
            let text = format_message(message, args);
            format!("refused {:?}", String::from_utf8_lossy(&text))
        }
        Response::Failed { message, .. } => {
            format!("failed {:?}", String::from_utf8_lossy(message))
        }
        Response::Object(value) => format!("object {}", show(value)),
        other => format!("{other:?}"),
    }
}

/// An object as the notes beside the recorded exchanges show it.
fn show(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(show).collect::<Vec<_>>().join(", ");
    match value {
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') && bytes.len() != 20 => format!("{text:?}"),
            _ => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\"hex:{hex}\"")
            }
        },
        Value::Array(values) => format!("[{}]", list(values)),
        Value::Set(set) => format!("set [{}]", list(set.as_slice())),
        Value::Map(map) => {
            let pairs = map
                .iter()
                .map(|(key, value)| format!("{}: {}", show(key), show(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(truth) => truth.to_string(),
        Value::Null => "null".to_owned(),
        number => number
            .as_i64()
            .map_or_else(|| format!("{number:?}"), |number| number.to_string()),
    }
}

/// The names of the recorded exchanges, `34-changesetdata-clone`, by number.
pub(crate) fn recorded(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, String)> {
    let names = std::fs::read_dir(examples()).unwrap();
    let names = names.filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".req").map(str::to_owned)
    });
    let names: Vec<_> = names.collect();
    let number = |name: &str| name.split('-').next().unwrap().parse::<u32>().unwrap();
    let wanted = numbers.into_iter();
    wanted
        .map(|wanted| {
            let name = names.iter().find(|name| number(name) == wanted);
            (
                wanted,
                name.unwrap_or_else(|| panic!("no example {wanted}"))
                    .clone(),
            )
        })
        .collect()
}

pub(crate) fn recorded_answer(name: &str) -> Answer {
    Answer::recorded(&Message::read(&examples().join(format!("{name}.resp"))))
}

/// Replays exchanges, and returns how those came out that are neither equal
/// nor different in the way that is intended.
async fn replay(door: &axum::Router, numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, name) in recorded(numbers) {
        let request = Message::read(&examples().join(format!("{name}.req")));
        let found = Answer::ours(door, request.request()).await;
        let instead = DIFFERENCES.iter().find(|(known, _)| *known == number);
        let is_right = match instead {
            None => found == recorded_answer(&name),
            Some((_, instead)) => is_instead(&found, instead),
        };
        if !is_right {
            let recorded = recorded_answer(&name);
            wrong.push(format!(
                "{name}\nrecorded: {recorded:?}\nours:     {found:?}\n"
            ));
        }
    }
    wrong
}

fn is_instead(found: &Answer, instead: &Instead) -> bool {
    match (found, instead) {
        (Answer::Frames(lines), Refused(text)) => {
            *lines == [format!("1 refused {text:?}"), "1 End".to_owned()]
        }
        (Answer::Plain(status, _, media_type, body), Plain(known, wanted, text)) => {
            status == known
                && media_type.as_deref() == Some(*wanted)
                && String::from_utf8_lossy(body).contains(text)
        }
        (found, As(number)) => *found == recorded_answer(&recorded([*number])[0].1),
        (Answer::Frames(lines), Objects(objects)) => {
            let objects = objects.iter().map(|object| format!("1 object {object}"));
            let mut all = vec!["1 Ok".to_owned()];
            all.extend(objects);
            all.push("1 End".to_owned());
            *lines == all
        }
        _ => false,
    }
}

#[track_caller]
fn assert_equal(different: &[String]) {
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// With somebody who carries `pushkey` out, as the reference has it.
fn with_pushkey(mut world: World) -> World {
    world.mercurial.pushkey = Some(PushkeyProgram {
        hg: hg(),
        timeout: Duration::from_secs(60),
    });
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_repository_answers_as_recorded() {
    let world = with_pushkey(World::recorded("sample-dothg", SAMPLE));
    assert_equal(&replay(&world.door(), 1..=77).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn remembered_answers_are_as_recorded_too() {
    let shelf = Arc::new(Shelf::default());
    let mut world = with_pushkey(World::recorded("sample-dothg", SAMPLE));
    for _ in 0..3 {
        world.cache = Some(shelf.cache());
        assert_equal(&replay(&world.door(), 1..=77).await);
    }
    assert!(!shelf.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repository_made_from_the_bundle_answers_as_recorded() {
    let world = with_pushkey(World::empty());
    let script = examples().join("setup-sample.sh");
    run(Command::new("sh")
        .arg(script)
        .arg(world.root())
        .env("HG", hg()));
    std::fs::write(world.root().join(".hg/hgrc"), SAMPLE).unwrap();
    assert_equal(&replay(&world.door(), 1..=77).await);
}

#[tokio::test]
async fn without_a_program_for_it_there_is_no_pushkey() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let request = Message::read(&examples().join("76-pushkey-rw.req"));
    let found = Answer::ours(&world.door(), request.request()).await;
    let text = "insufficient permissions to execute command: pushkey";
    assert!(
        is_instead(&found, &Plain(403, "text/plain", text)),
        "{found:?}"
    );
    let request = Message::read(&examples().join("01-handshake-upgrade.req"));
    let Answer::Handshake(apis) = Answer::ours(&world.door(), request.request()).await else {
        panic!("no handshake");
    };
    let commands = apis[0].1.get(b"commands").unwrap();
    assert!(commands.get(b"heads").is_some() && commands.get(b"pushkey").is_none());
}

#[tokio::test]
async fn rules_of_the_repository_are_told_as_recorded() {
    for (number, rule) in [
        (78, "allow-pull = no"),
        (79, "deny_push = *\nallow-push = *\npush_ssl = no"),
        (80, "deny_read = *"),
    ] {
        let world = World::recorded("sample-dothg", &format!("[web]\n{rule}\n"));
        assert_equal(&replay(&world.door(), [number]).await);
    }
}

#[tokio::test]
async fn a_publishing_repository_announces_everything_as_public() {
    let world = World::recorded("sample-dothg", "[experimental]\nevolution = all\n");
    assert_equal(&replay(&world.door(), [89, 90]).await);
}

#[tokio::test]
async fn censored_revisions_come_as_their_tombstones() {
    let world = World::recorded("censored", "[phases]\npublish = no\n");
    assert_equal(&replay(&world.door(), [91, 92]).await);
}

#[tokio::test]
async fn raw_files_of_a_repository_with_secrets_are_never_served() {
    let allowed = "[server]\nuncompressed = yes\nuncompressedallowsecret = true\n";
    let world = with_pushkey(World::recorded(
        "sample-dothg",
        &format!("{SAMPLE}{allowed}"),
    ));
    assert_equal(&replay(&world.door(), 85..=88).await);
}

#[tokio::test]
async fn tree_manifests_are_refused_by_name() {
    let world = World::recorded("sample-dothg", SAMPLE);
    let requires = world.root().join(".hg/requires");
    let mut names = std::fs::read_to_string(&requires).unwrap();
    names.push_str("treemanifest\n");
    std::fs::write(requires, names).unwrap();
    let request = Message::read(&examples().join("01-handshake-upgrade.req"));
    let found = Answer::ours(&world.door(), request.request()).await;
    assert!(
        is_instead(&found, &Plain(200, "application/hg-error", "treemanifest")),
        "{found:?}"
    );
}

#[tokio::test]
async fn without_a_target_nothing_is_redirected() {
    let world = with_pushkey(World::recorded("sample-dothg", SAMPLE));
    assert_equal(&replay(&world.door(), REDIRECTS).await);
}

/// Exchanges about redirects; `redirected.rs` replays them with targets.
const REDIRECTS: [u32; 7] = [93, 94, 95, 97, 98, 99, 100];

/// The API can be off in the reference, and 96 is a fetch from its cacher.
const NOT_FOR_US: [u32; 4] = [81, 82, 83, 96];

#[test]
fn every_recorded_exchange_is_replayed_or_named() {
    let here = [1..=77, 78..=80, 85..=92];
    let here: Vec<u32> = here.into_iter().flatten().chain(REDIRECTS).collect();
    let all = recorded((1..=100).filter(|number| *number != 84));
    let missing: Vec<_> = all
        .iter()
        .filter(|(number, _)| !here.contains(number) && !NOT_FOR_US.contains(number))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_difference_is_documented() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/differences.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    for (_, name) in recorded(
        DIFFERENCES
            .iter()
            .map(|(number, _)| *number)
            .chain(NOT_FOR_US),
    ) {
        assert!(
            docs.contains(&format!("`{name}`")),
            "docs/differences.md lacks {name}"
        );
    }
}
