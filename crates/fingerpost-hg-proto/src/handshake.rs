//! How a client learns of this protocol: an upgrade of the first request of
//! version 1, `?cmd=capabilities`, by headers.

use std::collections::BTreeMap;

use crate::cbor::{self, Value, Writer};
use crate::redirect::RedirectOffer;

/// Name of the protocol among the APIs of a server.
pub const API_NAME: &str = "exp-http-v2-0003";
/// Media type of bodies made of frames, both ways.
pub const FRAMING_MEDIA_TYPE: &str = "application/mercurial-exp-framing-0006";
/// Media type of bodies made of CBOR values: the handshake, redirected content.
pub const CBOR_MEDIA_TYPE: &str = "application/mercurial-cbor";
/// Where the APIs are, relative to the repository's URL.
pub const API_BASE: &str = "api/";
/// Header in which a client lists APIs, without its number: `-1`, `-2`...
pub const UPGRADE_HEADER: &str = "x-hgupgrade";
/// Header in which a client lists what it can read, without its number.
pub const PROTO_HEADER: &str = "x-hgproto";

/// What the two headers of a client's first request say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// Names of the APIs that the client speaks.
    pub apis: Vec<Vec<u8>>,
}

impl Upgrade {
    /// Reads the headers: for each, the values of number 1, 2 and so on up to
    /// the first number that is missing. A text may be cut anywhere between
    /// two of them. `None` when the answer has to be that of version 1: there
    /// is nothing in one of them, or the client cannot read CBOR.
    pub fn parse<U, P>(upgrade: U, proto: P) -> Option<Self>
    where
        U: IntoIterator<Item: AsRef<[u8]>>,
        P: IntoIterator<Item: AsRef<[u8]>>,
    {
        let reads_cbor = joined(proto)
            .split(|&b| b == b' ')
            .any(|word| word == b"cbor");
        let upgrade = joined(upgrade);
        let apis = upgrade
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let apis: Vec<_> = apis.map(<[u8]>::to_vec).collect();
        (reads_cbor && !upgrade.is_empty()).then_some(Self { apis })
    }

    /// Whether the client speaks this protocol.
    pub fn wants_v2(&self) -> bool {
        self.apis.iter().any(|api| api == API_NAME.as_bytes())
    }
}

fn joined(values: impl IntoIterator<Item: AsRef<[u8]>>) -> Vec<u8> {
    values.into_iter().fold(Vec::new(), |mut text, value| {
        text.extend_from_slice(value.as_ref());
        text
    })
}

/// The answer to an upgrade request: one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Where the APIs are, relative to the repository's URL: [`API_BASE`].
    pub apibase: Vec<u8>,
    /// Descriptors of the APIs that both sides speak, by name. A descriptor is
    /// what the command `capabilities` answers.
    pub apis: BTreeMap<Vec<u8>, Value>,
    /// The capabilities of version 1: words with spaces between.
    pub v1capabilities: Vec<u8>,
}

/// Why bytes are no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The bytes are no CBOR of the subset.
    #[error("the handshake is not CBOR: {0}")]
    Cbor(#[from] cbor::DecodeError),
    /// The value has another shape.
    #[error("the handshake has no usable {0}")]
    Field(&'static str),
}

impl Handshake {
    /// The answer that offers this protocol with a descriptor, or, without
    /// one, no API at all.
    pub fn new(descriptor: Option<Value>, v1capabilities: impl Into<Vec<u8>>) -> Self {
        let apis = descriptor.map(|descriptor| (API_NAME.into(), descriptor));
        Self {
            apibase: API_BASE.into(),
            apis: apis.into_iter().collect(),
            v1capabilities: v1capabilities.into(),
        }
    }

    /// Appends the map in canonical form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.map(3);
        writer.bytes(b"apibase");
        writer.bytes(&self.apibase);
        writer.bytes(b"apis");
        writer.map(self.apis.len());
        for (name, descriptor) in &self.apis {
            writer.bytes(name);
            writer.value(descriptor);
        }
        writer.bytes(b"v1capabilities");
        writer.bytes(&self.v1capabilities);
    }

    /// Reads the body of an answer.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`].
    pub fn decode(body: &[u8], limits: &cbor::Limits) -> Result<Self, HandshakeError> {
        let value = cbor::decode(body, limits)?;
        let bytes = |key: &'static str| {
            let found = value.get(key.as_bytes()).and_then(Value::as_bytes);
            found.map(<[u8]>::to_vec).ok_or(HandshakeError::Field(key))
        };
        let apis = value
            .get(b"apis")
            .and_then(Value::as_map)
            .ok_or(HandshakeError::Field("apis"))?;
        let apis = apis.records().map(|(name, descriptor)| {
            let name = name.ok_or(HandshakeError::Field("apis"))?;
            Ok((name.to_vec(), descriptor.clone()))
        });
        Ok(Self {
            apibase: bytes("apibase")?,
            apis: apis.collect::<Result<_, HandshakeError>>()?,
            v1capabilities: bytes("v1capabilities")?,
        })
    }

    /// The descriptor of this protocol, if the server offers it.
    pub fn descriptor(&self) -> Option<&Value> {
        self.apis.get(API_NAME.as_bytes())
    }

    /// What the server says about content redirects; `None` if it has no
    /// targets, or says it in another shape.
    pub fn redirect_offer(&self) -> Option<RedirectOffer> {
        RedirectOffer::from_value(self.descriptor()?.get(b"redirect")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_joined_before_they_are_split() {
        let upgrade = Upgrade::parse(["other exp-http", "-v2-0003\tx"], ["0.1 cb", "or"]);
        let upgrade = upgrade.unwrap();
        assert_eq!(upgrade.apis, [&b"other"[..], b"exp-http-v2-0003", b"x"]);
        assert!(upgrade.wants_v2());
    }

    #[test]
    fn without_both_headers_and_cbor_it_is_version_1() {
        let nothing: [&str; 0] = [];
        assert_eq!(Upgrade::parse([API_NAME], nothing), None);
        assert_eq!(Upgrade::parse(nothing, ["cbor"]), None);
        assert_eq!(Upgrade::parse([API_NAME], ["cbor\t0.1"]), None);
        let unknown = Upgrade::parse(["nothing-known"], ["0.1 cbor"]).unwrap();
        assert!(!unknown.wants_v2());
    }

    #[test]
    fn an_answer_is_read_again() {
        let descriptor = Value::record([(&b"commands"[..], Value::map([]))]);
        for descriptor in [Some(descriptor), None] {
            let handshake = Handshake::new(descriptor.clone(), "batch lookup");
            let mut body = Vec::new();
            handshake.encode(&mut body);
            let read = Handshake::decode(&body, &cbor::Limits::RESPONSE).unwrap();
            assert_eq!(read.descriptor(), descriptor.as_ref());
            assert_eq!(read, handshake);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let answer = |body| Handshake::decode(body, &cbor::Limits::RESPONSE);
        assert_eq!(answer(b"\xa0"), Err(HandshakeError::Field("apis")));
        assert_eq!(
            answer(b"\xa1\x44apis\xa0"),
            Err(HandshakeError::Field("apibase"))
        );
        assert!(matches!(answer(b"<html>"), Err(HandshakeError::Cbor(_))));
    }
}
