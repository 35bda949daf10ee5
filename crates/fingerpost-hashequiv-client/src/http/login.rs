//! What is shown to a server, as the header that shows it.

mod file;
mod github;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use tokio::time::Instant;

use self::file::TokenFile;
use self::github::Github;
use super::options::{Environment, HttpCredential, OidcSource};
use super::outside::Outside;

/// Bytes of a token, at most. Servers take less.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Where the header comes from.
pub(super) enum Login {
    Nothing,
    Fixed(HeaderValue),
    File(TokenFile),
    Variable(String, Environment),
    Github(Box<Github>),
}

/// A login that no request can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user's name is not empty and has no colon in it")]
pub struct BadLogin;

impl Login {
    pub(super) fn new(
        credential: HttpCredential,
        environment: Environment,
        outside: Arc<Outside>,
    ) -> Result<Self, BadLogin> {
        Ok(match credential {
            HttpCredential::None => Self::Nothing,
            HttpCredential::Basic { username, token } => {
                Self::Fixed(basic(&username, &token).ok_or(BadLogin)?)
            }
            HttpCredential::BearerFile(path) | HttpCredential::Oidc(OidcSource::File(path)) => {
                Self::File(TokenFile::new(path))
            }
            HttpCredential::Oidc(OidcSource::Environment(name)) => {
                Self::Variable(name, environment)
            }
            HttpCredential::Oidc(OidcSource::GithubActions { audience }) => {
                Self::Github(Box::new(Github::new(audience, environment, outside)))
            }
        })
    }

    /// What to show now; `None`: nothing.
    pub(super) async fn header(&self, give_up: Instant) -> Result<Option<HeaderValue>, String> {
        match self {
            Self::Nothing => Ok(None),
            Self::Fixed(header) => Ok(Some(header.clone())),
            Self::File(file) => file.header().await.map(Some),
            Self::Variable(name, environment) => {
                let token = environment.get(name);
                let header = token.and_then(|token| bearer(&token));
                header
                    .map(Some)
                    .ok_or_else(|| format!("{name} holds no token"))
            }
            Self::Github(github) => github.header(give_up).await.map(Some),
        }
    }

    /// Takes note that a server refused what was shown to it.
    pub(super) fn refused(&self, shown: &HeaderValue) {
        match self {
            Self::File(file) => file.forget(),
            Self::Github(github) => github.forget(shown),
            Self::Nothing | Self::Fixed(_) | Self::Variable(..) => {}
        }
    }
}

fn basic(username: &str, token: &str) -> Option<HeaderValue> {
    if username.is_empty() || username.contains(':') {
        return None;
    }
    let encoded = BASE64_STANDARD.encode(format!("{username}:{token}"));
    secret(&format!("Basic {encoded}"))
}

/// The header of a bearer token, if the text is one.
fn bearer(token: &str) -> Option<HeaderValue> {
    let token = token.trim_ascii();
    let is_token = |byte: u8| byte.is_ascii_graphic();
    if token.is_empty() || !token.bytes().all(is_token) {
        return None;
    }
    secret(&format!("Bearer {token}"))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_do_not_show_themselves() {
        let header = basic("builder", "hunter2").unwrap();
        assert_eq!(header, "Basic YnVpbGRlcjpodW50ZXIy");
        assert!(!format!("{header:?}").contains("YnVp"));
        assert!(basic("a:b", "c").is_none() && basic("", "c").is_none());
    }

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(bearer(" abc\n").unwrap(), "Bearer abc");
        for wrong in ["", " \n", "a b", "a\nb", "ü"] {
            assert!(bearer(wrong).is_none(), "{wrong:?}");
        }
    }
}
