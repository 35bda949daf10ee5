//! The other side of the door: a client of any server that speaks v2.

use std::time::Duration;

use fingerpost_hg_proto::cbor;
use fingerpost_hg_proto::client::{Event, Limits, RequestWriter, ResponseError, ResponseReader};
use fingerpost_hg_proto::{
    API_NAME, CBOR_MEDIA_TYPE, CommandRequest, ContentEncoding, FRAMING_MEDIA_TYPE, Handshake,
    HandshakeError, PROTO_HEADER, UPGRADE_HEADER,
};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text is no URL of a repository.
    #[error("{0:?} is no http or https URL")]
    Url(String),
    /// The server cannot be reached, or broke off.
    #[error("the server cannot be reached")]
    Http(#[from] reqwest::Error),
    /// The server answered something that is not v2.
    #[error("{status}: {text}")]
    NotV2 {
        /// Its status.
        status: StatusCode,
        /// The beginning of what it said.
        text: String,
    },
    /// It does not offer v2.
    #[error("the server does not offer {API_NAME}")]
    NotOffered,
    /// Its handshake is broken.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Its frames are broken.
    #[error(transparent)]
    Frames(#[from] ResponseError),
}

/// A client of one repository. A name and a password in the URL are a login.
#[derive(Clone, Debug)]
pub struct HgClient {
    http: Client,
    url: Url,
}

/// How a command is asked.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Content encodings, in the client's order.
    pub encodings: Vec<ContentEncoding>,
    /// Below `rw` instead of `ro`.
    pub writes: bool,
    /// Also tell of every frame.
    pub frames: bool,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            encodings: ContentEncoding::ALL.to_vec(),
            writes: false,
            frames: false,
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
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("fingerpost/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, url })
    }

    /// Asks what the server speaks.
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
        match handshake.descriptor() {
            Some(_) => Ok(handshake),
            None => Err(ClientError::NotOffered),
        }
    }

    /// Runs a command and tells `on_event` what comes, as it comes.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; what a command itself refuses is an event.
    pub async fn call(
        &self,
        request: &CommandRequest,
        asking: &Asking,
        mut on_event: impl FnMut(Event),
    ) -> Result<(), ClientError> {
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
        let mut reader = ResponseReader::new(Limits::default(), [id]);
        if asking.frames {
            reader = reader.tell_frames();
        }
        while let Some(piece) = response.chunk().await? {
            reader.push(&piece);
            while let Some(event) = reader.next()? {
                on_event(event);
            }
        }
        Ok(reader.finish()?)
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

/// The response, if it is a success of this media type.
async fn expect(response: Response, media_type: &str) -> Result<Response, ClientError> {
    let found = response
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    if response.status().is_success() && found == Some(media_type.as_bytes()) {
        return Ok(response);
    }
    let status = response.status();
    let body = gathered(response, TEXT_BYTES_MAX).await?;
    let text = String::from_utf8_lossy(&body).trim_end().to_owned();
    Err(ClientError::NotV2 { status, text })
}

/// The first `bytes_max` bytes of a body.
async fn gathered(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        let room = bytes_max - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if body.len() == bytes_max {
            break;
        }
    }
    Ok(body)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const READ_TIMEOUT: Duration = Duration::from_secs(300);
const HANDSHAKE_BYTES_MAX: usize = 1 << 20;
const TEXT_BYTES_MAX: usize = 4096;

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
    fn other_schemes_are_refused() {
        assert!(matches!(
            HgClient::new("ssh://h/r"),
            Err(ClientError::Url(_))
        ));
        assert!(HgClient::new("repo").is_err());
    }
}
