//! What GitHub Actions says about a job, and those who do as it does: asked over HTTP.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{TOKEN_BYTES_MAX, bearer};
use crate::http::body::Coming;
use crate::http::options::Environment;
use crate::http::outside::Outside;
use crate::http::said;
use crate::http::tls::Tls;

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// How long asking may take.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// Rest after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a token is shown that does not say so, and at most.
const LIFE: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(3600);

/// The tokens of a job, one after the other.
pub(in crate::http) struct Github {
    audience: String,
    environment: Environment,
    state: Mutex<State>,
}

enum State {
    None,
    Have { header: HeaderValue, until: Instant },
    Failed { why: String, until: Instant },
}

/// What is answered.
#[derive(Deserialize)]
struct Answer {
    value: String,
}

/// What a token says of its life, in seconds since 1970.
#[derive(Deserialize)]
struct Claims {
    iat: Option<u64>,
    exp: Option<u64>,
}

impl Github {
    pub(super) fn new(audience: String, environment: Environment) -> Self {
        Self {
            audience,
            environment,
            state: Mutex::new(State::None),
        }
    }

    /// The token, fetched anew shortly before it ends. All who wait get the same.
    pub(super) async fn header(
        &self,
        give_up: Instant,
        tls: &Tls,
        outside: &Outside,
    ) -> Result<HeaderValue, String> {
        let late = |_| "the CI system gave no token in time".to_owned();
        let mut state = timeout_at(give_up, self.state.lock()).await.map_err(late)?;
        match &*state {
            State::Have { header, until } if Instant::now() < *until => return Ok(header.clone()),
            State::Failed { why, until } if Instant::now() < *until => return Err(why.clone()),
            _ => {}
        }
        let limit = give_up.min(Instant::now() + FETCH_MAX);
        let fetched = timeout_at(limit, self.fetch(tls, outside)).await;
        let now = Instant::now();
        match fetched.map_err(late).flatten() {
            Ok((header, life)) => {
                *state = State::Have {
                    header: header.clone(),
                    until: now + life,
                };
                Ok(header)
            }
            Err(why) => {
                *state = State::Failed {
                    why: why.clone(),
                    until: now + PAUSE,
                };
                Err(why)
            }
        }
    }

    /// Fetches another one next time, unless that was done already.
    pub(super) async fn forget(&self, shown: &HeaderValue) {
        let mut state = self.state.lock().await;
        if matches!(&*state, State::Have { header, .. } if header == shown) {
            *state = State::None;
        }
    }

    async fn fetch(&self, tls: &Tls, outside: &Outside) -> Result<(HeaderValue, Duration), String> {
        let missing = |name| format!("{name} is not set: the job needs `id-token: write`");
        let url = self.environment.get(URL).ok_or_else(|| missing(URL))?;
        let key = self.environment.get(TOKEN).ok_or_else(|| missing(TOKEN))?;
        let key = bearer(&key).ok_or_else(|| format!("{TOKEN} holds no token"))?;
        let mut url = Url::parse(&url).map_err(|_| format!("{URL} is no URL"))?;
        url.query_pairs_mut()
            .append_pair("audience", &self.audience);
        let client = outside.client(tls, &url).await?;
        let asked = client.get(url).header(AUTHORIZATION, key);
        let asked = asked.header(ACCEPT, "application/json").send().await;
        let answer =
            asked.map_err(|error| format!("the CI system gave no token: {}", said(error)))?;
        if !answer.status().is_success() {
            return Err(format!("the CI system gave no token: {}", answer.status()));
        }
        let bound = usize::try_from(TOKEN_BYTES_MAX).unwrap_or(usize::MAX);
        // An error of the parser would show what it found.
        let no_token = || "the CI system's answer holds no token".to_owned();
        let body = Coming::new(answer).map_err(|_| no_token())?;
        let bytes = body.whole(bound).await.map_err(|_| no_token())?;
        let Answer { value } = serde_json::from_slice(&bytes).map_err(|_| no_token())?;
        let header = bearer(&value).ok_or_else(no_token)?;
        Ok((header, life(&value)))
    }
}

/// How long a token that was just made is shown: not in the last fifth of its life, which
/// is its own word. No clock is looked at, ours may be wrong.
fn life(token: &str) -> Duration {
    let claims = token.split('.').nth(1).and_then(|part| {
        let part = part.trim_end_matches('=');
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<Claims>(&bytes).ok()
    });
    let seconds = claims.and_then(|claims| claims.exp?.checked_sub(claims.iat?));
    match seconds {
        Some(seconds) => (Duration::from_secs(seconds) / 5 * 4).min(LIFE_MAX),
        None => LIFE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_for_most_of_its_life() {
        let token = |claims: &str| format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let check = |token: &str, seconds| assert_eq!(life(token), Duration::from_secs(seconds));
        check(&token(r#"{"iat": 1000, "exp": 1300, "sub": "x"}"#), 240);
        check(&token(r#"{"iat": 0, "exp": 99999999999}"#), 3600);
        check(&token(r#"{"iat": 1300, "exp": 1000}"#), 60);
        check(&token("{}"), 60);
        check("opaque", 60);
    }
}
