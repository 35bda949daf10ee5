//! The other side of the door: a client of any server that speaks v2.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_hg_proto::cbor;
use fingerpost_hg_proto::client::{
    Event, Following, Limits, RequestWriter, Response, ResponseReader, format_message,
};
use fingerpost_hg_proto::{
    API_NAME, CBOR_MEDIA_TYPE, CommandRequest, ContentEncoding, FRAMING_MEDIA_TYPE, Handshake,
    PROTO_HEADER, RedirectOffer, RedirectRequest, UPGRADE_HEADER,
};
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Url};

mod digests;
mod error;
mod fetch;
mod follow;
mod history;
mod http;
mod plan;

pub use error::ClientError;
pub use follow::{FollowError, Followed, Redirected};
pub use plan::{BatchSizes, ClonePlan};

use follow::Elsewhere;
use http::{expect, gathered};

/// A client of one repository. A name and a password in the URL are a login.
#[derive(Clone, Debug)]
pub struct HgClient {
    http: Client,
    url: Url,
    /// What the last handshake said about content redirects, once there was one.
    offer: Arc<Mutex<Option<Offer>>>,
}

/// What a server offers in the way of content redirects, which may be nothing.
type Offer = Option<Arc<RedirectOffer>>;

/// How a command is asked.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Content encodings, in the client's order.
    pub encodings: Vec<ContentEncoding>,
    /// Below `rw` instead of `ro`.
    pub writes: bool,
    /// Also tell of every frame.
    pub frames: bool,
    /// Tell byte strings that are longer than this in chunks.
    pub whole_bytes: usize,
    /// Fetch the objects from where the server redirects to. Without it the
    /// server is not told of any target, and a redirect is an event.
    pub follow: bool,
    /// Bytes of the longest answer that is fetched from there, decoded; what is
    /// longer is asked for without redirects.
    pub followed_bytes_max: u64,
    /// How long it may take until something comes from there, at first and after
    /// whatever came last. 20 s; then the server is asked again
    /// without this target, which costs less than to wait as long as for the server.
    pub target_wait: Duration,
}

impl Asking {
    fn limits(&self) -> Limits {
        Limits {
            whole_bytes: self.whole_bytes,
            ..Limits::default()
        }
    }
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// Bytes of the bodies that the server sent. What came from redirect targets
    /// is told with each redirect.
    pub body_bytes: u64,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            encodings: ContentEncoding::ALL.to_vec(),
            writes: false,
            frames: false,
            whole_bytes: Limits::default().whole_bytes,
            follow: false,
            // Servers of ours store no longer ones.
            followed_bytes_max: 4 << 30,
            target_wait: TARGET_WAIT,
        }
    }
}

