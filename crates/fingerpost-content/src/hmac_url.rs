//! URLs of the server's own content endpoint,
//! `/content/NAME?expires=UNIX&signature=HEX`: who holds one may fetch that one
//! entry until then. Signing and checking only; no HTTP here.

use std::fmt;

use fingerpost_core::{EntryName, SecretUrl, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Keeps these signatures apart from whatever else the secret may sign.
const LABEL: &[u8] = b"fingerpost content url 1\0";
/// Digits of the last second that we can name: year 33658.
const EXPIRES_DIGITS_MAX: usize = 12;
const MICROS: i64 = 1_000_000;

/// Signs and checks under one secret, which servers behind one name share.
#[derive(Clone)]
pub struct UrlSigner(Hmac<Sha256>);

/// Why a URL is refused. The peer is told one thing for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Not of the shape that [`UrlSigner::path_and_query`] writes.
    #[error("not a signed URL")]
    Malformed,
    /// Signed under another secret, for another entry or another expiry.
    #[error("wrong signature")]
    Signature,
    /// The signature is right, and it is too late.
    #[error("expired")]
    Expired,
}

impl UrlSigner {
    /// Path under which entries are served.
    pub const PATH: &'static str = "/content/";

    /// Signs under this secret, 32 random bytes for example.
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a secret may have any length"))
    }

    /// Path and query by which `name` can be fetched before `expires`, which
    /// counts in whole seconds, rounded down; before 1970 is 1970.
    pub fn path_and_query(&self, name: &EntryName, expires: Timestamp) -> SecretUrl {
        let expires = expires.0.div_euclid(MICROS).max(0).unsigned_abs();
        let mut signature = String::with_capacity(64);
        for byte in self.signature(name, expires) {
            signature.push_str(&format!("{byte:02x}"));
        }
        let name = name.to_hex();
        let path = Self::PATH;
        SecretUrl::new(format!(
            "{path}{name}?expires={expires}&signature={signature}"
        ))
    }

    /// Reads the last segment of a path and its query, and says which entry
    /// they open at `now`. There is one spelling: fields in another order, more
    /// of them, capitals or leading zeros are malformed.
    ///
    /// # Errors
    ///
    /// [`UrlRefused`]; the signature is compared in constant time, and before
    /// the expiry, so that only a holder of a URL learns that it is over.
    pub fn check(&self, name: &str, query: &str, now: Timestamp) -> Result<EntryName, UrlRefused> {
        let name = EntryName::from_hex(name).ok_or(UrlRefused::Malformed)?;
        let (expires, signature) = parse(query).ok_or(UrlRefused::Malformed)?;
        let right = self.signature(&name, expires);
        if !bool::from(right.ct_eq(signature.as_bytes())) {
            return Err(UrlRefused::Signature);
        }
        let now = now.0.div_euclid(MICROS).max(0).unsigned_abs();
        if now >= expires {
            return Err(UrlRefused::Expired);
        }
        Ok(name)
    }

    fn signature(&self, name: &EntryName, expires: u64) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(LABEL);
        mac.update(name.as_bytes());
        mac.update(&expires.to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for UrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlSigner(..)")
    }
}

/// A signature has the shape of an entry's name: 64 lower-case hex digits.
fn parse(query: &str) -> Option<(u64, EntryName)> {
    let (expires, signature) = query.strip_prefix("expires=")?.split_once("&signature=")?;
    let one_spelling = expires == "0" || !expires.starts_with('0');
    let digits = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
    if !one_spelling || !digits || expires.len() > EXPIRES_DIGITS_MAX {
        return None;
    }
    Some((expires.parse().ok()?, EntryName::from_hex(signature)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000 * MICROS);

    fn name(digit: char) -> EntryName {
        EntryName::from_hex(&digit.to_string().repeat(64)).unwrap()
    }

    fn split(url: &SecretUrl) -> (String, String) {
        let (path, query) = url.expose().split_once('?').unwrap();
        let name = path.strip_prefix(UrlSigner::PATH).unwrap();
        (name.to_owned(), query.to_owned())
    }

    #[test]
    fn a_signed_url_opens_one_entry_until_then() {
        let signer = UrlSigner::new(b"secret");
        let url = signer.path_and_query(&name('a'), Timestamp(1_060 * MICROS + 999_999));
        let (path, query) = split(&url);
        assert_eq!(signer.check(&path, &query, NOW), Ok(name('a')));
        let check = |name: &str, query: &str, at: i64, why| {
            let refused = signer.check(name, query, Timestamp(at * MICROS));
            assert_eq!(refused, Err(why), "{name} {query}");
        };
        check(&path, &query, 1_060, UrlRefused::Expired);
        check(&name('b').to_hex(), &query, 1_000, UrlRefused::Signature);
        let later = query.replace("1060", "1061");
        check(&path, &later, 1_000, UrlRefused::Signature);
        check(&path, &later, 9_999, UrlRefused::Signature);
        let other = UrlSigner::new(b"other").check(&path, &query, NOW);
        assert_eq!(other, Err(UrlRefused::Signature));
    }

    #[test]
    fn malformed_input_is_refused() {
        let signer = UrlSigner::new(b"secret");
        let url = signer.path_and_query(&name('a'), Timestamp(1_060 * MICROS));
        let (path, query) = split(&url);
        for query in [
            String::new(),
            "expires=1060".to_owned(),
            format!("{query}&x=1"),
            format!("x=1&{query}"),
            format!("{query}0"),
            query.replace("=1060", "=01060"),
            query.replace("=1060", "=+1060"),
            query.replace("=1060", "="),
            query.replace("=1060", "=1060000000000"),
            query.to_uppercase(),
            query.replace("signature", "Signature"),
        ] {
            let refused = signer.check(&path, &query, NOW);
            assert_eq!(refused, Err(UrlRefused::Malformed), "{query}");
        }
        for path in ["", "a", &format!("{path}/"), &path.to_uppercase()] {
            let refused = signer.check(path, &query, NOW);
            assert_eq!(refused, Err(UrlRefused::Malformed), "{path}");
        }
    }

    #[test]
    fn moments_before_1970_are_over() {
        let signer = UrlSigner::new(b"secret");
        let url = signer.path_and_query(&name('a'), Timestamp(-1));
        let (path, query) = split(&url);
        let refused = signer.check(&path, &query, Timestamp(i64::MIN));
        assert_eq!(refused, Err(UrlRefused::Expired));
    }

    #[test]
    fn nothing_shows_the_secret() {
        assert_eq!(format!("{:?}", UrlSigner::new(b"secret")), "UrlSigner(..)");
    }
}
