//! What GitHub Actions says about a job, and those who do as it does: asked over HTTP.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::{TOKEN_BYTES_MAX, bearer};
use crate::http::body::Coming;
use crate::http::options::Environment;
use crate::http::outside::Outside;
use crate::http::said;

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// How long asking may take, however long those wait who need the token.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// Rest after a failure; doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a token is shown that does not say so, and at most.
const LIFE: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(3600);

/// The tokens of a job, one after the other.
pub(in crate::http) struct Github {
    source: Arc<Source>,
    state: Arc<Mutex<State>>,
}

/// Where they come from.
struct Source {
    audience: String,
    environment: Environment,
    outside: Arc<Outside>,
}

enum State {
    None,
    Have {
        header: HeaderValue,
        until: Instant,
    },
    Fetching {
        fetched: watch::Receiver<Fetched>,
        /// Whether nobody waits for it: somebody did in vain.
        is_slow: bool,
    },
    Failed {
        why: String,
        until: Instant,
        pause: Duration,
    },
}

/// What came of it, once something did.
type Fetched = Option<Result<HeaderValue, String>>;

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
    pub(super) fn new(audience: String, environment: Environment, outside: Arc<Outside>) -> Self {
        Self {
            source: Arc::new(Source {
                audience,
                environment,
                outside,
            }),
            state: Arc::new(Mutex::new(State::None)),
        }
    }

    /// The token, fetched anew shortly before it ends. All who wait get the same. What takes
    /// longer than until `give_up` is there for who asks later; and after somebody waited in
    /// vain, or the CI system failed, it is fetched while nobody waits.
    pub(super) async fn header(&self, give_up: Instant) -> Result<HeaderValue, String> {
        let mut fetched = self.begun()?;
        let waited = timeout_at(give_up, fetched.wait_for(Option::is_some)).await;
        match waited.map(|fetched| fetched.ok().and_then(|fetched| fetched.clone())) {
            Ok(fetched) => fetched.unwrap_or_else(|| Err(late())),
            Err(_) => {
                if let State::Fetching { is_slow, .. } = &mut *self.state.lock() {
                    *is_slow = true;
                }
                Err(late())
            }
        }
    }

    /// What comes of fetching a token, or came of it. Why there is none now.
    fn begun(&self) -> Result<watch::Receiver<Fetched>, String> {
        let mut state = self.state.lock();
        match &*state {
            State::Have { header, until } if Instant::now() < *until => {
                Ok(watch::channel(Some(Ok(header.clone()))).1)
            }
            State::Fetching { is_slow: true, .. } => Err(late()),
            State::Fetching { fetched, .. } => Ok(fetched.clone()),
            State::Failed { why, until, pause } => {
                let (why, pause) = (why.clone(), *pause);
                if Instant::now() >= *until {
                    let fetched = self.begin((pause * 2).min(PAUSE_MAX));
                    *state = State::Fetching {
                        fetched,
                        is_slow: true,
                    };
                }
                Err(why)
            }
            State::None | State::Have { .. } => {
                let fetched = self.begin(PAUSE_MIN);
                *state = State::Fetching {
                    fetched: fetched.clone(),
                    is_slow: false,
                };
                Ok(fetched)
            }
        }
    }

    /// Fetches one, whoever waits for it. If it fails there is a pause.
    fn begin(&self, pause: Duration) -> watch::Receiver<Fetched> {
        let (sender, receiver) = watch::channel(None);
        let (source, state) = (Arc::clone(&self.source), Arc::clone(&self.state));
        tokio::spawn(async move {
            let fetched = timeout(FETCH_MAX, source.fetch()).await;
            let now = Instant::now();
            let (next, fetched) = match fetched.unwrap_or_else(|_| Err(late())) {
                Ok((header, life)) => {
                    let until = now + life;
                    let have = header.clone();
                    (State::Have { header, until }, Ok(have))
                }
                Err(why) => {
                    let until = now + pause;
                    let told = why.clone();
                    (State::Failed { why, until, pause }, Err(told))
                }
            };
            *state.lock() = next;
            // Those who waited may have gone.
            let _ = sender.send(Some(fetched));
        });
        receiver
    }

    /// Fetches another one next time, unless that was done already.
    pub(super) fn forget(&self, shown: &HeaderValue) {
        let mut state = self.state.lock();
        if matches!(&*state, State::Have { header, .. } if header == shown) {
            *state = State::None;
        }
    }
}

fn late() -> String {
    "the CI system gave no token in time".to_owned()
}

impl Source {
    async fn fetch(&self) -> Result<(HeaderValue, Duration), String> {
        let missing = |name| format!("{name} is not set: the job needs `id-token: write`");
        let url = self.environment.get(URL).ok_or_else(|| missing(URL))?;
        let key = self.environment.get(TOKEN).ok_or_else(|| missing(TOKEN))?;
        let key = bearer(&key).ok_or_else(|| format!("{TOKEN} holds no token"))?;
        let mut url = Url::parse(&url).map_err(|_| format!("{URL} is no URL"))?;
        url.query_pairs_mut()
            .append_pair("audience", &self.audience);
        let client = self.outside.client(&url).await?;
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
