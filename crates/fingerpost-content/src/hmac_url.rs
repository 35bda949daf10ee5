//! URLs of the server's own content endpoint,
//! `/content/NAME?expires=UNIX&signature=HEX`: who holds one may fetch that one
//! entry until then. `NAME.zst` says that the entry is the zstd coding of what
//! the client asked for. Signing and checking only; no HTTP here.

use std::fmt;

use fingerpost_core::{ContentCoding, EntryName, SecretUrl, Timestamp};
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

/// What a signed URL opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The entry.
    pub name: EntryName,
    /// How its bytes are coded; `None`: they are the content itself.
    pub coding: Option<ContentCoding>,
    /// For how many seconds more the URL is good, at least one.
    pub seconds_left: u64,
}

impl UrlSigner {
    /// Path under which entries are served.
    pub const PATH: &'static str = "/content/";

    /// Signs under this secret, 32 random bytes for example.
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a secret may have any length"))
    }

    /// Path and query by which `name` can be fetched before `expires`, which
    /// counts in whole seconds, rounded down; before 1970 is 1970. `coding` is
    /// what the bytes of the entry are coded in, not a wish.
    pub fn path_and_query(
        &self,
        name: &EntryName,
        coding: Option<ContentCoding>,
        expires: Timestamp,
    ) -> SecretUrl {
        let expires = expires.0.div_euclid(MICROS).max(0).unsigned_abs();
        let mut signature = String::with_capacity(64);
        for byte in self.signature(name, coding, expires) {
            signature.push_str(&format!("{byte:02x}"));
        }
        let mut segment = name.to_hex();
        if let Some(coding) = coding {
            segment.push('.');
            segment.push_str(extension(coding));
        }
        let path = Self::PATH;
        SecretUrl::new(format!(
            "{path}{segment}?expires={expires}&signature={signature}"
        ))
    }

    /// Reads the last segment of a path and its query as they came, without
    /// resolving escapes, and says what they open at `now`. There is one
    /// spelling: fields in another order, more of them, capitals or leading
    /// zeros are malformed.
    ///
    /// # Errors
    ///
    /// [`UrlRefused`]; the signature is compared in constant time, and before
    /// the expiry, so that only a holder of a URL learns that it is over.
    pub fn check(&self, segment: &str, query: &str, now: Timestamp) -> Result<Opened, UrlRefused> {
        let (name, coding) = parse_segment(segment).ok_or(UrlRefused::Malformed)?;
        let (expires, signature) = parse_query(query).ok_or(UrlRefused::Malformed)?;
        let right = self.signature(&name, coding, expires);
        if !bool::from(right.ct_eq(signature.as_bytes())) {
            return Err(UrlRefused::Signature);
        }
        let now = now.0.div_euclid(MICROS).max(0).unsigned_abs();
        match expires.checked_sub(now) {
            None | Some(0) => Err(UrlRefused::Expired),
            Some(seconds_left) => Ok(Opened {
                name,
                coding,
                seconds_left,
            }),
        }
    }

    fn signature(&self, name: &EntryName, coding: Option<ContentCoding>, expires: u64) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(LABEL);
        mac.update(name.as_bytes());
        mac.update(&expires.to_be_bytes());
        // The only part of varying length, so the last.
        mac.update(coding.map_or("", ContentCoding::name).as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for UrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlSigner(..)")
    }
}

fn parse_segment(segment: &str) -> Option<(EntryName, Option<ContentCoding>)> {
    match segment.split_once('.') {
        None => Some((EntryName::from_hex(segment)?, None)),
        Some((name, extension)) => {
            let coding = coding_of(extension)?;
            Some((EntryName::from_hex(name)?, Some(coding)))
        }
    }
}

/// A signature has the shape of an entry's name: 64 lower-case hex digits.
fn parse_query(query: &str) -> Option<(u64, EntryName)> {
    let (expires, signature) = query.strip_prefix("expires=")?.split_once("&signature=")?;
    let one_spelling = expires == "0" || !expires.starts_with('0');
    let digits = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
    if !one_spelling || !digits || expires.len() > EXPIRES_DIGITS_MAX {
        return None;
    }
    Some((expires.parse().ok()?, EntryName::from_hex(signature)?))
}

const fn extension(coding: ContentCoding) -> &'static str {
    match coding {
        ContentCoding::Zstd => "zst",
    }
}

fn coding_of(text: &str) -> Option<ContentCoding> {
    (text == extension(ContentCoding::Zstd)).then_some(ContentCoding::Zstd)
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
        let url = signer.path_and_query(&name('a'), None, Timestamp(1_060 * MICROS + 999_999));
        let (path, query) = split(&url);
        let opened = Opened {
            name: name('a'),
            coding: None,
            seconds_left: 60,
        };
        assert_eq!(signer.check(&path, &query, NOW), Ok(opened));
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
    fn the_coding_is_signed() {
        let signer = UrlSigner::new(b"secret");
        let sign =
            |coding| split(&signer.path_and_query(&name('a'), coding, Timestamp(1_060 * MICROS)));
        let ((plain, plain_query), (zstd, zstd_query)) =
            (sign(None), sign(Some(ContentCoding::Zstd)));
        assert_eq!(zstd, format!("{plain}.zst"));
        let opened = signer.check(&zstd, &zstd_query, NOW).unwrap();
        assert_eq!(opened.coding, Some(ContentCoding::Zstd));
        for (path, query) in [(plain, zstd_query), (zstd, plain_query)] {
            let refused = signer.check(&path, &query, NOW);
            assert_eq!(refused, Err(UrlRefused::Signature), "{path}");
        }
    }

    #[test]
    fn malformed_input_is_refused() {
        let signer = UrlSigner::new(b"secret");
        let url = signer.path_and_query(&name('a'), None, Timestamp(1_060 * MICROS));
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
        for path in [
            "",
            "a",
            &format!("{path}/"),
            &path.to_uppercase(),
            &format!("{path}."),
            &format!("{path}.gz"),
            &format!("{path}.ZST"),
            &format!("{path}.zst.zst"),
            &path.replacen('a', "%61", 1),
        ] {
            let refused = signer.check(path, &query, NOW);
            assert_eq!(refused, Err(UrlRefused::Malformed), "{path}");
        }
    }

    #[test]
    fn moments_before_1970_are_over() {
        let signer = UrlSigner::new(b"secret");
        let url = signer.path_and_query(&name('a'), None, Timestamp(-1));
        let (path, query) = split(&url);
        let refused = signer.check(&path, &query, Timestamp(i64::MIN));
        assert_eq!(refused, Err(UrlRefused::Expired));
    }

    #[test]
    fn nothing_shows_the_secret() {
        assert_eq!(format!("{:?}", UrlSigner::new(b"secret")), "UrlSigner(..)");
    }
}