impl HgClient {
    /// A client of the repository at `url`.
    ///
    /// # Errors
    ///
    /// Fails if the text is no URL, or TLS cannot be set up.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        // Another part of the process may have chosen it already: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bad = || ClientError::Url(url.to_owned());
        let mut url = Url::parse(url).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad());
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self {
            http: http::client()?,
            url,
            offer: Arc::default(),
        })
    }

    /// Asks what the server speaks, and remembers where it may redirect to.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn handshake(&self) -> Result<Handshake, ClientError> {
        let mut url = self.url.clone();
        url.set_query(Some("cmd=capabilities"));
        let request = self
            .http
            .get(url)
            .header(ACCEPT, "application/mercurial-0.1")
            .header(format!("{UPGRADE_HEADER}-1"), API_NAME)
            .header(format!("{PROTO_HEADER}-1"), "cbor");
        let response = expect(request.send().await?, CBOR_MEDIA_TYPE).await?;
        let body = gathered(response, HANDSHAKE_BYTES_MAX).await?;
        let handshake = Handshake::decode(&body, &cbor::Limits::RESPONSE)?;
        if handshake.descriptor().is_none() {
            return Err(ClientError::NotOffered);
        }
        *self.offer.lock() = Some(handshake.redirect_offer().map(Arc::new));
        Ok(handshake)
    }

    /// Runs a command and tells `on_event` what comes, as it comes. Objects that
    /// are fetched from a redirect target are told as if they had come from
    /// the server, once all of them are there and were checked.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; what a command itself refuses is an event.
    pub async fn call(
        &self,
        request: &CommandRequest,
        asking: &Asking,
        on_event: impl FnMut(Event),
    ) -> Result<Called, ClientError> {
        self.call_noting(request, asking, on_event, |_| {}).await
    }

    /// As [`call`](Self::call), and tells `on_redirect` what came of each redirect:
    /// of failed ones before the command is asked again, of the one that was
    /// followed before its objects are told.
    ///
    /// # Errors
    ///
    /// [`ClientError`]. A redirect that cannot be followed is none.
    pub async fn call_noting(
        &self,
        request: &CommandRequest,
        asking: &Asking,
        mut on_event: impl FnMut(Event),
        mut on_redirect: impl FnMut(&Redirected),
    ) -> Result<Called, ClientError> {
        let mut called = Called::default();
        if asking.follow {
            let (on_event, on_redirect) = (&mut on_event, &mut on_redirect);
            let following = self.follow(request, asking, &mut called, on_event, on_redirect);
            following.await?;
        } else {
            let asked = self
                .ask(request, asking, &mut called, &mut on_event)
                .await?;
            if let Some(elsewhere) = asked {
                elsewhere.events().into_iter().for_each(on_event);
            }
        }
        Ok(called)
    }

    /// Runs a command that has to succeed: as [`call`](Self::call), and what is
    /// refused is an error.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn require(
        &self,
        request: &CommandRequest,
        asking: &Asking,
        mut on_response: impl FnMut(Response),
    ) -> Result<Called, ClientError> {
        let mut refused = None;
        let calling = self.call(request, asking, |event| match event.response {
            Response::Refused { message, args } => refused = Some(format_message(&message, &args)),
            Response::Failed { message, .. } => refused = Some(message),
            response => on_response(response),
        });
        let called = calling.await?;
        match refused {
            None => Ok(called),
            Some(message) => Err(ClientError::Refused {
                command: request.name.escape_ascii().to_string(),
                message: message.escape_ascii().to_string(),
            }),
        }
    }

    /// What a client that can do this says about redirects, by the last
    /// handshake; `None` if there was none, or the server has no targets. For a
    /// request that is asked without following.
    pub fn redirect_request(&self, following: &Following) -> Option<RedirectRequest> {
        let offer = self.offer.lock().clone().flatten()?;
        Some(following.choose(&offer, &BTreeSet::new()))
    }

    /// Where the repository is, without the login.
    pub fn shown_url(&self) -> String {
        let mut url = self.url.clone();
        // Only URLs that cannot have a login refuse.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.into()
    }

    /// Asks once. Everything is told but a redirect, which is given back.
    async fn ask(
        &self,
        request: &CommandRequest,
        asking: &Asking,
        called: &mut Called,
        on_event: &mut impl FnMut(Event),
    ) -> Result<Option<Elsewhere>, ClientError> {
        let mut body = Vec::new();
        let names = asking.encodings.iter().map(|encoding| encoding.name());
        let mut writer = RequestWriter::new(names);
        let id = writer
            .write(&mut body, request)
            .expect("the first of many ids");
        let permission = if asking.writes { "rw" } else { "ro" };
        let sending = self
            .http
            .post(self.command_url(permission, &request.name))
            .header(ACCEPT, FRAMING_MEDIA_TYPE)
            .header(CONTENT_TYPE, FRAMING_MEDIA_TYPE)
            .body(body);
        let mut response = expect(sending.send().await?, FRAMING_MEDIA_TYPE).await?;
        let mut reader = ResponseReader::new(asking.limits(), [id]);
        if asking.frames {
            reader = reader.tell_frames();
        }
        let mut elsewhere = None;
        while let Some(piece) = response.chunk().await? {
            called.body_bytes += piece.len() as u64;
            reader.push(&piece);
            while let Some(event) = reader.next()? {
                if let Some(event) = Elsewhere::hold(&mut elsewhere, event) {
                    on_event(event);
                }
            }
        }
        reader.finish()?;
        Ok(elsewhere)
    }

    fn command_url(&self, permission: &str, command: &[u8]) -> Url {
        let mut url = self.url.clone();
        let command = String::from_utf8_lossy(command);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(["api", API_NAME, permission, &command]);
        }
        url
    }
}

/// How long a client waits for the next bytes from a redirect target by default.
/// Somebody else can give the answer, so it is short; a server that makes an
/// answer may be silent for longer.
const TARGET_WAIT: Duration = Duration::from_secs(20);

const HANDSHAKE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_below_the_repositorys_path() {
        for url in ["http://h/r", "http://h/r/", "http://h/r?x=y"] {
            let client = HgClient::new(url).unwrap();
            let url = client.command_url("ro", b"heads");
            assert_eq!(url.as_str(), "http://h/r/api/exp-http-v2-0003/ro/heads");
        }
    }

    #[test]
    fn a_login_is_not_shown() {
        let client = HgClient::new("http://me:word@h/r").unwrap();
        assert_eq!(client.shown_url(), "http://h/r");
    }

    #[test]
    fn other_schemes_are_refused() {
        assert!(matches!(
            HgClient::new("ssh://h/r"),
            Err(ClientError::Url(_))
        ));
        assert!(HgClient::new("repo").is_err());
    }
}
