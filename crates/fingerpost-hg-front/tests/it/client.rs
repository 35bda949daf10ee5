//! Requests, right and wrong ones, and what came of them.

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use fingerpost_hg_proto::cbor::{Value, Writer};
use fingerpost_hg_proto::client::{
    Limits, RequestWriter, Response, ResponseReader, format_message,
};
use fingerpost_hg_proto::{
    Args, CommandRequest, FRAMING_MEDIA_TYPE, Location, RedirectRequest, RequestId,
};
use http_body_util::BodyExt as _;
use hyper::ext::ReasonPhrase;

use crate::world::send;

/// Where the commands are.
pub(crate) const API: &str = "/api/exp-http-v2-0003";

/// A frame of a client, of any form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) id: u16,
    pub(crate) stream: u8,
    pub(crate) stream_flags: u8,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The whole of a request, as the first frame of its stream.
    pub(crate) fn request(payload: &'a [u8]) -> Self {
        Self {
            id: 1,
            stream: 1,
            stream_flags: 1,
            kind: 1,
            flags: 1,
            payload,
        }
    }

    /// The settings of a client.
    pub(crate) fn settings(payload: &'a [u8]) -> Self {
        Self {
            kind: 8,
            flags: 2,
            ..Self::request(payload)
        }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let [l0, l1, l2, _] = (self.payload.len() as u32).to_le_bytes();
        let [r0, r1] = self.id.to_le_bytes();
        let kind = self.kind << 4 | self.flags;
        let head = [l0, l1, l2, r0, r1, self.stream, self.stream_flags, kind];
        [&head, self.payload].concat()
    }
}

/// The map of a request.
pub(crate) fn map(name: &str, args: &[(&str, Value)]) -> Vec<u8> {
    let args: Args = args
        .iter()
        .map(|(name, value)| (*name, value.clone()))
        .collect();
    let mut map = Vec::new();
    CommandRequest::new(name, args).encode(&mut map);
    map
}

/// The encoded form of one value.
pub(crate) fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).value(value);
    out
}

/// One command with its arguments.
pub(crate) type Command<'a> = (&'a str, Vec<(&'a str, Value)>);

/// The body that asks for commands, without settings.
pub(crate) fn body(commands: &[Command<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = RequestWriter::without_settings();
    for (name, args) in commands {
        let args: Args = args
            .iter()
            .map(|(name, value)| (*name, value.clone()))
            .collect();
        let request = CommandRequest::new(*name, args);
        writer.write(&mut body, &request).unwrap();
    }
    body
}

/// A POST with the right headers.
pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Request<Vec<u8>> {
    Request::post(path)
        .header(header::ACCEPT, FRAMING_MEDIA_TYPE)
        .header(header::CONTENT_TYPE, FRAMING_MEDIA_TYPE)
        .body(body.into())
        .unwrap()
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    /// Collects a response; `None` if it breaks off.
    pub(crate) async fn of(response: axum::http::Response<Body>) -> Option<Self> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let reason = match parts.extensions.get::<ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => parts.status.canonical_reason().unwrap().to_owned(),
        };
        Some(Self {
            status: parts.status.as_u16(),
            reason,
            headers: parts.headers,
            body: body.to_vec(),
        })
    }

    pub(crate) fn media_type(&self) -> Option<&str> {
        let value = self.headers.get(header::CONTENT_TYPE)?;
        Some(value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn is_frames(&self) -> bool {
        self.status == 200 && self.media_type() == Some(FRAMING_MEDIA_TYPE)
    }

    /// What each of so many requests was told. Panics if that is not well
    /// formed: an end for each, and nothing after it.
    #[track_caller]
    pub(crate) fn told(&self, requests: usize) -> Vec<Told> {
        assert!(self.is_frames(), "{self:?}");
        let ids: Vec<_> = (0..requests as u16)
            .map(|at| RequestId(2 * at + 1))
            .collect();
        let mut reader = ResponseReader::new(Limits::default(), ids.iter().copied());
        let mut told: Vec<Told> = ids.iter().map(|_| Told::default()).collect();
        reader.push(&self.body);
        while let Some(event) = reader.next().unwrap() {
            told[usize::from(event.request_id.0) / 2].add(event.response);
        }
        reader.finish().unwrap();
        told
    }
}

/// What was said about one request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    /// The objects, a byte string of indefinite length as one.
    pub(crate) objects: Vec<Value>,
    pub(crate) refused: Option<String>,
    pub(crate) failed: Option<String>,
    pub(crate) redirect: Option<Location>,
}

impl Told {
    /// Takes in what comes next.
    pub(crate) fn add(&mut self, response: Response) {
        match response {
            Response::Object(value) => self.objects.push(value),
            Response::BytesBegin { .. } => self.objects.push(Value::bytes(*b"")),
            Response::BytesChunk(chunk) => {
                let Some(Value::Bytes(bytes)) = self.objects.last_mut() else {
                    panic!("a chunk of nothing");
                };
                bytes.extend(chunk);
            }
            Response::Refused { message, args } => {
                let places = message.windows(2).filter(|two| two == b"%s").count();
                assert_eq!(places, args.len());
                let text = format_message(&message, &args);
                self.refused = Some(String::from_utf8_lossy(&text).into_owned());
            }
            Response::Failed { message, .. } => {
                self.failed = Some(String::from_utf8_lossy(&message).into_owned());
            }
            Response::Ok | Response::End | Response::BytesEnd => {}
            Response::Redirect(location) => self.redirect = Some(location),
            Response::FrameSeen(_) => panic!("nobody asked for it"),
        }
    }

    /// What the client would print, if the request came to nothing.
    pub(crate) fn complaint(&self) -> Option<&str> {
        self.refused.as_deref().or(self.failed.as_deref())
    }
}

/// Sends a request and takes the whole answer.
pub(crate) async fn ask(door: &axum::Router, request: Request<Vec<u8>>) -> Answered {
    Answered::of(send(door, request).await)
        .await
        .expect("the answer is whole")
}

/// Asks for one command and returns what was told about it.
pub(crate) async fn call(door: &axum::Router, name: &str, args: &[(&str, Value)]) -> Told {
    let body = body(&[(name, args.to_vec())]);
    let answered = ask(door, post(&format!("{API}/ro/{name}"), body)).await;
    answered.told(1).remove(0)
}

/// Asks for one command as a client that follows redirects to these targets, and
/// undoes these codings there.
pub(crate) async fn call_following(
    door: &axum::Router,
    agent: &str,
    request: &CommandRequest,
) -> Told {
    let mut body = Vec::new();
    let mut writer = RequestWriter::without_settings();
    writer.write(&mut body, request).unwrap();
    let name = String::from_utf8_lossy(&request.name);
    let mut request = post(&format!("{API}/ro/{name}"), body);
    let agent = agent.parse().unwrap();
    request.headers_mut().insert(header::USER_AGENT, agent);
    ask(door, request).await.told(1).remove(0)
}

/// A redirect map of a client that knows SHA-256.
pub(crate) fn follows(targets: &[&str], encodings: &[&str]) -> RedirectRequest {
    let bytes = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
    RedirectRequest {
        targets: bytes(targets),
        hashes: vec![b"sha256".to_vec()],
        encodings: bytes(encodings),
    }
}

/// Asks for several commands at once.
pub(crate) async fn call_all(door: &axum::Router, commands: &[Command<'_>]) -> Answered {
    ask(
        door,
        post(&format!("{API}/ro/multirequest"), body(commands)),
    )
    .await
}
