//! Following content redirects: the objects of an answer come from where the
//! server says that they lie, or else from the server after all.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fingerpost_core::SecretUrl;
use fingerpost_hg_proto::client::{Event, Following, Response, ResponseError};
use fingerpost_hg_proto::{CommandRequest, EncodingError, Location, RequestId};
use reqwest::StatusCode;

use super::{Asking, Called, ClientError, HgClient, Offer};

/// What came of one redirect.
#[derive(Debug)]
pub struct Redirected {
    /// Name of the target. Locations do not tell it: it is the one whose URI
    /// fits, else the best one of those that were asked for.
    pub target: Vec<u8>,
    /// Where the server redirected to.
    pub url: SecretUrl,
    /// How much was fetched and found good, or why there is nothing.
    pub outcome: Result<Followed, FollowError>,
}

/// How much was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Bytes of the body as it travelled.
    pub body_bytes: u64,
    /// Bytes of the objects in it.
    pub bytes: u64,
}

/// Why a redirect could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Content of another type.
    #[error("content of type {0:?} cannot be read")]
    MediaType(String),
    /// What is no http or https URL.
    #[error("the location is no http or https URL")]
    Url,
    /// The target cannot be reached, broke off, or redirects to where nobody
    /// should go.
    #[error("the target cannot be reached")]
    Http(#[source] reqwest::Error),
    /// A status other than 200.
    #[error("the target answers {0}")]
    Status(StatusCode),
    /// A content coding that was not asked for.
    #[error("the target uses the content coding {0:?}")]
    Coding(String),
    /// A content coding that cannot be undone.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The compressed content has no end.
    #[error("the compressed content breaks off")]
    BreaksOff,
    /// More than is taken.
    #[error("the content is longer than {0} bytes")]
    TooLong(u64),
    /// Less than was said.
    #[error("the content has {found} bytes, not {expected}")]
    Size {
        /// What the location says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// Not the content that was meant.
    #[error("the content has another {0}")]
    Hash(&'static str),
    /// No objects.
    #[error(transparent)]
    Objects(#[from] ResponseError),
    /// There is no place for it.
    #[error("the content cannot be kept")]
    Spool(#[source] io::Error),
    /// It cannot be connected to, or says nothing more, for so long.
    #[error("nothing came from the target for {:?}", .0)]
    Silent(Duration),
    /// It took too long altogether.
    #[error("the content did not come within {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl From<reqwest::Error> for FollowError {
    /// The URL is a key; it stands beside, cut.
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// Redirects that fail before a command is asked for without any.
const FAILURES_MAX: usize = 8;

impl HgClient {
    /// Asks with every target that can be used, and without those that failed,
    /// until the objects are there.
    pub(super) async fn follow(
        &self,
        request: &CommandRequest,
        asking: &Asking,
        called: &mut Called,
        on_event: &mut impl FnMut(Event),
        on_redirect: &mut impl FnMut(&Redirected),
    ) -> Result<(), ClientError> {
        let offer = self.offer().await?;
        let mut request = request.clone();
        let mut failed = BTreeSet::new();
        loop {
            let following = Following::default();
            let mut redirect = offer.as_ref().map(|offer| following.choose(offer, &failed));
            if let Some(redirect) = &mut redirect
                && failed.len() >= FAILURES_MAX
            {
                redirect.targets.clear();
            }
            request.redirect = redirect;
            let Some(elsewhere) = self.ask(&request, asking, called, on_event).await? else {
                return Ok(());
            };
            let sent = request.redirect.as_ref();
            let target = offer.as_ref().zip(sent).and_then(|(offer, sent)| {
                let target = offer.target_of(&elsewhere.location, &sent.targets)?;
                Some(target.name.clone())
            });
            let target = target.ok_or(ClientError::StrayRedirect)?;
            let fetched = self.fetch(&elsewhere, asking).await;
            let (fetched, outcome) = match fetched {
                Ok(fetched) => {
                    let followed = fetched.followed();
                    (Some(fetched), Ok(followed))
                }
                Err(error) => (None, Err(error)),
            };
            on_redirect(&Redirected {
                target: target.clone(),
                url: elsewhere.url(),
                outcome,
            });
            if let Some(fetched) = fetched {
                return fetched.tell(asking.limits(), on_event);
            }
            failed.insert(target);
        }
    }

    /// What the server offers, by the last handshake or one of now.
    async fn offer(&self) -> Result<Offer, ClientError> {
        let remembered = self.offer.lock().clone();
        match remembered {
            Some(offer) => Ok(offer),
            None => Ok(self.handshake().await?.redirect_offer().map(Arc::new)),
        }
    }
}

/// The answer to a request, which lies elsewhere.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pub(super) request_id: RequestId,
    pub(super) location: Location,
}

impl Elsewhere {
    /// Keeps a redirect and the end after it back; gives every other event.
    pub(super) fn hold(held: &mut Option<Self>, event: Event) -> Option<Event> {
        match event.response {
            Response::Redirect(location) => {
                *held = Some(Self {
                    request_id: event.request_id,
                    location,
                });
                None
            }
            Response::End if held.is_some() => None,
            Response::Failed { .. } => {
                *held = None;
                Some(event)
            }
            _ => Some(event),
        }
    }

    /// What was held back.
    pub(super) fn events(self) -> [Event; 2] {
        let request_id = self.request_id;
        [Response::Redirect(self.location), Response::End].map(|response| Event {
            request_id,
            response,
        })
    }

    /// To be shown: what is no URL may be anything.
    fn url(&self) -> SecretUrl {
        SecretUrl::new(self.location.url.escape_ascii().to_string())
    }
}
