//! A repository that redirects its answers, and the places it redirects to, as
//! the client under test finds them on the loopback interface.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri, header};
use fingerpost_hg_front::client::{Asking, ClientError, Followed, HgClient};
use fingerpost_hg_proto::cbor::{Value, Writer};
use fingerpost_hg_proto::client::{Following, Response as Told};
use fingerpost_hg_proto::server::{Inbox, Limits, Received, Responder};
use fingerpost_hg_proto::{
    Args, CBOR_MEDIA_TYPE, CommandRequest, ContentEncoding, FRAMING_MEDIA_TYPE, Handshake,
    Location, RedirectOffer, RedirectRequest, RedirectTarget,
};
use futures_util::{StreamExt as _, stream};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The objects of every answer.
pub(crate) fn objects() -> Vec<u8> {
    let mut content = Vec::new();
    let mut writer = Writer::new(&mut content);
    writer.value(&Value::record([(&b"totalitems"[..], 1_u64.into())]));
    writer.bytes(&b"a revision. ".repeat(200));
    content
}

/// How a body ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Proper,
    BreaksOff,
    /// Nothing more comes.
    Silence,
}

/// A place, and what the repository says of it.
#[derive(Clone)]
pub(crate) struct Place {
    /// As it is advertised, but for its URI.
    pub(crate) target: RedirectTarget,
    /// Where it is said to be, without a URL if that is to be filled in.
    pub(crate) location: Location,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// What comes after all of these bytes.
    pub(crate) end: End,
}

impl Place {
    /// A place that is as it should be, where `content` lies.
    pub(crate) fn of(name: &str, content: Vec<u8>) -> Self {
        Self {
            target: RedirectTarget {
                name: name.into(),
                protocol: b"http".to_vec(),
                ..RedirectTarget::default()
            },
            location: Location {
                size: Some(content.len() as u64),
                fullhashes: vec![
                    (b"sha1".to_vec(), Sha1::digest(&content).to_vec()),
                    (b"sha256".to_vec(), Sha256::digest(&content).to_vec()),
                ],
                ..Location::new("")
            },
            status: 200,
            headers: Vec::new(),
            body: content,
            end: End::Proper,
        }
    }

    pub(crate) fn good(name: &str) -> Self {
        Self::of(name, objects())
    }

    /// The same without a size and without hashes.
    pub(crate) fn unchecked(mut self) -> Self {
        self.location.size = None;
        self.location.fullhashes.clear();
        self
    }

    fn name(&self) -> String {
        String::from_utf8(self.target.name.clone()).unwrap()
    }

    fn response(&self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let bytes = Bytes::from(self.body.clone());
        let begun = stream::iter([Ok::<_, std::io::Error>(bytes.clone())]);
        let body = match self.end {
            End::Proper => Body::from(bytes),
            End::BreaksOff => {
                let end = Err(std::io::Error::other("broken off"));
                Body::from_stream(begun.chain(stream::iter([end])))
            }
            End::Silence => Body::from_stream(begun.chain(stream::pending())),
        };
        response.body(body).unwrap()
    }
}

/// What was seen of a call, from all sides.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The redirect map of each request.
    pub(crate) asked: Vec<Option<RedirectRequest>>,
    /// The headers that the repository got.
    pub(crate) repository: Vec<HeaderMap>,
    /// The headers that the places got.
    pub(crate) places: Vec<HeaderMap>,
    /// What the client told, in order.
    pub(crate) told: Vec<Told>,
    /// What it noted of redirects: the target, and how it ended.
    pub(crate) noted: Vec<(String, Result<Followed, String>)>,
}

impl Seen {
    /// The targets that each request named.
    pub(crate) fn targets(&self) -> Vec<Vec<String>> {
        let names = |redirect: &Option<RedirectRequest>| {
            let targets = redirect.iter().flat_map(|redirect| &redirect.targets);
            targets
                .map(|name| String::from_utf8(name.clone()).unwrap())
                .collect()
        };
        self.asked.iter().map(names).collect()
    }
}

#[derive(Clone)]
struct Shared {
    places: Arc<Vec<Place>>,
    /// Redirects to the first place, whatever the client says.
    stubborn: bool,
    seen: Arc<Mutex<Seen>>,
}

/// How a call is made.
pub(crate) struct Calling {
    pub(crate) asking: Asking,
    pub(crate) login: &'static str,
    pub(crate) stubborn: bool,
    /// Says of redirects what such a client says, in the request itself.
    pub(crate) as_one: Option<Following>,
    pub(crate) calls: usize,
}

impl Default for Calling {
    /// One that follows.
    fn default() -> Self {
        Self {
            asking: Asking {
                follow: true,
                ..Asking::default()
            },
            login: "",
            stubborn: false,
            as_one: None,
            calls: 1,
        }
    }
}

