//! Requests that are answered before anything is routed.

use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use crate::{ForwardedHost, Peer};

/// Answers that are known at once, which spares what is asked most the way through
/// the router. The router answers the same requests as well: what is not known here
/// goes on to it, and a client must not be able to tell the two apart.
pub trait Shortcut: Send + Sync + 'static {
    /// Whether a GET request of this path may be answered here. Looks at nothing else.
    fn takes_path(&self, path: &str) -> bool;

    /// The whole answer, if it is known. Must not block.
    fn answer(&self, request: &ShortRequest<'_>) -> Option<Response>;
}

/// A GET request without a body that is for one of the server's names.
#[derive(Clone, Copy, Debug)]
pub struct ShortRequest<'a> {
    /// What is asked.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Who asks: the client, if a trusted proxy told of it.
    pub peer: &'a Peer,
    /// The host that a client of a trusted proxy asked for.
    pub forwarded_host: Option<&'a ForwardedHost>,
}

impl ShortRequest<'_> {
    /// The host that the request is for, without its port, as
    /// [`host_of`](crate::host_of) has it.
    pub fn host(&self) -> Option<&str> {
        match self.forwarded_host {
            Some(host) => Some(&host.0),
            None => crate::authority::host_in(self.uri, self.headers),
        }
    }
}
