//! A token's text, taken apart and not yet believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Named};
use super::{Refusal, json};

/// Bytes of a `kid` at most.
const KEY_ID_BYTES_MAX: usize = 256;

/// A token of the right form.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// What was signed, and the signature in base64url.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Jws<'a> {
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(token).map_err(|_| Refusal::Utf8)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Form)?;
        // A dot more is in `claims` and no base64.
        let (header, claims) = (decode(header)?, decode(claims)?);
        let (algorithm, key_id) = read_header(&json::object(&header)?)?;
        decode(signature)?;
        Ok(Self {
            algorithm,
            key_id,
            claims: json::object(&claims)?,
            signed,
            signature,
        })
    }
}

/// Refuses padding, and bits that say nothing: a token has one text.
fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Form)
}

fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), Refusal> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    let algorithm = match text("alg").map_or(Named::Unknown, Algorithm::named) {
        Named::Known(algorithm) => algorithm,
        Named::Unsigned => return Err(Refusal::Unsigned),
        Named::Symmetric => return Err(Refusal::Symmetric),
        Named::Unknown => return Err(Refusal::Algorithm),
    };
    // `x5c` is left where it is: some issuers send it, and nobody reads it here.
    if ["jku", "jwk", "x5u"]
        .iter()
        .any(|name| header.contains_key(*name))
    {
        return Err(Refusal::KeyInHeader);
    }
    if header.contains_key("crit") {
        return Err(Refusal::Critical);
    }
    let is_jwt = |kind: &Value| {
        kind.as_str()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("JWT"))
    };
    if !header.get("typ").is_none_or(is_jwt) {
        return Err(Refusal::WrongType);
    }
    let is_fine = |id: &&str| (1..=KEY_ID_BYTES_MAX).contains(&id.len());
    let key_id = match header.contains_key("kid") {
        true => Some(text("kid").filter(is_fine).ok_or(Refusal::NoKeyId)?),
        false => None,
    };
    Ok((algorithm, key_id.map(str::to_owned)))
}