/// Calls a command of a repository whose answers lie at these places, with the
/// defaults.
pub(crate) async fn follow(places: &[Place]) -> Seen {
    let (seen, result) = Calling::default().call(places).await;
    result.unwrap();
    seen
}

impl Calling {
    pub(crate) async fn call(self, places: &[Place]) -> (Seen, Result<(), ClientError>) {
        let shared = Shared {
            places: Arc::new(places.to_vec()),
            stubborn: self.stubborn,
            seen: Arc::default(),
        };
        let at_places = axum::Router::new()
            .fallback(place)
            .with_state(shared.clone());
        let places_base = serve(at_places).await;
        let mut located = (*shared.places).clone();
        for place in &mut located {
            let base = format!("{places_base}/{}/", place.name());
            place.target.uris = vec![base.clone().into_bytes()];
            if place.location.url.is_empty() {
                place.location.url = format!("{base}objects?key=secret").into_bytes();
            }
        }
        let shared = Shared {
            places: Arc::new(located),
            ..shared
        };
        let router = axum::Router::new()
            .fallback(repository)
            .with_state(shared.clone());
        let base = serve(router).await.replace("http://", "");
        let client = HgClient::new(&format!("http://{}{base}/", self.login)).unwrap();
        let mut request = CommandRequest::new("filesdata", Args::new());
        if let Some(following) = &self.as_one {
            assert_eq!(client.redirect_request(following), None);
            client.handshake().await.unwrap();
            request.redirect = client.redirect_request(following);
        }
        let (mut told, mut noted) = (Vec::new(), Vec::new());
        let mut result = Ok(());
        for _ in 0..self.calls {
            let calling = client.call_noting(
                &request,
                &self.asking,
                |event| told.push(event.response),
                |redirected| {
                    assert!(!redirected.url.to_string().contains("secret"));
                    let outcome = &redirected.outcome;
                    let outcome = outcome.as_ref().copied().map_err(ToString::to_string);
                    let target = String::from_utf8(redirected.target.clone()).unwrap();
                    noted.push((target, outcome));
                },
            );
            result = calling.await.map(drop);
        }
        let seen = std::mem::take(&mut *shared.seen.lock().unwrap());
        let seen = Seen {
            told,
            noted,
            ..seen
        };
        (seen, result)
    }
}

/// Serves on the loopback interface as long as the test runs.
pub(crate) async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// What is below `/NAME/` is the content of the place of that name.
async fn place(State(shared): State<Shared>, uri: Uri, headers: HeaderMap) -> Response<Body> {
    shared.seen.lock().unwrap().places.push(headers);
    let name = uri.path().split('/').nth(1).unwrap();
    let place = shared.places.iter().find(|place| place.name() == name);
    place.expect("a place of that name").response()
}

async fn repository(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut seen = shared.seen.lock().unwrap();
    seen.repository.push(headers);
    if uri.query() == Some("cmd=capabilities") {
        return answer(CBOR_MEDIA_TYPE, handshake(&shared.places));
    }
    let mut received = Vec::new();
    let mut inbox = Inbox::new(Limits::default());
    inbox.push(&body, &mut received).unwrap();
    let Some(Received::Command {
        request_id,
        request,
    }) = received.pop()
    else {
        panic!("no request");
    };
    let targets = request
        .redirect
        .iter()
        .flat_map(|redirect| &redirect.targets);
    let targets: Vec<_> = targets.cloned().collect();
    seen.asked.push(request.redirect);
    let mut places = shared.places.iter();
    let chosen = places.find(|place| shared.stubborn || targets.contains(&place.target.name));
    let mut out = Vec::new();
    let mut responder = Responder::new(Some(ContentEncoding::Identity), 1);
    match chosen {
        Some(place) => responder
            .redirect(&mut out, request_id, &place.location)
            .unwrap(),
        None => {
            responder.ok(&mut out, request_id).unwrap();
            responder.objects(&mut out, request_id, &objects()).unwrap();
            responder.end(&mut out, request_id).unwrap();
        }
    }
    answer(FRAMING_MEDIA_TYPE, out)
}

fn handshake(places: &[Place]) -> Vec<u8> {
    let offer = RedirectOffer {
        targets: places.iter().map(|place| place.target.clone()).collect(),
        hashes: [&b"sha256"[..], b"md5", b"sha1"].map(Vec::from).into(),
    };
    let descriptor = match places.is_empty() {
        true => Value::map([]),
        false => Value::record([(&b"redirect"[..], offer.to_value())]),
    };
    let mut body = Vec::new();
    Handshake::new(Some(descriptor), "batch").encode(&mut body);
    body
}

fn answer(media_type: &str, body: Vec<u8>) -> Response<Body> {
    let response = Response::builder().header(header::CONTENT_TYPE, media_type);
    response.body(Body::from(body)).unwrap()
}
