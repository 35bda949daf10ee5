//! Getting the objects of an answer from where a redirect points to, and
//! keeping all of them until they are known to be the right ones.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::time::Duration;

use fingerpost_hg_proto::client::{Event, Limits, ObjectReader, Response as Told};
use fingerpost_hg_proto::{CBOR_MEDIA_TYPE, ContentEncoding, Decompressor, Location, RequestId};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use reqwest::{Response, StatusCode, Url};
use tempfile::SpooledTempFile;
use tokio::time::timeout;

use super::digests::Digests;
use super::follow::{Elsewhere, FollowError, Followed};
use super::http::client_trusting;
use super::{Asking, ClientError, HgClient};

/// What stays in memory; the rest goes to a file without a name.
const MEMORY_BYTES_MAX: usize = 1 << 20;
/// Content is decoded and read again in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;
/// For all of one redirect. [`Asking::target_wait`] only ends one that stands still.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3600);

impl HgClient {
    /// Fetches what a redirect points to and checks it.
    pub(super) async fn fetch(
        &self,
        elsewhere: &Elsewhere,
        asking: &Asking,
    ) -> Result<Fetched, FollowError> {
        let fetching = self.fetch_all(elsewhere, asking);
        match timeout(FETCH_TIMEOUT, fetching).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FollowError::TimedOut(FETCH_TIMEOUT)),
        }
    }

    async fn fetch_all(
        &self,
        elsewhere: &Elsewhere,
        asking: &Asking,
    ) -> Result<Fetched, FollowError> {
        let location = &elsewhere.location;
        let url = url_of(location)?;
        let mut basin = Basin::new(elsewhere, asking)?;
        // The login of the repository is in its own URL, not in this one.
        let http = match &location.servercadercerts[..] {
            [] => self.http.clone(),
            authorities => client_trusting(authorities)?,
        };
        let request = http
            .get(url)
            .header(ACCEPT, CBOR_MEDIA_TYPE)
            .header(ACCEPT_ENCODING, "zstd, identity");
        let patience = asking.target_wait;
        let mut response = within(patience, request.send()).await?;
        if response.status() != StatusCode::OK {
            return Err(FollowError::Status(response.status()));
        }
        let mut decompressor = Decompressor::new(coding(&response)?)?;
        let mut body_bytes = 0;
        while let Some(body) = within(patience, response.chunk()).await? {
            body_bytes += body.len() as u64;
            // In small parts: it may be a bomb.
            decompressor.each_piece(&body, PIECE_BYTES, |content| basin.take(content))?;
        }
        match decompressor.is_complete() {
            true => basin.finish(location, body_bytes),
            false => Err(FollowError::BreaksOff),
        }
    }
}

/// What comes from a target, if it comes in time.
async fn within<T>(
    patience: Duration,
    coming: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, FollowError> {
    match timeout(patience, coming).await {
        Ok(came) => came.map_err(FollowError::from),
        Err(_) => Err(FollowError::Silent(patience)),
    }
}

/// The URL of content that can be read.
fn url_of(location: &Location) -> Result<Url, FollowError> {
    if location.mediatype != CBOR_MEDIA_TYPE.as_bytes() {
        let media_type = String::from_utf8_lossy(&location.mediatype);
        return Err(FollowError::MediaType(media_type.into_owned()));
    }
    let url = std::str::from_utf8(&location.url).ok();
    let url = url.and_then(|url| Url::parse(url).ok());
    url.filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or(FollowError::Url)
}

/// How the body of a response is coded, if it is one of the ways asked for.
fn coding(response: &Response) -> Result<ContentEncoding, FollowError> {
    let mut names = response.headers().get_all(CONTENT_ENCODING).iter();
    let name = match (names.next(), names.next()) {
        (None, _) => return Ok(ContentEncoding::Identity),
        (Some(name), None) => name.as_bytes().trim_ascii().to_ascii_lowercase(),
        (Some(_), Some(_)) => b"several".to_vec(),
    };
    match &name[..] {
        b"zstd" => Ok(ContentEncoding::Zstd8mb),
        b"" | b"identity" => Ok(ContentEncoding::Identity),
        _ => Err(FollowError::Coding(
            String::from_utf8_lossy(&name).into_owned(),
        )),
    }
}

/// Where content gathers until all of it is there. It is written, and read
/// again, where the client runs: what was just written is in the page cache.
struct Basin {
    spool: SpooledTempFile,
    request_id: RequestId,
    /// The content is read as objects here too: once the first one is told there
    /// is no way back.
    objects: ObjectReader,
    digests: Digests,
    bytes: u64,
    bytes_max: u64,
}

impl Basin {
    fn new(elsewhere: &Elsewhere, asking: &Asking) -> Result<Self, FollowError> {
        let Elsewhere {
            request_id,
            location,
        } = elsewhere;
        let bytes_max = asking.followed_bytes_max;
        let size = location.size.unwrap_or(bytes_max);
        if size > bytes_max {
            return Err(FollowError::TooLong(bytes_max));
        }
        Ok(Self {
            spool: SpooledTempFile::new(MEMORY_BYTES_MAX),
            request_id: *request_id,
            objects: ObjectReader::new(asking.limits(), *request_id),
            digests: Digests::of(location),
            bytes: 0,
            bytes_max: size,
        })
    }

    fn take(&mut self, content: &[u8]) -> Result<(), FollowError> {
        self.bytes += content.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(FollowError::TooLong(self.bytes_max));
        }
        let mut rest = content;
        while self.objects.next(&mut rest)?.is_some() {}
        self.digests.update(content);
        self.spool.write_all(content).map_err(FollowError::Spool)
    }

    fn finish(self, location: &Location, body_bytes: u64) -> Result<Fetched, FollowError> {
        if let Some(expected) = location.size
            && expected != self.bytes
        {
            let found = self.bytes;
            return Err(FollowError::Size { expected, found });
        }
        self.digests.check().map_err(FollowError::Hash)?;
        self.objects.finish()?;
        Ok(Fetched {
            spool: self.spool,
            request_id: self.request_id,
            followed: Followed {
                body_bytes,
                bytes: self.bytes,
            },
        })
    }
}

/// Content that was checked.
#[derive(Debug)]
pub(super) struct Fetched {
    spool: SpooledTempFile,
    request_id: RequestId,
    followed: Followed,
}

impl Fetched {
    pub(super) const fn followed(&self) -> Followed {
        self.followed
    }

    /// Tells the objects as if they had come from the server.
    pub(super) fn tell(
        mut self,
        limits: Limits,
        on_event: &mut impl FnMut(Event),
    ) -> Result<(), ClientError> {
        on_event(Event {
            request_id: self.request_id,
            response: Told::Ok,
        });
        self.spool.rewind().map_err(ClientError::Spool)?;
        let mut objects = ObjectReader::new(limits, self.request_id);
        let mut left = self.followed.bytes;
        let mut piece = vec![0; PIECE_BYTES];
        while left > 0 {
            let len = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            self.read(&mut piece[..len]).map_err(ClientError::Spool)?;
            left -= len as u64;
            let mut content = &piece[..len];
            while let Some(event) = objects.next(&mut content)? {
                on_event(event);
            }
        }
        on_event(objects.finish()?);
        Ok(())
    }

    fn read(&mut self, piece: &mut [u8]) -> io::Result<()> {
        self.spool.read_exact(piece)
    }
}
