//! Fuzz targets: plain functions over bytes that panic when something that
//! must always hold does not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::authorization::bearer_token;
use crate::basic_credentials;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 1] = [("authorization", fuzz_authorization)];

/// A header is one login at most, and what is read of `Basic` means the same when it
/// is written and read again.
pub fn fuzz_authorization(data: &[u8]) {
    let (basic, bearer) = (basic_credentials(data), bearer_token(data));
    assert!(basic.is_none() || bearer.is_none(), "two logins in one");
    if let Some((name, secret)) = basic {
        assert!(!name.is_empty() && !name.contains(':'), "{name}");
        let written = format!("bAsIc {}", STANDARD.encode(format!("{name}:{secret}")));
        assert_eq!(basic_credentials(written.as_bytes()), Some((name, secret)));
    }
    if let Some(token) = bearer {
        assert_eq!(token, token.trim_ascii());
        let written = [b"bearer ", token].concat();
        assert_eq!(bearer_token(&written), Some(token));
    }
}
