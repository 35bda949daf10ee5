//! HTTP Basic authentication, as a client sends it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Name and password out of `Basic {base64 of name:password}`; `None` if it is another
/// scheme or none. RFC 7617.
pub fn basic_credentials(header: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, token) = text.split_once(':')?;
    (!username.is_empty()).then(|| (username.to_owned(), token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_have_colons() {
        let header = format!("basic {}", STANDARD.encode("ann:a:b"));
        assert_eq!(
            basic_credentials(header.as_bytes()),
            Some(("ann".into(), "a:b".into()))
        );
    }

    #[test]
    fn other_schemes_and_broken_ones_are_no_login() {
        for header in [
            "",
            "Basic",
            "Bearer abc",
            "Basic ???",
            "Basic YQ==",
            "Basic OmE=",
        ] {
            assert_eq!(basic_credentials(header.as_bytes()), None, "{header}");
        }
    }
}
