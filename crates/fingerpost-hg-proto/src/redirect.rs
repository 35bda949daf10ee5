//! Content redirects: the places that a server advertises, and the answer that
//! points to one.

use std::fmt;

use crate::cbor::{Map, Value, Writer};
use crate::request::byte_strings;

/// Where the objects of an answer can be fetched: a GET of `url` yields the
/// objects as plain CBOR, without frames, status map or content encoding.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// An absolute HTTP or HTTPS URL.
    pub url: Vec<u8>,
    /// Type of the content. Stock clients take
    /// [`CBOR_MEDIA_TYPE`](crate::CBOR_MEDIA_TYPE) only.
    pub mediatype: Vec<u8>,
    /// Length of the content in bytes. Stock clients ignore it.
    pub size: Option<u64>,
    /// Names and digests of hashes over the content. Stock clients print a
    /// warning when there are any, because they do not check them.
    pub fullhashes: Vec<(Vec<u8>, Vec<u8>)>,
    /// What those hashes are seeded with.
    pub fullhashseed: Option<Vec<u8>>,
    /// Certificates of the server, DER. Stock clients print a warning.
    pub serverdercerts: Vec<Vec<u8>>,
    /// Certificates of the server's authorities. Stock clients print a warning.
    pub servercadercerts: Vec<Vec<u8>>,
}

/// A URL is a key to the content: only where it leads is shown.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = String::from_utf8_lossy(&self.url);
        let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        f.debug_struct("Location")
            .field("url", &format_args!("{scheme}://{host}/.."))
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Location {
    /// A location of plain CBOR objects that says no more than where they are.
    pub fn new(url: impl Into<Vec<u8>>) -> Self {
        Self {
            url: url.into(),
            mediatype: crate::CBOR_MEDIA_TYPE.into(),
            ..Self::default()
        }
    }

    /// Appends the status map that is the whole answer, in canonical form.
    pub fn encode_status(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.map(2);
        writer.bytes(b"location");
        writer.value(&self.to_value());
        writer.bytes(b"status");
        writer.bytes(b"redirect");
    }

    /// Reads the `location` of a status map; `None` if it has no URL or no type,
    /// or a field of another shape.
    pub fn from_value(value: &Value) -> Option<Self> {
        let map = value.as_map()?;
        Some(Self {
            url: map.get(b"url")?.as_bytes()?.to_vec(),
            mediatype: map.get(b"mediatype")?.as_bytes()?.to_vec(),
            size: optional(map, b"size", Value::as_u64)?,
            fullhashes: optional(map, b"fullhashes", hashes)?.unwrap_or_default(),
            fullhashseed: optional(map, b"fullhashseed", bytes)?,
            serverdercerts: optional(map, b"serverdercerts", byte_strings)?.unwrap_or_default(),
            servercadercerts: optional(map, b"servercadercerts", byte_strings)?.unwrap_or_default(),
        })
    }

    fn to_value(&self) -> Value {
        let hash = |(name, digest): &(Vec<u8>, Vec<u8>)| {
            Value::Array(vec![name.clone().into(), digest.clone().into()])
        };
        let mut pairs: Vec<(&[u8], Value)> = vec![
            (b"url", self.url.clone().into()),
            (b"mediatype", self.mediatype.clone().into()),
        ];
        if let Some(size) = self.size {
            pairs.push((b"size", size.into()));
        }
        if !self.fullhashes.is_empty() {
            let hashes = self.fullhashes.iter().map(hash).collect();
            pairs.push((b"fullhashes", Value::Array(hashes)));
        }
        if let Some(seed) = &self.fullhashseed {
            pairs.push((b"fullhashseed", seed.clone().into()));
        }
        for (key, certificates) in [
            (&b"serverdercerts"[..], &self.serverdercerts),
            (b"servercadercerts", &self.servercadercerts),
        ] {
            if !certificates.is_empty() {
                pairs.push((key, array(certificates)));
            }
        }
        Value::record(pairs)
    }
}

/// What a server says about content redirects in its descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectOffer {
    /// Places in the order of the server's preference, at least one.
    pub targets: Vec<RedirectTarget>,
    /// Names of hashes in the order of the server's preference.
    pub hashes: Vec<Vec<u8>>,
}

impl RedirectOffer {
    /// The value of the descriptor's `redirect`.
    pub fn to_value(&self) -> Value {
        let targets = self.targets.iter().map(RedirectTarget::to_value).collect();
        Value::record([
            (&b"hashes"[..], array(&self.hashes)),
            (b"targets", Value::Array(targets)),
        ])
    }

    /// Reads the descriptor's `redirect`; `None` if it has another shape.
    pub fn from_value(value: &Value) -> Option<Self> {
        let targets = value.get(b"targets")?.as_array()?.iter();
        Some(Self {
            targets: targets
                .map(RedirectTarget::from_value)
                .collect::<Option<_>>()?,
            hashes: byte_strings(value.get(b"hashes")?)?,
        })
    }
}

