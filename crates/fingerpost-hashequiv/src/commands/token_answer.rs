//! A bearer token as it is shown.

use fingerpost_accounts::Namespaces;
use fingerpost_accounts::tokens::TokenInfo;
use fingerpost_core::Timestamp;
use serde::Serialize;

/// All that is known of a token but its secret. Times are seconds since 1970.
#[derive(Serialize)]
pub(super) struct Shown {
    id: String,
    username: String,
    name: String,
    permissions: Vec<&'static str>,
    /// Null: all of them.
    namespaces: Option<Vec<String>>,
    created: i64,
    expires: Option<i64>,
    revoked: Option<i64>,
    used: Option<i64>,
}

impl From<TokenInfo> for Shown {
    fn from(info: TokenInfo) -> Self {
        Self {
            id: info.id,
            username: info.user,
            name: info.name,
            permissions: info.permissions.stored(),
            namespaces: match info.namespaces {
                Namespaces::All => None,
                Namespaces::Only(names) => Some(names.to_vec()),
            },
            created: seconds(info.created),
            expires: info.expires.map(seconds),
            revoked: info.revoked.map(seconds),
            used: info.used.map(seconds),
        }
    }
}

const fn seconds(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000_000)
}
