//! Logins of builds. A build that is told that its login failed ends, and one whose
//! connection is closed meanwhile tries for ever; so a login never waits long and never
//! fails because of the server.

use std::collections::HashMap;
use std::time::Duration;

use fingerpost_hashequiv_client::{Client, ClientError, ClientOptions, request};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the server's word on a login counts without asking again.
const WORD_MAX: Duration = Duration::from_secs(60);
/// After a login that was not answered, so long nobody waits for another.
const SILENCE: Duration = Duration::from_secs(10);
/// Users that are remembered.
const USERS_MAX: usize = 1_000;
/// What a build may where the server has not said anything.
const DEFAULT: [&str; 2] = ["@read", "@report"];

/// The server's last word on users, in memory only: there are tokens in it.
#[derive(Default)]
pub(crate) struct Logins {
    users: Mutex<HashMap<String, Word>>,
    silent_until: Mutex<Option<Instant>>,
}

/// What the server said.
struct Word {
    token: String,
    permissions: Vec<String>,
    said: Instant,
}

/// How a login ended.
pub(crate) enum Outcome {
    /// The build has these permissions, as far as is known; the error if the server has
    /// not said so now.
    In(Vec<String>, Option<ClientError>),
    /// The server refuses it, with these words.
    Refused(String),
}

impl Logins {
    /// Logs in. Waits for the server only if it `answers`.
    pub(crate) async fn log_in(
        &self,
        options: ClientOptions,
        username: &str,
        token: &str,
        answers: bool,
    ) -> Outcome {
        if let Some(permissions) = self.known(username, token, Some(WORD_MAX)) {
            return Outcome::In(permissions, None);
        }
        let is_silent = self
            .silent_until
            .lock()
            .is_some_and(|until| Instant::now() < until);
        if !answers || is_silent {
            return Outcome::In(self.last(username, token), None);
        }
        let mut client = Client::new(options);
        match client.call(&request::auth(username, token)).await {
            Ok(login) => {
                self.remember(username, token, &login.permissions);
                Outcome::In(login.permissions, None)
            }
            Err(ClientError::Told(why)) => Outcome::Refused(why),
            Err(error) => {
                *self.silent_until.lock() = Some(Instant::now() + SILENCE);
                Outcome::In(self.last(username, token), Some(error))
            }
        }
    }

    /// The last word on a user, or what everybody may who reports.
    pub(crate) fn last(&self, username: &str, token: &str) -> Vec<String> {
        self.known(username, token, None)
            .unwrap_or_else(|| DEFAULT.map(str::to_owned).to_vec())
    }

    fn known(&self, username: &str, token: &str, age_max: Option<Duration>) -> Option<Vec<String>> {
        let users = self.users.lock();
        let word = users.get(username).filter(|word| word.token == token)?;
        let is_young = age_max.is_none_or(|max| word.said.elapsed() < max);
        is_young.then(|| word.permissions.clone())
    }

    fn remember(&self, username: &str, token: &str, permissions: &[String]) {
        let mut users = self.users.lock();
        if users.len() >= USERS_MAX && !users.contains_key(username) {
            // Whoever is forgotten is asked for again.
            users.clear();
        }
        let word = Word {
            token: token.to_owned(),
            permissions: permissions.to_vec(),
            said: Instant::now(),
        };
        users.insert(username.to_owned(), word);
    }
}
