//! Answers that are no frames.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use fingerpost_core::RedirectTarget;
use fingerpost_hg::{RepositoryView, descriptor};
use fingerpost_hg_proto::cbor::Value;
use fingerpost_hg_proto::{
    CBOR_MEDIA_TYPE, Handshake, PROTO_HEADER, RedirectOffer, UPGRADE_HEADER, Upgrade,
};
use parking_lot::Mutex;

/// A response of status 200.
pub(crate) fn ok(media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let media_type = HeaderValue::from_static(media_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media_type);
    response
}

/// What the headers of a client's first request say of other protocols than v1.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<Upgrade> {
    Upgrade::parse(
        numbered(headers, UPGRADE_HEADER),
        numbered(headers, PROTO_HEADER),
    )
}

/// The values of `{name}-1`, `{name}-2` and so on, as far as there are any.
fn numbered<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let value = move |number: u32| headers.get(format!("{name}-{number}"));
    (1..).map_while(value).map(HeaderValue::as_bytes)
}

/// The answers to clients that speak v2, by what they depend on: what of a
/// repository's state the description shows, and the names of redirect targets. A
/// few for a whole site.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<HashMap<Described, Bytes>>);

/// Whether there are raw store files, their formats, and targets.
type Described = (bool, Vec<String>, Vec<String>);

impl Handshakes {
    /// The answer for a repository, to a client that is told of these targets.
    /// There is no v1 to fall back to, so its capabilities are empty.
    pub(crate) fn answer(&self, view: &RepositoryView, targets: Vec<RedirectTarget>) -> Response {
        let formats = view.snapshot().store().requirements().formats();
        let formats = formats.into_iter().map(str::to_owned).collect();
        let names = targets.iter().map(|target| target.name.clone()).collect();
        let mut known = self.0.lock();
        let body = known
            .entry((view.serves_raw_files(), formats, names))
            .or_insert_with(|| {
                let mut body = Vec::new();
                let descriptor = offering(descriptor(view), targets);
                Handshake::new(Some(descriptor), "").encode(&mut body);
                body.into()
            });
        ok(CBOR_MEDIA_TYPE, body.clone())
    }
}

/// A description with the targets that a client may follow to; none are not told.
fn offering(descriptor: Value, targets: Vec<RedirectTarget>) -> Value {
    let Value::Map(map) = descriptor else {
        return descriptor;
    };
    let offer = (!targets.is_empty()).then(|| {
        let offer = RedirectOffer {
            targets: targets.into_iter().map(advertised).collect(),
            hashes: vec![b"sha256".to_vec()],
        };
        (Value::bytes("redirect"), offer.to_value())
    });
    Value::map(map.into_iter().chain(offer))
}

fn advertised(target: RedirectTarget) -> fingerpost_hg_proto::RedirectTarget {
    let bytes = |texts: Vec<String>| texts.into_iter().map(String::into_bytes).collect();
    fingerpost_hg_proto::RedirectTarget {
        name: target.name.into_bytes(),
        protocol: target.protocol.into_bytes(),
        uris: bytes(target.uris),
        snirequired: target.snirequired,
        tlsversions: bytes(target.tlsversions),
    }
}

/// What a client without v2 is told, in ASCII, because it prints the bytes as
/// they are.
pub(crate) fn sentence_for_others(fallback_url: Option<&str>) -> String {
    let elsewhere = fallback_url.map_or_else(String::new, |url| format!(", or use {url}"));
    format!(
        "this server speaks only version 2 of Mercurial's wire protocol: use hg 4.8 to 6.0 with \
         --config experimental.httppeer.advertise-v2=true \
         --config experimental.httppeer.v2-encoder-order=zstd-8mb,zlib,identity{elsewhere}\n"
    )
}

/// Whether `name` has exactly this value, once.
pub(crate) fn has_exactly(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|value| value == wanted) && values.next().is_none()
}

/// Plain text of status 200.
pub(crate) fn text(text: impl Into<Body>) -> Response {
    ok("text/plain", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_read_up_to_the_first_number_that_is_missing() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-hgupgrade-1", "exp-http-v2-"),
            ("x-hgupgrade-2", "0003"),
            ("x-hgupgrade-4", " other"),
            ("x-hgproto-1", "0.1 cbor"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let upgrade = upgrade(&headers).unwrap();
        assert!(upgrade.wants_v2());
        assert_eq!(upgrade.apis.len(), 1);
    }

    #[test]
    fn the_sentence_is_one_line_of_ascii() {
        for url in [None, Some("https://hg.example/repo")] {
            let sentence = sentence_for_others(url);
            assert!(sentence.is_ascii());
            assert_eq!(sentence.matches('\n').count(), 1);
            assert_eq!(sentence.contains("hg.example"), url.is_some());
        }
    }
}
