//! HTTP as the client speaks it, with the repository and with redirect targets.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Certificate, Client, ClientBuilder, Response, Url};

use super::ClientError;

/// HTTP redirects that are followed for one request.
const HOPS_MAX: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A server may make an answer for so long before it says something; for targets
/// there is a shorter wait.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// What is read of an answer that is not what was asked for.
const TEXT_BYTES_MAX: usize = 4096;

/// A client with deadlines. It undoes no content coding by itself, and tells
/// nobody from where it was sent: the URL of a redirect target is a key.
pub(super) fn client() -> Result<Client, reqwest::Error> {
    builder().build()
}

/// The same that also trusts these authorities, DER.
pub(super) fn client_trusting(authorities: &[Vec<u8>]) -> Result<Client, reqwest::Error> {
    let mut certificates = Vec::new();
    for der in authorities {
        certificates.push(Certificate::from_der(der)?);
    }
    builder().tls_certs_merge(certificates).build()
}

fn builder() -> ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(Policy::custom(hop))
        .referer(false)
        .user_agent(concat!("fingerpost/", env!("CARGO_PKG_VERSION")))
}

/// A login is not sent on to another origin; reqwest sees to that.
fn hop(attempt: Attempt<'_>) -> Action {
    match check_hop(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(why) => attempt.error(why),
    }
}

/// Whether to go on to `next` after these.
fn check_hop(previous: &[Url], next: &Url) -> Result<(), &'static str> {
    let is_encrypted = previous.last().is_some_and(|url| url.scheme() == "https");
    match next.scheme() {
        "https" => {}
        "http" if !is_encrypted => {}
        _ => return Err("it redirects to another protocol"),
    }
    match previous.len() > HOPS_MAX {
        true => Err("it redirects too often"),
        false => Ok(()),
    }
}

/// The response, if it is a success of this media type.
pub(super) async fn expect(response: Response, media_type: &str) -> Result<Response, ClientError> {
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
pub(super) async fn gathered(
    mut response: Response,
    bytes_max: usize,
) -> Result<Vec<u8>, ClientError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(previous: &[&str], next: &str, allowed: bool) {
        let url = |url: &&str| Url::parse(url).unwrap();
        let previous: Vec<_> = previous.iter().map(url).collect();
        assert_eq!(check_hop(&previous, &url(&next)).is_ok(), allowed);
    }

    #[test]
    fn encryption_is_not_given_up() {
        check(&["http://a/"], "http://b/", true);
        check(&["http://a/"], "https://b/", true);
        check(&["https://a/"], "https://b/", true);
        check(&["https://a/"], "http://a/", false);
        check(&["http://a/", "https://b/"], "http://a/", false);
        check(&["http://a/"], "ftp://a/", false);
    }

    #[test]
    fn hops_end() {
        check(&["http://a/"; 4], "http://b/", true);
        check(&["http://a/"; 5], "http://b/", false);
    }
}