/// A place that answers may be redirected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectTarget {
    /// The name that clients send back.
    pub name: Vec<u8>,
    /// `http` or `https`; stock clients drop any other.
    pub protocol: Vec<u8>,
    /// Where the place is. Stock clients do not look at it.
    pub uris: Vec<Vec<u8>>,
    /// Whether a client without Server Name Indication cannot use it.
    pub snirequired: Option<bool>,
    /// Versions of TLS that it speaks, `1.2` for example, of which a client has
    /// to know one; empty: nothing is said.
    pub tlsversions: Vec<Vec<u8>>,
}

impl RedirectTarget {
    fn to_value(&self) -> Value {
        let mut pairs: Vec<(&[u8], Value)> = vec![
            (b"name", self.name.clone().into()),
            (b"protocol", self.protocol.clone().into()),
            (b"uris", array(&self.uris)),
        ];
        if let Some(required) = self.snirequired {
            pairs.push((b"snirequired", required.into()));
        }
        if !self.tlsversions.is_empty() {
            pairs.push((b"tlsversions", array(&self.tlsversions)));
        }
        Value::record(pairs)
    }

    fn from_value(value: &Value) -> Option<Self> {
        let map = value.as_map()?;
        Some(Self {
            name: map.get(b"name")?.as_bytes()?.to_vec(),
            protocol: map.get(b"protocol")?.as_bytes()?.to_vec(),
            uris: optional(map, b"uris", byte_strings)?.unwrap_or_default(),
            snirequired: optional(map, b"snirequired", Value::as_bool)?,
            tlsversions: optional(map, b"tlsversions", byte_strings)?.unwrap_or_default(),
        })
    }
}

fn array(items: &[Vec<u8>]) -> Value {
    Value::Array(items.iter().cloned().map(Value::Bytes).collect())
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_bytes().map(<[u8]>::to_vec)
}

fn hashes(value: &Value) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let pair = |item: &Value| match item.as_array()? {
        [name, digest] => Some((bytes(name)?, bytes(digest)?)),
        _ => None,
    };
    value.as_array()?.iter().map(pair).collect()
}

/// A field that may be absent: `Some(None)` then, `None` if it is there in
/// another shape.
fn optional<T>(map: &Map, key: &[u8], read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    match map.get(key) {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor::{Limits, decode};

    #[test]
    fn a_short_location_is_written_as_the_reference_does() {
        let mut out = Vec::new();
        Location::new("http://cdn/x").encode_status(&mut out);
        let expected = b"\xa2\x48location\xa2\x49mediatype\x58\x1aapplication/mercurial-cbor\
            \x43url\x4chttp://cdn/x\x46status\x48redirect";
        assert_eq!(out, expected);
    }

    #[test]
    fn every_field_of_a_location_is_read_again() {
        let location = Location {
            size: Some(12),
            fullhashes: vec![(b"sha1".to_vec(), vec![1; 20])],
            fullhashseed: Some(b"seed".to_vec()),
            serverdercerts: vec![b"one".to_vec(), b"two".to_vec()],
            servercadercerts: vec![b"three".to_vec()],
            ..Location::new("https://cdn/x")
        };
        let mut out = Vec::new();
        location.encode_status(&mut out);
        let status = decode(&out, &Limits::RESPONSE).unwrap();
        assert_eq!(
            status.get(b"location").and_then(Location::from_value),
            Some(location)
        );
    }

    #[test]
    fn a_location_shows_no_more_than_the_host() {
        let location = Location::new("https://me:word@cdn:8443/name?signature=x");
        let shown = format!("{location:?}");
        assert_eq!(
            shown,
            "Location { url: https://cdn:8443/.., size: None, .. }"
        );
    }

    #[test]
    fn fields_of_another_shape_are_refused() {
        for (key, value) in [
            (&b"size"[..], Value::Null),
            (b"url", 1_u64.into()),
            (b"fullhashes", Value::Array(vec![b"sha1".into()])),
        ] {
            let record = Value::record([
                (&b"mediatype"[..], b"m".into()),
                (b"url", b"u".into()),
                (key, value),
            ]);
            assert_eq!(Location::from_value(&record), None);
        }
    }

    #[test]
    fn an_offer_is_read_again() {
        let offer = RedirectOffer {
            targets: vec![
                RedirectTarget {
                    name: b"cdn-a".to_vec(),
                    protocol: b"http".to_vec(),
                    uris: vec![b"http://a/".to_vec()],
                    ..RedirectTarget::default()
                },
                RedirectTarget {
                    name: b"cdn-b".to_vec(),
                    protocol: b"https".to_vec(),
                    uris: Vec::new(),
                    snirequired: Some(true),
                    tlsversions: vec![b"1.2".to_vec()],
                },
            ],
            hashes: vec![b"sha256".to_vec(), b"sha1".to_vec()],
        };
        assert_eq!(RedirectOffer::from_value(&offer.to_value()), Some(offer));
    }
}
