//! Fuzz targets: plain functions over bytes that panic when something that
//! must hold does not. They are for tests and fuzzers, never for a server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use fingerpost_accounts::basic_credentials;
use fingerpost_net::percent_decoded;

use crate::route::route;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, for runners.
pub const TARGETS: [(&str, Target); 2] = [("hg_url", fuzz_url), ("hg_login", fuzz_login)];

/// Paths: escapes are resolved once, so that what was escaped comes back; and
/// every path asks for something or is refused as not found.
pub fn fuzz_url(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else {
        return;
    };
    let escaped: String = data.iter().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(percent_decoded(&escaped).as_deref(), Some(path));
    let Some(path) = percent_decoded(path) else {
        return;
    };
    assert!(path.len() <= data.len());
    if let Err(refusal) = route(&path) {
        assert_eq!(refusal.status, 404);
        assert!(!refusal.text.is_empty());
    }
}

/// Logins: what is read is what was written.
pub fn fuzz_login(header: &[u8]) {
    let Some((user, token)) = basic_credentials(header) else {
        return;
    };
    assert!(!user.is_empty() && !user.contains(':'));
    let again = format!("Basic {}", STANDARD.encode(format!("{user}:{token}")));
    assert_eq!(basic_credentials(again.as_bytes()), Some((user, token)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_logins_of_few_parts_hold() {
        let parts = [
            "",
            "%",
            "%2f",
            "/",
            "api",
            "/exp-http-v2-0003",
            "Basic ",
            "YTpi",
            "\0",
        ];
        for first in parts {
            for second in parts {
                for third in parts {
                    let input = [first, second, third].concat();
                    for (_, target) in TARGETS {
                        target(input.as_bytes());
                    }
                }
            }
        }
    }
}
